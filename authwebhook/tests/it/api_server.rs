//! An API server that stores whatever it is given and insists on resource versions.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::Client;
use serde_json::{Value, json};

/// Objects by their path.
#[derive(Clone, Default)]
pub struct ApiServer {
    objects: Arc<Mutex<(u64, BTreeMap<String, Value>)>>,
}

impl ApiServer {
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice(&bytes).unwrap_or_default();
                let (status, answer) = server.answer(&parts.method, parts.uri.path(), body);
                let response = Response::builder().status(status).header("content-type", "application/json");
                Ok::<_, Infallible>(response.body(Body::from(answer.to_string())).unwrap())
            }
        });
        Client::new(service, "default")
    }

    /// Serves it over HTTP until the test ends; its URL.
    pub async fn serve(&self) -> String {
        let server = self.clone();
        let answer = async move |request: Request<Body>| {
            let (parts, body) = request.into_parts();
            let bytes = body.collect().await.unwrap().to_bytes();
            let body = serde_json::from_slice(&bytes).unwrap_or_default();
            let (status, answer) = server.answer(&parts.method, parts.uri.path(), body);
            (status, axum::Json(answer))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
        url
    }

    /// The object at `path`, if there is one.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.objects.lock().unwrap().1.get(path).cloned()
    }

    fn answer(&self, method: &Method, path: &str, mut body: Value) -> (StatusCode, Value) {
        let mut guard = self.objects.lock().unwrap();
        let (revision, objects) = &mut *guard;
        let refused = |code: StatusCode, reason: &str| {
            let status = json!({"kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason, "message": reason});
            (code, status)
        };
        let path = match method {
            &Method::POST => format!("{path}/{}", body["metadata"]["name"].as_str().unwrap()),
            _ => path.to_owned(),
        };
        let present = objects.get(&path);
        match (method, present) {
            (&Method::GET, Some(object)) => return (StatusCode::OK, object.clone()),
            (&Method::GET | &Method::PUT, None) => return refused(StatusCode::NOT_FOUND, "NotFound"),
            (&Method::POST, Some(_)) => return refused(StatusCode::CONFLICT, "AlreadyExists"),
            (&Method::PUT, Some(object)) => {
                if object["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] {
                    return refused(StatusCode::CONFLICT, "Conflict");
                }
            }
            (&Method::POST, None) => {}
            other => panic!("{other:?}"),
        }
        *revision += 1;
        body["metadata"]["resourceVersion"] = json!(revision.to_string());
        objects.insert(path, body.clone());
        (StatusCode::OK, body)
    }
}
