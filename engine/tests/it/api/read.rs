//! Lists and watches as clients use them: pages, revisions, selectors, expiry, and the forms of an answer.

use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use engine::api::handle;
use engine::api::user::User;
use engine::pki::MASTERS;
use futures::{Stream, StreamExt, TryStreamExt};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::{ConfigMap, Event};
use kube::api::{
    ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, WatchEvent, WatchParams,
};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::server::{NAMESPACE, Server, refusal, start};

const PATH: &str = "/api/v1/namespaces/work/configmaps";

async fn with_config_maps(names: &[&str]) -> (Server, Api<ConfigMap>) {
    let server = start().await;
    for name in names {
        server
            .create::<ConfigMap>(json!({"metadata": {"name": name, "labels": {"app": "web"}}}))
            .await
            .unwrap();
    }
    let api = Api::namespaced(server.client.clone(), NAMESPACE);
    (server, api)
}

fn names<K: kube::Resource>(objects: impl IntoIterator<Item = K>) -> String {
    objects.into_iter().map(|object| object.name_any()).collect::<Vec<_>>().join(" ")
}

/// The next element within a time in which it surely comes.
async fn next<T>(stream: &mut (impl Stream<Item = T> + Unpin)) -> T {
    tokio::time::timeout(Duration::from_secs(10), stream.next())
        .await
        .expect("nothing came")
        .expect("it ended")
}

/// A GET with the rights of an administrator.
async fn get(server: &Server, path: &str, accept: &str) -> (StatusCode, Value) {
    let admin = User::authenticated("admin", vec![MASTERS.to_owned()]);
    let request = Request::get(path).header(header::ACCEPT, accept).body(Body::empty()).unwrap();
    let answer = handle::handle(&server.api, Some(&admin), request).await;
    let code = answer.status();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    (code, std::str::from_utf8(&bytes).unwrap().parse().unwrap())
}

#[tokio::test]
async fn pages_are_of_one_moment() {
    let (server, api) = with_config_maps(&["a", "b", "c", "d", "e"]).await;
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!((names(first.items), first.metadata.remaining_item_count), ("a b".to_owned(), Some(3)));
    api.delete("c", &Default::default()).await.unwrap();
    server.create::<ConfigMap>(json!({"metadata": {"name": "cc"}})).await.unwrap();
    let token = first.metadata.continue_.unwrap();
    let second = api.list(&ListParams::default().limit(2).continue_token(&token)).await.unwrap();
    assert_eq!(names(second.items), "c d");
    assert_eq!(second.metadata.resource_version, first.metadata.resource_version);
    let token = second.metadata.continue_.unwrap();
    let last = api.list(&ListParams::default().limit(2).continue_token(&token)).await.unwrap();
    assert_eq!((names(last.items), last.metadata.continue_), ("e".to_owned(), None));
}

#[tokio::test]
async fn an_expired_page_comes_with_a_way_to_go_on() {
    let (server, api) = with_config_maps(&["a", "b", "c"]).await;
    let token = api.list(&ListParams::default().limit(1)).await.unwrap().metadata.continue_.unwrap();
    api.delete("b", &Default::default()).await.unwrap();
    server.api.store.compact();
    let path = |token: &str| format!("{PATH}?limit=1&continue={token}");
    let (code, status) = get(&server, &path(&token), "*/*").await;
    assert_eq!((code, &status["reason"]), (StatusCode::GONE, &json!("Expired")));
    let (code, rest) = get(&server, &path(status["metadata"]["continue"].as_str().unwrap()), "*/*").await;
    assert_eq!((code, &rest["items"][0]["metadata"]["name"]), (StatusCode::OK, &json!("c")));
}

#[tokio::test]
async fn a_list_can_be_of_an_exact_revision() {
    let (server, api) = with_config_maps(&["a", "b"]).await;
    let then = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    api.delete("a", &Default::default()).await.unwrap();
    let exact = ListParams::default().at(&then).matching(kube::api::VersionMatch::Exact);
    assert_eq!(names(api.list(&exact).await.unwrap().items), "a b");
    let at_least = ListParams::default().at(&then).matching(kube::api::VersionMatch::NotOlderThan);
    assert_eq!(names(api.list(&at_least).await.unwrap().items), "b");
    server.api.store.compact();
    assert_eq!(refusal(api.list(&exact).await).0, 410);
    let (code, message) = refusal(api.list(&ListParams::default().at("99999")).await);
    assert_eq!(code, 504, "{message}");
}

