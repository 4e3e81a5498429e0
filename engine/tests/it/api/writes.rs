//! Writes as they go over the wire: what is stored, what is answered, and what is refused with which words.

mod apply;
mod definitions;
mod deletion;
mod objects;
mod subresources;

use axum::body::Body;
use engine::api::handle;
use engine::api::user::User;
use engine::pki::MASTERS;
use http::{Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::server::{NAMESPACE, Server, start};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// What came back.
#[derive(Debug)]
struct Reply {
    code: u16,
    body: Value,
    warnings: Vec<String>,
}

impl Reply {
    /// The object of a write that was made.
    #[track_caller]
    fn ok(self) -> Value {
        assert!(self.code < 300, "refused: {} {}", self.code, self.body);
        self.body
    }

    /// Code and message of a write that was refused.
    #[track_caller]
    fn refused(&self) -> (u16, &str) {
        assert!(self.code >= 400, "not refused: {}", self.body);
        (self.code, self.body["message"].as_str().unwrap())
    }
}

/// Sends a request as an administrator with this client's name.
async fn send(server: &Server, request: &str, media_type: &str, body: &str) -> Reply {
    let admin = User::authenticated("admin", vec![MASTERS.to_owned()]);
    let (method, target) = request.split_once(' ').unwrap();
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header(header::CONTENT_TYPE, media_type)
        .header(header::USER_AGENT, "tester/v1 (test)")
        .body(Body::from(body.to_owned()))
        .unwrap();
    let answer = handle::handle(&server.api, Some(&admin), request).await;
    let code = answer.status().as_u16();
    let warnings = answer.headers().get_all(header::WARNING).iter();
    let warnings = warnings.map(|warning| warning.to_str().unwrap().to_owned()).collect();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    // Only a path with nothing behind it is answered in plain text.
    let text = || Value::String(String::from_utf8_lossy(&body).into_owned());
    Reply { code, body: serde_json::from_slice(&body).unwrap_or_else(|_| text()), warnings }
}

async fn post(server: &Server, path: &str, body: &Value) -> Reply {
    send(server, &format!("POST {path}"), JSON, &body.to_string()).await
}

async fn put(server: &Server, path: &str, body: &Value) -> Reply {
    send(server, &format!("PUT {path}"), JSON, &body.to_string()).await
}

async fn patch(server: &Server, media_type: &str, path: &str, body: &Value) -> Reply {
    send(server, &format!("PATCH {path}"), media_type, &body.to_string()).await
}

async fn get(server: &Server, path: &str) -> Reply {
    send(server, &format!("GET {path}"), JSON, "").await
}

async fn delete(server: &Server, path: &str, options: Value) -> Reply {
    let body = if options.is_null() { String::new() } else { options.to_string() };
    send(server, &format!("DELETE {path}"), JSON, &body).await
}

/// The path of a namespaced resource of the core group.
fn core(rest: &str) -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/{rest}")
}

/// The path of a namespaced resource of another group.
fn at(group_version: &str, rest: &str) -> String {
    format!("/apis/{group_version}/namespaces/{NAMESPACE}/{rest}")
}

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "main", "image": "registry/app:1"}]}})
}

fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": 1,
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "main", "image": "registry/app:1"}]}}}})
}

/// A copy of `object` with a merge patch applied, as a client that reads, changes and writes back has it.
fn changed(object: &Value, changes: Value) -> Value {
    engine::patch::merge_patch(object, &changes).unwrap()
}
