//! How every request ends: with a request id, within its time, and, if it went wrong, with a problem and a log line.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use api::problem::{MEDIA_TYPE, Problem};
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument, debug, error, info, info_span, warn};
use uuid::Uuid;

use super::Service;
use crate::repository::DatabaseError;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");

/// A request that went wrong. [`finish`] turns it into the response's body.
#[derive(Clone, Debug)]
pub(super) struct Failure(Box<Problem>);

impl Failure {
    /// What came of it, as a metric's label.
    pub(super) fn outcome(&self) -> &'static str {
        match self.0.status {
            401 => "unauthenticated",
            403 => "forbidden",
            _ => "failed",
        }
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<DatabaseError> for Failure {
    /// The database may work again later, so the client should come back.
    fn from(error: DatabaseError) -> Self {
        let detail = format!("the database failed: {error}; {}", error.hint());
        Problem::new(503, "service-unavailable", "Service unavailable", detail).with("retry", true).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Wraps every request: id, span, deadline, access log, problems.
pub(super) async fn finish(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let exported = telemetry::answering(
        &method,
        route.as_ref().map_or(path.as_str(), MatchedPath::as_str),
        request.headers(),
    );
    let trace = telemetry::trace_of(&exported, request.headers());
    let span = info_span!("request", id = %id, %method, %path, trace_id = trace);

    let started = Instant::now();
    let limit = service.limits.request_timeout;
    let answered = tokio::time::timeout(limit, next.run(request))
        .instrument(span.clone())
        .instrument(exported.clone())
        .await;
    let mut response = answered.unwrap_or_else(|_| timed_out(limit).into_response());

    let _in_span = span.enter();
    let status = response.status();
    telemetry::answered(&exported, status, StatusCode::INTERNAL_SERVER_ERROR);
    let millis = started.elapsed().as_secs_f64() * 1000.0;
    if let Some(problem) = problem_of(&mut response) {
        let problem = problem.instance(path.as_str()).with("request_id", id.as_str());
        if status.is_server_error() {
            error!(status = status.as_u16(), millis, detail = problem.detail, "request failed");
        } else {
            warn!(status = status.as_u16(), millis, detail = problem.detail, "request refused");
        }
        response = with_problem(response, &problem);
    } else if is_probe(route.as_ref()) {
        debug!(status = status.as_u16(), millis, "request");
    } else {
        info!(status = status.as_u16(), millis, "request");
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// Probes and scrapes come every few seconds and say nothing.
fn is_probe(route: Option<&MatchedPath>) -> bool {
    route.is_some_and(|route| {
        matches!(route.as_str(), "/health" | "/health/ready" | "/health/live" | "/metrics")
    })
}

/// The client's own id if it is sane, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let sane = |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    let sent = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sane);
    sent.map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// The problem of a response that is one, also of those that a library answered with an error.
fn problem_of(response: &mut Response) -> Option<Problem> {
    if let Some(Failure(problem)) = response.extensions_mut().remove::<Failure>() {
        return Some(*problem);
    }
    let status = response.status();
    (status.is_client_error() || status.is_server_error()).then(|| {
        let reason = status.canonical_reason().unwrap_or("Error");
        let slug = reason.to_ascii_lowercase().replace(' ', "-");
        Problem::new(status.as_u16(), &slug, reason, "the request could not be handled")
    })
}

fn with_problem(response: Response, problem: &Problem) -> Response {
    let (mut parts, _) = response.into_parts();
    let body = serde_json::to_vec(problem).unwrap_or_default();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if problem.status == StatusCode::UNAUTHORIZED.as_u16() {
        parts.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if problem.extensions.contains_key("retry") {
        parts.headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
    }
    Response::from_parts(parts, Body::from(body))
}

fn timed_out(limit: std::time::Duration) -> Failure {
    let detail = format!("the request was not done within {} s", limit.as_secs_f64());
    Problem::new(503, "service-unavailable", "Service unavailable", detail).with("retry", true).into()
}

pub(super) async fn not_found(uri: Uri) -> Failure {
    let detail = format!("there is no `{}`; /openapi.json lists what there is", uri.path());
    Problem::new(404, "not-found", "Not found", detail).into()
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Failure {
    let detail = format!("`{}` does not answer {method}; the header Allow lists what it answers", uri.path());
    Problem::new(405, "method-not-allowed", "Method not allowed", detail).into()
}

pub(super) fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let cause = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("unknown cause");
    error!(cause, "a request handler panicked");
    let detail = "the service made a mistake; its log says more under this request id";
    Failure::from(Problem::new(500, "internal-error", "Internal error", detail)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_request_id_is_kept_and_any_other_replaced() {
        let id = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(value));
            request_id(&headers)
        };
        assert_eq!(id("abc-1"), "abc-1");
        assert_ne!(id("a b"), "a b");
        assert_ne!(id(""), "");
    }
}