#[tokio::test]
async fn a_watch_sees_objects_enter_and_leave_its_selection() {
    let (server, api) = with_config_maps(&["a"]).await;
    let listed = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let mut events = pin!(api.watch(&WatchParams::default().labels("app=db"), &listed).await.unwrap());
    let label = |value: &str| Patch::Merge(json!({"metadata": {"labels": {"app": value}}}));
    let parameters = PatchParams::default();
    let entered = api.patch("a", &parameters, &label("db")).await.unwrap();
    let left = api.patch("a", &parameters, &label("web")).await.unwrap();
    server.create::<ConfigMap>(json!({"metadata": {"name": "b", "labels": {"app": "db"}}})).await.unwrap();
    api.delete("b", &Default::default()).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(match next(&mut events).await.unwrap() {
            WatchEvent::Added(object) => ("added", object),
            WatchEvent::Modified(object) => ("modified", object),
            WatchEvent::Deleted(object) => ("deleted", object),
            other => panic!("unexpected {other:?}"),
        });
    }
    let kinds: Vec<_> = seen.iter().map(|(kind, object)| format!("{kind} {}", object.name_any())).collect();
    assert_eq!(kinds, ["added a", "deleted a", "added b", "deleted b"]);
    assert_eq!(seen[0].1.resource_version(), entered.resource_version());
    // The state that was selected, at the revision at which it no longer was.
    assert_eq!(seen[1].1.labels()["app"], "db");
    assert_eq!(seen[1].1.resource_version(), left.resource_version());
}

#[tokio::test]
async fn a_watch_from_a_forgotten_revision_is_told_so() {
    let (server, api) = with_config_maps(&["a"]).await;
    let old = api.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    api.delete("a", &Default::default()).await.unwrap();
    server.create::<ConfigMap>(json!({"metadata": {"name": "b"}})).await.unwrap();
    server.api.store.compact();
    let mut events = pin!(api.watch(&WatchParams::default(), &old).await.unwrap());
    match next(&mut events).await.unwrap() {
        WatchEvent::Error(status) => assert_eq!((status.code, status.reason.as_str()), (410, "Expired")),
        other => panic!("unexpected {other:?}"),
    }
    assert!(events.next().await.is_none(), "nothing follows the error");
}

#[tokio::test]
async fn a_streamed_list_ends_with_a_mark() {
    let (server, api) = with_config_maps(&["a", "b"]).await;
    let mut events = pin!(watcher(api, watcher::Config::default().streaming_lists()));
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "done") {
        seen.push(match next(&mut events).await.unwrap() {
            watcher::Event::Init => "init".to_owned(),
            watcher::Event::InitApply(object) => object.name_any(),
            watcher::Event::InitDone => "done".to_owned(),
            other => panic!("unexpected {other:?}"),
        });
    }
    assert_eq!(seen, ["init", "a", "b", "done"]);
    server.create::<ConfigMap>(json!({"metadata": {"name": "c"}})).await.unwrap();
    match next(&mut events).await.unwrap() {
        watcher::Event::Apply(object) => assert_eq!(object.name_any(), "c"),
        other => panic!("unexpected {other:?}"),
    }
}

#[tokio::test]
async fn a_watch_ends_in_time_with_a_bookmark() {
    let (server, api) = with_config_maps(&["a"]).await;
    let parameters = WatchParams { timeout: Some(1), ..WatchParams::default() };
    let events: Vec<_> = api.watch(&parameters, "0").await.unwrap().try_collect().await.unwrap();
    match events.as_slice() {
        [WatchEvent::Added(object), WatchEvent::Bookmark(bookmark)] => {
            assert_eq!(object.name_any(), "a");
            assert_eq!(bookmark.metadata.resource_version, server.api.store.revision().to_string());
        }
        other => panic!("unexpected {other:?}"),
    }
}

#[tokio::test]
async fn watches_end_when_the_server_does() {
    let (server, api) = with_config_maps(&[]).await;
    let mut events = pin!(api.watch(&WatchParams::default(), "0").await.unwrap());
    server.api.closing.cancel();
    let end = tokio::time::timeout(Duration::from_secs(10), events.next()).await;
    assert!(end.expect("the watch goes on").is_none());
}

#[tokio::test]
async fn answers_come_in_the_form_asked_for() {
    let (server, _) = with_config_maps(&["a", "b"]).await;
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let (_, list) = get(&server, &format!("{PATH}?limit=1"), table).await;
    assert_eq!((&list["kind"], &list["columnDefinitions"][1]["name"]), (&json!("Table"), &json!("Data")));
    let cells = &list["rows"][0]["cells"];
    assert_eq!((&cells[0], &cells[1], cells[2].is_string()), (&json!("a"), &json!(0), true));
    assert_eq!(list["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(list["metadata"]["remainingItemCount"], 1);
    let (_, one) = get(&server, &format!("{PATH}/b?includeObject=Object"), table).await;
    assert_eq!(
        (&one["rows"][0]["cells"][0], &one["rows"][0]["object"]["kind"]),
        (&json!("b"), &json!("ConfigMap"))
    );
    let metadata = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let (_, list) = get(&server, PATH, metadata).await;
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][1]["metadata"]["labels"], json!({"app": "web"}));
    let (code, status) = get(&server, PATH, "application/vnd.kubernetes.protobuf").await;
    assert_eq!((code, &status["reason"]), (StatusCode::NOT_ACCEPTABLE, &json!("NotAcceptable")));
    let (code, _) = get(&server, &format!("{PATH}?fieldSelector=data.a%3D1"), "*/*").await;
    assert_eq!(code, StatusCode::BAD_REQUEST);
}

