//! Admission as a client meets it: webhooks over TLS, and what built-in plugins do to objects.

use std::sync::atomic::Ordering;

use engine::api::server::client;
use engine::api::user::User;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use super::hook::{self, Hook, patch};
use super::server::{NAMESPACE, Server, named, refusal, start};

/// Registers webhooks under a configuration's name.
async fn register(server: &Server, kind: &str, name: &str, webhooks: Value) {
    let configuration = json!({"metadata": {"name": name}, "webhooks": webhooks});
    let parameters = PostParams::default();
    if kind == "mutating" {
        let object: MutatingWebhookConfiguration = serde_json::from_value(configuration).unwrap();
        Api::all(server.client.clone()).create(&parameters, &object).await.unwrap();
    } else {
        let object: ValidatingWebhookConfiguration = serde_json::from_value(configuration).unwrap();
        Api::all(server.client.clone()).create(&parameters, &object).await.unwrap();
    }
}

async fn config_map(server: &Server, name: &str) -> Result<ConfigMap, kube::Error> {
    server.create(json!({"metadata": {"name": name}, "data": {"a": "1"}})).await
}

fn allow(_: &Value) -> Option<Value> {
    Some(json!({"allowed": true}))
}

fn deny(_: &Value) -> Option<Value> {
    Some(json!({"allowed": false, "status": {"code": 403, "reason": "Forbidden", "message": "not today"}}))
}

fn silent(_: &Value) -> Option<Value> {
    None
}

fn mark(_: &Value) -> Option<Value> {
    patch(json!([{"op": "add", "path": "/data/marked", "value": "yes"}]))
}

/// Counts in `data.seen` whether the object was marked when it was asked.
fn look(request: &Value) -> Option<Value> {
    let seen = if request["object"]["data"]["marked"].is_string() { "marked" } else { "unmarked" };
    patch(json!([{"op": "add", "path": "/data/seen", "value": seen}]))
}

#[tokio::test]
async fn a_mutating_webhook_behind_a_service_changes_what_is_stored() {
    let server = start().await;
    let hook = hook::start("hook.work.svc", mark).await;
    let port = hook.address.port();
    // The service network of a node is not there: the hook's own address stands for the cluster IP.
    server.store(
        "",
        "services",
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"},
        "spec": {"clusterIP": "127.0.0.1", "ports": [{"port": port}]}}),
    );
    let service = json!({"namespace": NAMESPACE, "name": "hook", "path": "/mutate", "port": port});
    let webhook = hook.webhook(json!({"clientConfig": {"service": service, "caBundle": hook.ca_bundle}}));
    register(&server, "mutating", "marks", json!([webhook])).await;

    let stored = config_map(&server, "first").await.unwrap();
    assert_eq!(stored.data.unwrap()["marked"], "yes");
    config_map(&server, "second").await.unwrap();
    let asked = hook.asked.lock().unwrap();
    let (uri, request) = &asked[0];
    assert_eq!(uri.path_and_query().unwrap(), "/mutate?timeout=5s");
    assert_eq!(request["userInfo"]["username"], "admin");
    assert_eq!((&request["operation"], &request["namespace"]), (&json!("CREATE"), &json!(NAMESPACE)));
    assert_eq!(request["object"]["data"], json!({"a": "1"}));
    assert_eq!(request["oldObject"], Value::Null);
    assert_eq!(hook.connections.load(Ordering::Relaxed), 1, "the connection is used again");
}

#[tokio::test]
async fn a_webhook_sees_later_changes_when_it_asks_to() {
    let server = start().await;
    let (looks, marks) = (hook::start("localhost", look).await, hook::start("localhost", mark).await);
    let webhook = |hook: &Hook, policy: &str| hook.webhook(json!({"reinvocationPolicy": policy}));
    register(&server, "mutating", "a", json!([webhook(&looks, "IfNeeded")])).await;
    register(&server, "mutating", "b", json!([webhook(&marks, "Never")])).await;
    let stored = config_map(&server, "c").await.unwrap();
    assert_eq!(stored.data.unwrap()["seen"], "marked");
    assert_eq!((looks.asked.lock().unwrap().len(), marks.asked.lock().unwrap().len()), (2, 1));
}

