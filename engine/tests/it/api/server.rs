//! An API server with the first objects of a cluster and a namespace to work in; no controllers, no node.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use axum::body::Body;
use engine::api::admission::Admission;
use engine::api::authenticate::Authenticator;
use engine::api::token::Tokens;
use engine::api::user::User;
use engine::api::{Api, handle, server, write};
use engine::bootstrap::{self, Facts};
use engine::pki::{MASTERS, Pki};
use engine::store::{Expect, GroupResource, Store};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{ObjectMeta, PostParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// The namespace tests work in.
pub const NAMESPACE: &str = "work";

/// The server, and a client that may do everything.
pub struct Server {
    pub api: Arc<Api>,
    pub client: Client,
}

/// Starts one.
pub async fn start() -> Server {
    let pki = Pki::generate().unwrap();
    let (private, public) = pki.token_key();
    let authenticator = Authenticator { tokens: Tokens::new(private, public), fixed: HashMap::new() };
    let api = Arc::new(Api::new(Store::new(1000), authenticator, Admission::default()));
    let admin = User::authenticated("admin", vec![MASTERS.to_owned()]);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": NAMESPACE}});
    for object in bootstrap::objects(&Facts::default()).into_iter().chain([namespace, account]) {
        let text = |field: &str| object[field].as_str().unwrap().to_owned();
        let resource = api.registry().by_kind(&text("apiVersion"), &text("kind")).unwrap();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        write::create(&api, &admin, &resource, &namespace, object).await.unwrap();
    }
    Server { client: server::client(&api, admin), api }
}

impl Server {
    /// Creates an object in the namespace.
    pub async fn create<K>(&self, object: Value) -> Result<K, kube::Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Serialize
            + DeserializeOwned,
    {
        let object: K = serde_json::from_value(object).unwrap();
        kube::Api::namespaced(self.client.clone(), NAMESPACE).create(&PostParams::default(), &object).await
    }

    /// Puts an object in the store past all checks: what a controller or node would have written.
    pub fn store(&self, group: &str, plural: &str, value: Value) {
        let key = (NAMESPACE.to_owned(), value["metadata"]["name"].as_str().unwrap().to_owned());
        self.api.store.put(&GroupResource::new(group, plural), &key, Expect::Absent, value).unwrap();
    }

    /// Sends a request as somebody who comes with headers alone.
    pub async fn send(&self, request: Request<Body>) -> (StatusCode, Value) {
        let answer = handle::handle(&self.api, None, request).await;
        let code = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// POST of `value` with a bearer token.
    pub async fn post_as(&self, token: &str, path: &str, value: &Value) -> (StatusCode, Value) {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(value.to_string()));
        self.send(request.unwrap()).await
    }
}

/// The code and message of a refusal.
#[track_caller]
pub fn refusal<T: Debug>(outcome: Result<T, kube::Error>) -> (u16, String) {
    match outcome {
        Err(kube::Error::Api(status)) => (status.code, status.message.clone()),
        other => panic!("not refused: {other:?}"),
    }
}

/// Metadata with a name only.
pub fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}
