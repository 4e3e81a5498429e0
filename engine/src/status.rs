//! `Status`, the `meta/v1` answer of every request that ends without an object: errors, and deletions that left nothing.
//!
//! Texts are those of the Kubernetes API machinery (`apimachinery/pkg/api/errors`): clients and people match on them.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Value, json};

/// What a client is told instead of an object: HTTP code, machine-readable reason, a sentence, and details.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    code: u16,
    reason: Cow<'static, str>,
    message: String,
    // On the heap, so that a `Result` with a status stays small.
    details: Box<Map<String, Value>>,
    /// `metadata.continue`: how to go on with a list that expired; empty otherwise.
    continue_token: String,
}

/// One field (or rule) that made a request invalid or conflicting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldValueRequired`, `FieldManagerConflict`, …
    pub reason: String,
    /// What is wrong, without the field's name.
    pub message: String,
    /// Path of the field as the client wrote it, e.g. `spec.template.spec.containers[0].name`; empty when no field is meant.
    pub field: String,
}

impl Cause {
    /// A cause of the given reason at `field`.
    pub fn new(reason: impl Into<String>, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { reason: reason.into(), message: message.into(), field: field.into() }
    }

    fn to_json(&self) -> Value {
        let mut cause = Map::new();
        cause.insert("reason".into(), json!(self.reason));
        cause.insert("message".into(), json!(self.message));
        if !self.field.is_empty() {
            cause.insert("field".into(), json!(self.field));
        }
        Value::Object(cause)
    }
}

/// `resource.group`, or the resource alone in the core group: how messages name a resource or kind.
pub fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