#[tokio::test]
async fn a_denial_reaches_the_client_in_the_webhooks_words() {
    let server = start().await;
    let hook = hook::start("localhost", deny).await;
    register(&server, "validating", "denies", json!([hook.webhook(json!({}))])).await;
    let (code, message) = refusal(config_map(&server, "c").await);
    assert_eq!(code, 403);
    assert_eq!(message, r#"admission webhook "hook.example.com" denied the request: not today"#);
    let exempt = json!({"matchConditions": [{"name": "data", "expression": "has(object.data) && 'b' in object.data"}]});
    let configurations = Api::<ValidatingWebhookConfiguration>::all(server.client.clone());
    configurations.delete("denies", &DeleteParams::default()).await.unwrap();
    register(&server, "validating", "denies-some", json!([hook.webhook(exempt)])).await;
    config_map(&server, "c").await.expect("the condition does not hold");
}

/// The refusal of a write while `webhook` cannot be asked, and that it goes through when failures are ignored.
async fn check_failure(webhook: Value, expected: &str) {
    let server = start().await;
    register(&server, "validating", "broken", json!([webhook])).await;
    let (code, message) = refusal(config_map(&server, "c").await);
    assert_eq!(code, 500);
    let start = r#"Internal error occurred: failed calling webhook "hook.example.com": failed to call webhook: Post "https://"#;
    assert!(message.starts_with(start) && message.contains(expected), "{message}");
    let mut ignored = webhook;
    ignored["failurePolicy"] = json!("Ignore");
    Api::<ValidatingWebhookConfiguration>::all(server.client.clone())
        .delete("broken", &DeleteParams::default())
        .await
        .unwrap();
    register(&server, "validating", "ignored", json!([ignored])).await;
    config_map(&server, "c").await.expect("failures are ignored");
}

#[tokio::test]
async fn a_webhook_of_another_authority_fails() {
    let (hook, other) = (hook::start("localhost", allow).await, hook::start("localhost", allow).await);
    let url = format!("https://localhost:{}/review", hook.address.port());
    let webhook = hook.webhook(json!({"clientConfig": {"url": url, "caBundle": other.ca_bundle}}));
    check_failure(
        webhook,
        "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    )
    .await;
    assert!(hook.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_webhook_with_another_name_fails() {
    let hook = hook::start("elsewhere", allow).await;
    check_failure(hook.webhook(json!({})), "x509: certificate is not valid for localhost").await;
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_in_time_fails() {
    let hook = hook::start("localhost", silent).await;
    check_failure(hook.webhook(json!({"timeoutSeconds": 1})), r#"?timeout=1s": context deadline exceeded"#)
        .await;
}

#[tokio::test]
async fn a_webhook_nobody_serves_fails() {
    let hook = hook::start("localhost", allow).await;
    // Bound and closed again: nobody listens there.
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let url = format!("https://127.0.0.1:{port}/review");
    let client = json!({"url": url, "caBundle": hook.ca_bundle});
    let expected = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    check_failure(hook.webhook(json!({"clientConfig": client})), &expected).await;
    let service = json!({"service": {"namespace": NAMESPACE, "name": "gone"}, "caBundle": hook.ca_bundle});
    check_failure(hook.webhook(json!({"clientConfig": service})), r#"service "gone" not found"#).await;
}

#[tokio::test]
async fn pods_get_the_token_of_an_account_that_exists() {
    let server = start().await;
    let pod = |account: Value| {
        json!({"metadata": {"generateName": "p-"}, "spec": {"serviceAccountName": account,
        "containers": [{"name": "a", "image": "example.com/a:1"}]}})
    };
    let stored: Pod = server.create(pod(Value::Null)).await.unwrap();
    let spec = stored.spec.unwrap();
    assert_eq!(spec.service_account_name.as_deref(), Some("default"));
    assert_eq!(spec.priority, Some(0));
    assert_eq!(spec.tolerations.unwrap().len(), 2);
    let volume = &spec.volumes.unwrap()[0];
    assert!(volume.name.starts_with("kube-api-access-") && volume.projected.is_some());
    let mount = &spec.containers[0].volume_mounts.as_ref().unwrap()[0];
    assert_eq!(
        (&mount.name, mount.mount_path.as_str()),
        (&volume.name, "/var/run/secrets/kubernetes.io/serviceaccount")
    );
    let (code, message) = refusal(server.create::<Pod>(pod(json!("nobody"))).await);
    assert_eq!(code, 403);
    let expected = r#"error looking up service account work/nobody: serviceaccount "nobody" not found"#;
    assert!(message.ends_with(expected), "{message}");
}

#[tokio::test]
async fn services_have_addresses_and_ports_of_their_own() {
    let server = start().await;
    let service = |name: &str| json!({"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}});
    let first: Service = server.create(service("first")).await.unwrap();
    let second: Service = server.create(service("second")).await.unwrap();
    let given = |service: &Service| {
        let spec = service.spec.clone().unwrap();
        (spec.cluster_ip.unwrap(), spec.ports.unwrap()[0].node_port.unwrap())
    };
    let ((address, port), (other_address, other_port)) = (given(&first), given(&second));
    assert!(address.starts_with("10.96.") && (30000..=32767).contains(&port));
    assert!(address != other_address && port != other_port);
    let taken = |name: &str| json!({"metadata": {"name": name}, "spec": {"clusterIP": address, "ports": [{"port": 80}]}});
    let (code, message) = refusal(server.create::<Service>(taken("third")).await);
    assert_eq!(code, 422);
    assert!(message.ends_with("provided IP is already allocated"), "{message}");
    // A replacement that leaves the address out keeps it.
    let services = Api::<Service>::namespaced(server.client.clone(), NAMESPACE);
    let replacement = serde_json::from_value(service("first")).unwrap();
    let replaced = services.replace("first", &PostParams::default(), &replacement).await.unwrap();
    assert_eq!(given(&replaced), (address.clone(), port));
}

#[tokio::test]
async fn claims_get_the_default_class_and_namespaces_have_to_be_there() {
    let server = start().await;
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}}});
    let stored: PersistentVolumeClaim = server.create(claim).await.unwrap();
    assert_eq!(stored.spec.unwrap().storage_class_name.as_deref(), Some("standard"));
    let elsewhere = Api::<ConfigMap>::namespaced(server.client.clone(), "nowhere");
    let object = ConfigMap { metadata: named("c"), ..ConfigMap::default() };
    let (code, message) = refusal(elsewhere.create(&PostParams::default(), &object).await);
    assert_eq!((code, message.as_str()), (404, r#"namespaces "nowhere" not found"#));
}

#[tokio::test]
async fn nobody_grants_what_they_may_not_do() {
    let server = start().await;
    let rules = json!([
        {"verbs": ["create"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"]},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
    ]);
    server.create::<Role>(json!({"metadata": {"name": "lead"}, "rules": rules})).await.unwrap();
    let reference =
        |kind: &str, name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
    let binding = |name: &str, role: Value| {
        json!({"metadata": {"name": name}, "roleRef": role,
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "lea"}]})
    };
    server.create::<RoleBinding>(binding("lea", reference("Role", "lead"))).await.unwrap();

    let lea = Server {
        client: client(&server.api, User::authenticated("lea", Vec::new())),
        api: server.api.clone(),
    };
    let role = |name: &str, verb: &str| json!({"metadata": {"name": name}, "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]});
    lea.create::<Role>(role("reader", "get")).await.expect("she has that right herself");
    let (code, message) = refusal(lea.create::<Role>(role("writer", "delete")).await);
    assert_eq!(code, 403);
    assert!(message.contains("attempting to grant RBAC permissions not currently held"), "{message}");
    assert!(message.ends_with(r#"{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}"#), "{message}");
    lea.create::<RoleBinding>(binding("mine", reference("Role", "reader"))).await.unwrap();
    let (code, _) =
        refusal(lea.create::<RoleBinding>(binding("all", reference("ClusterRole", "cluster-admin"))).await);
    assert_eq!(code, 403);
}
