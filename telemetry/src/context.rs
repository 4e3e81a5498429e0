//! The trace a request belongs to, as W3C Trace Context writes it into a header.

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Header that hands a trace on.
pub const TRACEPARENT: &str = "traceparent";

/// The header's value, read or written as the propagator wants it.
#[derive(Default)]
struct Header(String);

impl Extractor for Header {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(&self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT]
    }
}

impl Injector for Header {
    fn set(&mut self, key: &str, value: String) {
        if key == TRACEPARENT {
            self.0 = value;
        }
    }
}

/// What a header says, if it says something valid.
pub(crate) fn parse(traceparent: &str) -> Option<SpanContext> {
    let context = TraceContextPropagator::new().extract(&Header(traceparent.to_owned()));
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

/// The trace that a header names: 32 hex digits.
pub fn trace_id(traceparent: &str) -> Option<String> {
    parse(traceparent).map(|span| span.trace_id().to_string())
}

/// Makes `span`, before it is first entered, a child of the one the header names; one that names none is ignored.
pub fn adopt(span: &Span, traceparent: &str) {
    if let Some(parent) = parse(traceparent) {
        // Fails where spans are not exported, and then nobody asks for its parent.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(parent));
    }
}

/// The header that makes what is asked for a child of `span`; none if spans are not exported.
pub fn traceparent(span: &Span) -> Option<String> {
    let mut header = Header::default();
    TraceContextPropagator::new().inject_context(&span.context(), &mut header);
    (!header.0.is_empty()).then_some(header.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_valid_header_names_a_trace() {
        let check = |header: &str, expected: Option<&str>| {
            assert_eq!(trace_id(header).as_deref(), expected, "{header}");
        };
        let trace = "3f1c9a5277aa4c1f9c556d1f7a1b2c3d";
        check(&format!("00-{trace}-00f067aa0ba902b7-01"), Some(trace));
        check(&format!("00-{trace}-00f067aa0ba902b7-00"), Some(trace));
        check(&format!("00-{trace}-0000000000000000-01"), None);
        check("00-00000000000000000000000000000000-00f067aa0ba902b7-01", None);
        check("nonsense", None);
        check("", None);
    }
}
