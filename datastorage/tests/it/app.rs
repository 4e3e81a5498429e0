//! The service without a socket: requests go straight to its router.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, header};
use datastorage::options::Limits;
use datastorage::repository::Repository;
use datastorage::server::{Authorization, Service, router};
use datastorage::sign::SigningKey;
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use tower::ServiceExt;
use uuid::Uuid;

use crate::database::Database;

/// A service on an empty database.
pub struct App {
    pub database: Database,
    pub service: Arc<Service>,
    router: Router,
    _keys: tempfile::TempDir,
}

/// An answer with its JSON, `null` if it has none.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

pub fn limits() -> Limits {
    Limits {
        max_body_bytes: 64 * 1024,
        max_batch_size: 20,
        request_timeout: Duration::from_secs(30),
        rate_limit: 0,
    }
}

impl App {
    pub async fn new() -> App {
        App::with(limits(), Authorization::Open).await
    }

    pub async fn with(limits: Limits, authorization: Authorization) -> App {
        let database = Database::new().await;
        let repository = Repository::open(&database.url).await.unwrap();
        let keys = tempfile::tempdir().unwrap();
        let signing = SigningKey::open(keys.path()).unwrap();
        let service = Arc::new(Service::new(repository, limits, authorization, signing));
        App { database, router: router(service.clone()), service, _keys: keys }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, None, &[]).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, Some(body), &[]).await
    }

    /// A request with a JSON body and further headers.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = match body {
            Some(body) => {
                let request = request.header(header::CONTENT_TYPE, "application/json");
                request.body(Body::from(body.to_string()))
            }
            None => request.body(Body::empty()),
        };
        self.answer(request.unwrap()).await
    }

    pub async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}

impl Answer {
    /// The body of an answer that has to have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The slug of the problem that the answer has to be, in the one shape all problems have.
    #[track_caller]
    pub fn problem(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json", "{}", self.body);
        for member in ["type", "title", "detail", "instance", "request_id"] {
            assert!(
                self.body[member].as_str().is_some_and(|text| !text.is_empty()),
                "{member}: {}",
                self.body
            );
        }
        assert_eq!(self.body["status"], status);
        let slug =
            self.body["type"].as_str().unwrap().strip_prefix("https://kubernaut.ai/problems/").unwrap();
        assert!(slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{slug}");
        slug.to_owned()
    }

    /// The fields that a validation problem names.
    #[track_caller]
    pub fn refused_fields(self) -> Vec<String> {
        let fields = self.body["field_errors"].as_object().cloned().unwrap_or_default();
        assert_eq!(self.problem(400), "validation-error");
        fields.keys().cloned().collect()
    }
}

/// An event as a client sends it now.
pub fn sent(correlation: &str, id: u128) -> Value {
    json!({
        "event_id": Uuid::from_u128(id),
        "version": "1.0",
        "event_type": "gateway.signal.received",
        "event_timestamp": Timestamp::now().to_string(),
        "event_category": "gateway",
        "event_action": "received",
        "event_outcome": "success",
        "correlation_id": correlation,
        "event_data": {
            "event_type": "gateway.signal.received", "signal_type": "prometheus-alert",
            "alert_name": "KubePodOOM", "namespace": "default", "fingerprint": "f",
        },
    })
}

/// The end of an execution as the controller sends it.
pub fn ended(correlation: &str, id: u128, workflow: &str, completed: bool) -> Value {
    let word = if completed { "completed" } else { "failed" };
    let event_type = format!("workflowexecution.workflow.{word}");
    let mut event = sent(correlation, id);
    event["event_type"] = json!(event_type);
    event["event_category"] = json!("workflowexecution");
    event["event_action"] = json!(word);
    event["event_outcome"] = json!(if completed { "success" } else { "failure" });
    event["event_data"] = json!({
        "event_type": event_type, "workflow_id": workflow, "workflow_version": "1", "target_resource": "a/b/c",
        "phase": if completed { "Completed" } else { "Failed" }, "container_image": "example/workflow:1",
        "execution_name": format!("we-{id}"),
    });
    event
}
