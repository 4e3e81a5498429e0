//! From an AdmissionReview to its answer: what the rules say about the object, as a JSON patch or a refusal, and the audit event
//! of what will be stored.

pub mod approval;
pub mod notification;
pub mod workflow_execution;

use api::audit::AuditEventRequest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// An AdmissionReview as the API server sends it (admission.k8s.io/v1), as far as it matters here.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// `admission.k8s.io/v1`.
    pub api_version: String,
    /// What is asked.
    pub request: Request,
}

/// What is asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Goes back with the answer.
    pub uid: String,
    /// Who writes.
    #[serde(default)]
    pub user_info: UserInfo,
    /// What would be stored.
    #[serde(default)]
    pub object: Value,
    /// What is stored.
    #[serde(default)]
    pub old_object: Value,
    /// Nothing will be stored.
    #[serde(default)]
    pub dry_run: Option<bool>,
}

/// Who writes.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct UserInfo {
    /// Name as authenticated by the API server.
    #[serde(default)]
    pub username: String,
    /// Uid, if the authenticator knows one.
    #[serde(default)]
    pub uid: String,
    /// Groups as authenticated by the API server.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// The answer, and what to report once it is given.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Goes back to the API server.
    pub response: Response,
    /// For the metric and the log.
    pub outcome: Outcome,
    /// The event that reports what will be stored.
    pub event: Option<Box<AuditEventRequest>>,
}

/// How a review ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Not touched.
    Unconcerned,
    /// Passed, and reported.
    Recorded,
    /// Stamped with the caller's identity.
    Stamped,
    /// Edited stamps were put back.
    Restored,
    /// Refused.
    Denied,
    /// Refused because it cannot be read.
    Malformed,
}

/// `response` of the AdmissionReview that goes back.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// The request's.
    pub uid: String,
    /// Whether the write goes on.
    pub allowed: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
    /// JSON patch (RFC 6902), base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// `JSONPatch`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_type: Option<&'static str>,
}

impl Response {
    /// The whole AdmissionReview.
    pub fn into_review(self) -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": self})
    }
}

fn allowed(
    uid: String,
    outcome: Outcome,
    operations: Vec<Value>,
    event: Option<AuditEventRequest>,
) -> Answer {
    let patch = (!operations.is_empty()).then(|| STANDARD.encode(Value::Array(operations).to_string()));
    let patch_type = patch.is_some().then_some("JSONPatch");
    let response = Response { uid, allowed: true, status: None, patch, patch_type };
    Answer { response, outcome, event: event.map(Box::new) }
}

fn refused(uid: String, outcome: Outcome, code: u16, reason: &str, message: String) -> Answer {
    let status = json!({"status": "Failure", "code": code, "reason": reason, "message": message});
    let response = Response { uid, allowed: false, status: Some(status), patch: None, patch_type: None };
    Answer { response, outcome, event: None }
}

/// Refuses what cannot be read.
fn malformed(uid: String, message: String) -> Answer {
    refused(uid, Outcome::Malformed, 400, "BadRequest", message)
}

/// The operation that gives the member at `path` a value, or takes it away.
fn set(path: &str, value: Option<Value>, present: bool) -> Option<Value> {
    match (value, present) {
        (Some(value), _) => Some(json!({"op": "add", "path": path, "value": value})),
        (None, true) => Some(json!({"op": "remove", "path": path})),
        (None, false) => None,
    }
}
