//! Who gets in, as whom, and what is told to those who do not.

use axum::body::Body;
use engine::api::handle::{self, BODY_LIMIT};
use engine::api::user::User;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::server::{NAMESPACE, Server, start};

/// An answer: code, headers worth looking at, and the body as text.
struct Told {
    code: StatusCode,
    headers: http::HeaderMap,
    text: String,
}

impl Told {
    fn json(&self) -> Value {
        self.text.parse().unwrap()
    }
}

async fn ask(server: &Server, user: Option<&User>, request: http::request::Builder) -> Told {
    let answer = handle::handle(&server.api, user, request.body(Body::empty()).unwrap()).await;
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Told { code: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}

fn bob() -> User {
    User::authenticated("bob", Vec::new())
}

#[tokio::test]
async fn nobody_may_do_nothing_but_look_at_what_is_public() {
    let server = start().await;
    let told = ask(&server, None, Request::get("/api/v1/namespaces/work/pods?limit=1")).await;
    assert_eq!(told.code, StatusCode::FORBIDDEN);
    let status = told.json();
    assert_eq!(
        status["message"],
        r#"pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" in the namespace "work""#
    );
    assert_eq!((&status["reason"], &status["details"]["kind"]), (&json!("Forbidden"), &json!("pods")));
    assert_eq!(told.headers["audit-id"].len(), 36);
    assert_eq!(ask(&server, None, Request::get("/version")).await.json()["major"], "1");
    assert_eq!(ask(&server, None, Request::get("/readyz")).await.text, "ok");
}

#[tokio::test]
async fn credentials_that_do_not_hold_are_an_error() {
    let server = start().await;
    let request = Request::get("/version").header(header::AUTHORIZATION, "Bearer made-up");
    let told = ask(&server, None, request).await;
    assert_eq!(
        (told.code, told.json()["message"].as_str()),
        (StatusCode::UNAUTHORIZED, Some("Unauthorized"))
    );
}

#[tokio::test]
async fn unknown_groups_and_unknown_resources_are_told_apart() {
    let server = start().await;
    let admin = User::authenticated("admin", vec![engine::pki::MASTERS.to_owned()]);
    let told = ask(&server, Some(&admin), Request::get("/apis/nothing.example.com/v1/things")).await;
    assert_eq!((told.code, told.text.as_str()), (StatusCode::NOT_FOUND, "404 page not found\n"));
    let told = ask(&server, Some(&admin), Request::get("/apis/apps/v1/things")).await;
    assert_eq!(told.json()["message"], "the server could not find the requested resource");
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let server = start().await;
    let admin = User::authenticated("admin", vec![engine::pki::MASTERS.to_owned()]);
    let body = Body::from(vec![b' '; BODY_LIMIT + 1]);
    let request = Request::post("/api/v1/namespaces/work/configmaps").body(body).unwrap();
    assert_eq!(handle::handle(&server.api, Some(&admin), request).await.status(), 413);
}

/// Lets bob impersonate `names` of a resource.
async fn let_bob_impersonate(server: &Server, resource: &str, names: &[&str]) {
    let role = json!({"metadata": {"name": "impersonator"}, "rules": [
        {"apiGroups": ["", "authentication.k8s.io"], "resources": [resource], "verbs": ["impersonate"], "resourceNames": names},
    ]});
    let binding = json!({"metadata": {"name": "impersonator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "impersonator"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}]});
    server.create::<k8s_openapi::api::rbac::v1::Role>(role).await.unwrap();
    server.create::<k8s_openapi::api::rbac::v1::RoleBinding>(binding).await.unwrap();
}

#[tokio::test]
async fn only_who_may_impersonate_does() {
    let server = start().await;
    let account = format!("system:serviceaccount:{NAMESPACE}:robot");
    let review = || Request::get("/api/v1/namespaces/work/pods").header("impersonate-user", account.as_str());
    let told = ask(&server, Some(&bob()), review()).await;
    let message = r#"serviceaccounts "robot" is forbidden: User "bob" cannot impersonate resource "serviceaccounts" in API group "" in the namespace "work""#;
    assert_eq!((told.code, told.json()["message"].as_str()), (StatusCode::FORBIDDEN, Some(message)));

    let_bob_impersonate(&server, "serviceaccounts", &["robot"]).await;
    let told = ask(&server, Some(&bob()), review()).await;
    let message = format!(
        r#"pods is forbidden: User {account:?} cannot list resource "pods" in API group "" in the namespace "work""#
    );
    assert_eq!(told.json()["message"], message);
    let told = ask(&server, Some(&bob()), review().header("impersonate-group", "system:masters")).await;
    assert!(told.json()["message"].as_str().unwrap().contains(r#"cannot impersonate resource "groups""#));
}

#[tokio::test]
async fn a_grant_for_one_name_is_enough_to_watch_that_object() {
    let server = start().await;
    let role = json!({"metadata": {"name": "one"}, "rules": [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"], "resourceNames": ["mine"]},
    ]});
    let binding = json!({"metadata": {"name": "one"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "one"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}]});
    server.create::<k8s_openapi::api::rbac::v1::Role>(role).await.unwrap();
    server.create::<k8s_openapi::api::rbac::v1::RoleBinding>(binding).await.unwrap();
    let path = "/api/v1/namespaces/work/secrets";
    let of = |selector: &str| Request::get(format!("{path}?fieldSelector={selector}"));
    assert_eq!(ask(&server, Some(&bob()), of("metadata.name%3Dmine")).await.code, StatusCode::OK);
    assert_eq!(ask(&server, Some(&bob()), of("metadata.name%3Dother")).await.code, StatusCode::FORBIDDEN);
    assert_eq!(ask(&server, Some(&bob()), Request::get(path)).await.code, StatusCode::FORBIDDEN);
}