/// A real API server leaves them out; who relies on them fails there first.
#[tokio::test]
async fn items_of_a_list_do_not_repeat_what_they_are() {
    let server = start().await;
    let map = json!({"metadata": {"name": "a"}, "data": {"kind": "\"kind\":\"ConfigMap\""}});
    server.create::<ConfigMap>(map).await.unwrap();
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": NAMESPACE}});
    server.create::<Event>(event).await.unwrap();
    for path in [PATH, "/api/v1/namespaces/work/events", "/apis/events.k8s.io/v1/namespaces/work/events"] {
        let (_, list) = get(&server, path, "*/*").await;
        let item = &list["items"][0];
        assert_eq!((item.get("kind"), item.get("apiVersion")), (None, None), "{path}");
        assert_eq!(item["metadata"]["namespace"], NAMESPACE, "{path}");
    }
    let (_, list) = get(&server, PATH, "*/*").await;
    assert_eq!(list["items"][0]["data"]["kind"], "\"kind\":\"ConfigMap\"");
}

#[tokio::test]
async fn events_of_both_groups_are_the_same_objects() {
    let server = start().await;
    let event = json!({"metadata": {"name": "e"}, "reason": "Pulled", "message": "pulled", "type": "Normal",
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": NAMESPACE}});
    let created = server.create::<Event>(event).await.unwrap();
    let path = "/apis/events.k8s.io/v1/namespaces/work/events";
    let (_, list) = get(&server, &format!("{path}?fieldSelector=involvedObject.name%3Dp"), "*/*").await;
    let item = &list["items"][0];
    assert_eq!((&list["kind"], &list["apiVersion"]), (&json!("EventList"), &json!("events.k8s.io/v1")));
    assert_eq!((&item["note"], &item["regarding"]["name"]), (&json!("pulled"), &json!("p")));
    assert_eq!(item["metadata"]["uid"], json!(created.uid()));
}

#[tokio::test]
async fn a_custom_resource_is_shown_in_every_served_version() {
    let server = start().await;
    let version = |name: &str, storage: bool| {
        json!({"name": name, "served": true, "storage": storage,
        "additionalPrinterColumns": [{"name": "Color", "type": "string", "jsonPath": ".spec.color"}],
        "selectableFields": [{"jsonPath": ".spec.color"}],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "color": {"type": "string"},
        }}}}}})
    };
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [version("v1", true), version("v2", false)]},
    });
    server.api.serve(|registry| registry.with_crd(&definition).unwrap());
    let widget = |name: &str, color: &str| {
        json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"color": color}})
    };
    server.store("example.com", "widgets", widget("a", "red"));
    server.store("example.com", "widgets", widget("b", "blue"));
    let path = "/apis/example.com/v2/namespaces/work/widgets";
    let (_, list) = get(&server, &format!("{path}?fieldSelector=spec.color%3Dblue"), "*/*").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&list["kind"], &list["items"][0]["apiVersion"]),
        (&json!("WidgetList"), &json!("example.com/v2"))
    );
    let (_, table) = get(&server, path, "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    assert_eq!(table["rows"][0]["cells"], json!(["a", "red"]));
    let discovery = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let (_, groups) = get(&server, "/apis", discovery).await;
    let group = groups["items"].as_array().unwrap().last().unwrap();
    assert_eq!(group["metadata"]["name"], "example.com");
    assert_eq!(
        (&group["versions"][0]["version"], &group["versions"][1]["version"]),
        (&json!("v2"), &json!("v1"))
    );
}

#[tokio::test]
async fn a_watch_ends_when_its_resource_is_no_longer_served() {
    let server = start().await;
    let definition = json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
    });
    server.api.serve(|registry| registry.with_crd(&definition).unwrap());
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Widget"));
    let widgets = Api::<DynamicObject>::namespaced_with(server.client.clone(), NAMESPACE, &resource);
    let mut events = pin!(widgets.watch(&WatchParams::default(), "0").await.unwrap());
    server.api.serve(|registry| registry.without_crd("widgets.example.com"));
    let end = tokio::time::timeout(Duration::from_secs(10), events.next()).await;
    assert!(end.expect("the watch goes on").is_none());
}
