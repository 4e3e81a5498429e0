//! A webhook server for tests: TLS with a certificate of its own, answers by a function, remembers what it was asked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the hook does with a request: the `response` without its uid, or `None` for never answering.
pub type Behaviour = fn(&Value) -> Option<Value>;

/// A running hook.
pub struct Hook {
    pub address: SocketAddr,
    /// Its authority, PEM in base64.
    pub ca_bundle: String,
    /// Paths with queries, and reviews.
    pub asked: Arc<Mutex<Vec<(Uri, Value)>>>,
    /// Connections it has accepted.
    pub connections: Arc<AtomicUsize>,
}

/// Starts a hook whose certificate is for `name`.
pub async fn start(name: &str, behaviour: Behaviour) -> Hook {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook = Hook {
        address: listener.local_addr().unwrap(),
        ca_bundle: BASE64.encode(cert.pem()),
        asked: Arc::default(),
        connections: Arc::default(),
    };
    let (asked, connections) = (hook.asked.clone(), hook.connections.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::Relaxed);
            let Ok(stream) = acceptor.accept(stream).await else { continue };
            let asked = asked.clone();
            let service =
                hyper::service::service_fn(move |request| answer(asked.clone(), behaviour, request));
            tokio::spawn(async move {
                let _ =
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    hook
}

async fn answer(
    asked: Arc<Mutex<Vec<(Uri, Value)>>>,
    behaviour: Behaviour,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let uri = request.uri().clone();
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let response = behaviour(&review["request"]);
    asked.lock().unwrap().push((uri, review["request"].clone()));
    let Some(mut response) = response else { return std::future::pending().await };
    response["uid"] = review["request"]["uid"].clone();
    let review =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(Response::new(Full::new(review.to_string().into())))
}

/// A response that applies these operations.
pub fn patch(operations: Value) -> Option<Value> {
    let patch = BASE64.encode(operations.to_string());
    Some(json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}))
}

impl Hook {
    /// The webhook for creations of ConfigMaps, with these fields changed.
    pub fn webhook(&self, more: Value) -> Value {
        let mut webhook = json!({
            "name": "hook.example.com",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "timeoutSeconds": 5,
            "clientConfig": {"url": format!("https://localhost:{}/review", self.address.port()), "caBundle": self.ca_bundle},
            "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        });
        webhook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        webhook
    }
}
