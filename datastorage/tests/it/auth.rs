//! Callers judged by the API server, which is played here at the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::{Method, Request, Response};
use datastorage::server::{Authorization, KubernetesAuthorizer};
use http_body_util::BodyExt;
use kube::Client;
use serde_json::{Value, json};

use crate::app::{App, limits, sent};

const EVENTS: &str = "/api/v1/audit/events";

/// Knows two tokens: `reader` may get, `writer` may get and create. Counts what it is asked.
fn api_server(asked: Arc<AtomicUsize>) -> Client {
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let asked = asked.clone();
        async move {
            asked.fetch_add(1, Ordering::Relaxed);
            let path = request.uri().path().to_owned();
            let bytes = request.into_body().collect().await.unwrap().to_bytes();
            let mut review: Value = serde_json::from_slice(&bytes).unwrap();
            review["status"] = match path.rsplit('/').next().unwrap() {
                "tokenreviews" => match review["spec"]["token"].as_str() {
                    Some(token @ ("reader" | "writer")) => {
                        json!({"authenticated": true, "user": {"username": format!("system:serviceaccount:a:{token}"), "groups": ["g"]}})
                    }
                    _ => json!({"authenticated": false}),
                },
                "subjectaccessreviews" => {
                    let spec = &review["spec"];
                    let on = &spec["resourceAttributes"];
                    assert_eq!(
                        (&on["resource"], &on["name"], &on["namespace"]),
                        (&json!("services"), &json!("ds"), &json!("ns"))
                    );
                    assert_eq!(spec["groups"], json!(["g"]));
                    let writer = spec["user"] == "system:serviceaccount:a:writer";
                    json!({"allowed": on["verb"] == "get" || writer && on["verb"] == "create"})
                }
                other => panic!("asked for {other}"),
            };
            Ok::<_, std::convert::Infallible>(Response::new(Body::from(review.to_string())))
        }
    });
    Client::new(service, "default")
}

async fn app(client: Client) -> App {
    let authorizer = KubernetesAuthorizer::new(client, "ns".into(), "ds".into());
    App::with(limits(), Authorization::Kubernetes(Box::new(authorizer))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_may_what_its_user_may() {
    let app = app(api_server(Arc::default())).await;
    let ask = async |method: Method, token: &str| {
        let body = (method == Method::POST).then(|| sent("rr-1", 1));
        app.send(method, EVENTS, body, &[("authorization", token)]).await
    };
    assert_eq!(app.get(EVENTS).await.problem(401), "unauthorized");
    assert_eq!(ask(Method::GET, "Basic reader").await.problem(401), "unauthorized");
    let refused = ask(Method::GET, "Bearer stolen").await;
    assert_eq!(refused.headers["www-authenticate"], "Bearer");
    assert_eq!(refused.problem(401), "unauthorized");
    ask(Method::GET, "Bearer reader").await.expect(200);
    assert_eq!(ask(Method::POST, "Bearer reader").await.problem(403), "forbidden");
    ask(Method::POST, "Bearer writer").await.expect(201);
    for open in ["/health/ready", "/metrics", "/openapi.json"] {
        assert_eq!(app.get(open).await.status, 200, "{open}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claimed_name_is_not_believed() {
    let app = app(api_server(Arc::default())).await;
    let headers = [("authorization", "Bearer reader"), ("x-auth-request-user", "alice")];
    let export = app.send(Method::GET, "/api/v1/audit/export", None, &headers).await.expect(200);
    assert_eq!(export["export_metadata"]["exported_by"], "system:serviceaccount:a:reader");
    let body = json!({"correlation_id": "rr-1", "reason": "x"});
    let refused = app.send(Method::POST, "/api/v1/audit/legal-hold", Some(body), &headers).await;
    assert_eq!(refused.problem(403), "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_is_asked_once_for_many_requests() {
    let asked = Arc::new(AtomicUsize::new(0));
    let app = app(api_server(asked.clone())).await;
    for _ in 0..10 {
        app.send(Method::GET, EVENTS, None, &[("authorization", "Bearer reader")]).await.expect(200);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_api_server_nobody_is_let_in_and_may_come_again() {
    let down = tower::service_fn(|_: Request<kube::client::Body>| async {
        Err::<Response<Body>, _>(std::io::Error::from(std::io::ErrorKind::ConnectionRefused))
    });
    let app = app(Client::new(down, "default")).await;
    let answer = app.send(Method::GET, EVENTS, None, &[("authorization", "Bearer reader")]).await;
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(answer.problem(503), "service-unavailable");
}
