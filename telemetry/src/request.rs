//! Spans of requests: one where it is answered, one where it is made.

use http::{HeaderMap, Method, StatusCode};
use tracing::{Span, field};

use crate::SPANS;
use crate::context::{TRACEPARENT, adopt, trace_id, traceparent};

/// A span for a request that this service answers, in the trace that the request's headers name.
pub fn answering(method: &Method, route: &str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        target: SPANS,
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = field::Empty,
        http.request.method = %method,
        http.route = route,
        http.response.status_code = field::Empty,
    );
    within(span, header(headers))
}

/// A span for a request that this service makes, in the trace that `parent` names; its own `traceparent` goes into the request.
pub fn asking(method: &Method, url: &str, parent: Option<&str>) -> Span {
    let span = tracing::info_span!(
        target: SPANS,
        "request",
        otel.name = format!("{method} {url}"),
        otel.kind = "client",
        otel.status_code = field::Empty,
        http.request.method = %method,
        url.full = url,
        http.response.status_code = field::Empty,
    );
    within(span, parent)
}

/// The span as a part of the trace that `parent` names. Most services have no collector: there nothing is read.
fn within(span: Span, parent: Option<&str>) -> Span {
    if let (false, Some(parent)) = (span.is_disabled(), parent) {
        adopt(&span, parent);
    }
    span
}

/// Notes what came of a request; `fails` from which status on it failed: 400 where it was made, 500 where it was answered.
pub fn answered(span: &Span, status: StatusCode, fails: StatusCode) {
    span.record("http.response.status_code", status.as_u16());
    if status >= fails {
        span.record("otel.status_code", "ERROR");
    }
}

/// The trace a request belongs to, for its log lines: that of its exported span, or else the one its headers name.
pub fn trace_of(span: &Span, headers: &HeaderMap) -> Option<String> {
    let exported = traceparent(span);
    trace_id(exported.as_deref().or(header(headers))?)
}

fn header(headers: &HeaderMap) -> Option<&str> {
    headers.get(TRACEPARENT)?.to_str().ok()
}