impl Status {
    /// An error of any code and reason, for answers relayed from elsewhere (webhooks); the constructors below cover the rest.
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.into(),
            details: Box::default(),
            continue_token: String::new(),
        }
    }

    /// With these details, of an answer relayed from elsewhere.
    #[must_use]
    pub fn with_details(mut self, details: Map<String, Value>) -> Self {
        self.details.extend(details);
        self
    }

    fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        if !name.is_empty() {
            self.details.insert("name".into(), json!(name));
        }
        if !group.is_empty() {
            self.details.insert("group".into(), json!(group));
        }
        if !kind.is_empty() {
            self.details.insert("kind".into(), json!(kind));
        }
        self
    }

    /// Adds `details.causes`.
    #[must_use]
    pub fn with_causes(mut self, causes: &[Cause]) -> Self {
        self.details.insert("causes".into(), causes.iter().map(Cause::to_json).collect());
        self
    }

    /// Adds `details.retryAfterSeconds`; the server repeats it in the `Retry-After` header.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.details.insert("retryAfterSeconds".into(), json!(seconds));
        self
    }

    /// 404 for an object that is not there; `resource` is the plural.
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let what = qualified(group, resource);
        Self::new(404, "NotFound", format!("{what} {name:?} not found")).about(group, resource, name)
    }

    /// 404 for a path that names no resource this server has.
    pub fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// 409 for a create whose name is taken.
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        let what = qualified(group, resource);
        Self::new(409, "AlreadyExists", format!("{what} {name:?} already exists"))
            .about(group, resource, name)
    }

    /// 409 for a write that lost against another; `why` completes "Operation cannot be fulfilled on …:".
    pub fn conflict(group: &str, resource: &str, name: &str, why: impl fmt::Display) -> Self {
        let what = qualified(group, resource);
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {what} {name:?}: {why}"))
            .about(group, resource, name)
    }

    /// 409 for a write based on an old resourceVersion.
    pub fn stale(group: &str, resource: &str, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(group, resource, name, why)
    }

    /// 409 for a server-side apply that would take fields from other managers.
    pub fn apply_conflict(message: impl Into<String>, causes: &[Cause]) -> Self {
        Self::new(409, "Conflict", message).with_causes(causes)
    }

    /// 422 for an object whose fields break rules; `kind` is the Kind, not the plural.
    pub fn invalid(group: &str, kind: &str, name: &str, causes: &[Cause]) -> Self {
        let texts: Vec<String> = causes
            .iter()
            .map(|cause| match cause.field.as_str() {
                "" => cause.message.clone(),
                field => format!("{field}: {}", cause.message),
            })
            .collect();
        let all = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let what = qualified(group, kind);
        Self::new(422, "Invalid", format!("{what} {name:?} is invalid: {all}"))
            .about(group, kind, name)
            .with_causes(causes)
    }

    /// 403; `why` completes `<resource> "<name>" is forbidden:`.
    pub fn forbidden(group: &str, resource: &str, name: &str, why: impl fmt::Display) -> Self {
        let what = qualified(group, resource);
        let message = match (what.as_str(), name) {
            ("", _) => format!("forbidden: {why}"),
            (what, "") => format!("{what} is forbidden: {why}"),
            (what, name) => format!("{what} {name:?} is forbidden: {why}"),
        };
        Self::new(403, "Forbidden", message).about(group, resource, name)
    }

    /// 401: credentials were given and are not valid.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 400 for a request that cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 410 for a revision or continue token older than the watch history; the client must list again.
    pub fn gone_expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    /// 500 for what is the server's own fault, or that of a webhook it had to call.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}"))
    }

    /// 504 for a request that could not be completed within its time.
    pub fn timeout(message: impl fmt::Display) -> Self {
        Self::new(504, "Timeout", format!("Timeout: {message}"))
    }

    /// 503 for a backend (pod, endpoint) that does not answer.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    /// 405 for a verb the resource does not have.
    pub fn method_not_allowed(group: &str, resource: &str, verb: &str) -> Self {
        let what = qualified(group, resource);
        Self::new(405, "MethodNotAllowed", format!("{verb} is not supported on resources of kind {what:?}"))
            .about(group, resource, "")
    }

    /// 406 for an `Accept` header that names nothing the server writes.
    pub fn not_acceptable(accepted: &str) -> Self {
        let message = format!("only the following media types are accepted: {accepted}");
        Self::new(406, "NotAcceptable", message)
    }

    /// 415 for a body of a type the server does not read; `accepted` are the types it reads there.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 413 for a body above the limit.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// 429; `seconds` is when to try again.
    pub fn too_many_requests(message: impl Into<String>, seconds: u32) -> Self {
        Self::new(429, "TooManyRequests", message).with_retry_after(seconds)
    }

    /// Adds `metadata.continue`.
    #[must_use]
    pub fn with_continue(mut self, token: String) -> Self {
        self.continue_token = token;
        self
    }

    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The machine-readable reason, e.g. `NotFound`.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Seconds after which a retry makes sense, when known.
    pub fn retry_after(&self) -> Option<u64> {
        self.details.get("retryAfterSeconds").and_then(Value::as_u64)
    }

    /// The object as it goes over the wire.
    pub fn to_json(&self) -> Value {
        let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"});
        if let Some(fields) = status.as_object_mut() {
            if !self.continue_token.is_empty() {
                fields.insert("metadata".into(), json!({"continue": self.continue_token}));
            }
            fields.insert("message".into(), json!(self.message));
            fields.insert("reason".into(), json!(self.reason));
            if !self.details.is_empty() {
                fields.insert("details".into(), Value::Object((*self.details).clone()));
            }
            fields.insert("code".into(), json!(self.code));
        }
        status
    }

    /// The `Success` answer to a deletion after which nothing is left.
    pub fn deleted(group: &str, resource: &str, name: &str, uid: &str) -> Value {
        let mut details = Map::new();
        details.insert("name".into(), json!(name));
        if !group.is_empty() {
            details.insert("group".into(), json!(group));
        }
        details.insert("kind".into(), json!(resource));
        details.insert("uid".into(), json!(uid));
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_those_clients_match_on() {
        assert_eq!(
            Status::not_found("apps", "deployments", "web").message(),
            r#"deployments.apps "web" not found"#
        );
        let causes =
            [Cause::new("FieldValueRequired", "spec.a", "Required value"), Cause::new("X", "spec.b", "bad")];
        let invalid = Status::invalid("example.com", "Widget", "w", &causes);
        assert_eq!(
            invalid.message(),
            r#"Widget.example.com "w" is invalid: [spec.a: Required value, spec.b: bad]"#
        );
        assert_eq!(invalid.to_json()["details"]["causes"][1]["field"], "spec.b");
        assert_eq!(invalid.code(), 422);
    }

    #[test]
    fn retry_after_is_in_the_details() {
        let status = Status::too_many_requests("slow down", 3);
        assert_eq!(status.retry_after(), Some(3));
        assert_eq!(status.to_json()["details"]["retryAfterSeconds"], 3);
    }
}
