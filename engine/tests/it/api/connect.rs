//! Logs from the node and the proxies of services and pods.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::any;
use bytes::Bytes;
use engine::kubelet::{Kubelet, LogRequest, LogStream};
use engine::status::Status;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::{HeaderMap, Method, Request, Uri};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::server::{NAMESPACE, Server, refusal, start};

/// A backend on loopback that tells what it was asked.
async fn backend() -> u16 {
    let tell = async |method: Method, uri: Uri, headers: HeaderMap, body: String| {
        format!("{method} {uri} {body} auth={}", headers.contains_key("authorization"))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(tell))).await });
    port
}

fn expose(server: &Server, port: u16, ready: bool) {
    server.store(
        "",
        "services",
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}}),
    );
    let slice = json!({"metadata": {"name": "web-x", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": ready}}]});
    // Stored past validation, which refuses loopback addresses as endpoints.
    server.store("discovery.k8s.io", "endpointslices", slice);
}

fn proxy(target: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/services/{target}")
}

#[tokio::test]
async fn a_request_to_a_service_reaches_its_endpoint() {
    let server = start().await;
    expose(&server, backend().await, true);
    let request = Request::post(proxy("http:web:80/proxy/a/b%20c?q=x+y"))
        .header("authorization", "Bearer secret")
        .body(b"hello".to_vec());
    let answer = server.client.request_text(request.unwrap()).await.unwrap();
    assert_eq!(answer, "POST /a/b%20c?q=x%20y hello auth=false");
}

#[tokio::test]
async fn a_service_nobody_serves_is_unavailable() {
    let server = start().await;
    expose(&server, 1, false);
    let get = async |target: &str| {
        let request = Request::get(proxy(target)).body(Vec::new()).unwrap();
        refusal(server.client.request_text(request).await)
    };
    assert_eq!(get("web:80/proxy/").await, (503, r#"no endpoints available for service "web""#.to_owned()));
    assert_eq!(get("gone/proxy/").await, (404, r#"services "gone" not found"#.to_owned()));
}

#[tokio::test]
async fn a_request_to_a_pod_reaches_it() {
    let server = start().await;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}, "status": {"podIP": "127.0.0.1"}});
    server.store("", "pods", pod);
    let port = backend().await;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/p:{port}/proxy/healthz");
    let answer = server.client.request_text(Request::get(path).body(Vec::new()).unwrap()).await.unwrap();
    assert_eq!(answer, "GET /healthz  auth=false");
}

/// A node that has one line for everybody.
#[derive(Default)]
struct Node {
    asked: Mutex<Vec<LogRequest>>,
}

impl Kubelet for Node {
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<LogStream, Status>> {
        self.asked.lock().unwrap().push(request);
        let lines = futures::stream::iter([Ok(Bytes::from_static(b"one line\n"))]);
        async { Ok(lines.boxed()) }.boxed()
    }
}

#[tokio::test]
async fn a_log_comes_from_the_node() {
    let server = start().await;
    let pod = |name: &str, containers: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": "n", "containers": containers}})
    };
    server.store("", "pods", pod("one", json!([{"name": "a"}])));
    server.store("", "pods", pod("two", json!([{"name": "a"}, {"name": "b"}])));
    let node = Arc::new(Node::default());
    assert!(server.api.kubelet.set(node.clone()).is_ok());
    let pods = Api::<Pod>::namespaced(server.client.clone(), NAMESPACE);
    let parameters = LogParams { tail_lines: Some(5), follow: true, ..LogParams::default() };
    assert_eq!(pods.logs("one", &parameters).await.unwrap(), "one line\n");
    let asked = node.asked.lock().unwrap().remove(0);
    assert_eq!((asked.container.as_str(), asked.tail_lines, asked.follow), ("a", Some(5), true));
    let (code, message) = refusal(pods.logs("two", &LogParams::default()).await);
    assert_eq!(code, 400);
    assert_eq!(message, "a container name must be specified for pod two, choose one of: [a b]");
}

#[tokio::test]
async fn what_is_missing_says_so() {
    let server = start().await;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/p/exec?command=ls");
    let (code, message) =
        refusal(server.client.request_text(Request::post(path).body(Vec::new()).unwrap()).await);
    assert_eq!((code, message.as_str()), (501, "pods/exec is not implemented by this server"));
}
