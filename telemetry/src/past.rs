//! Spans that are told of when they are over. Their ids were known before, so that others could already be their children.

use std::cell::Cell;
use std::time::SystemTime;

use opentelemetry::trace::{Span, SpanBuilder, SpanContext, SpanId, Status, TraceId, Tracer};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

use crate::context::parse;

thread_local! {
    /// Ids of the span that this thread is about to tell of.
    static PLANNED: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Random ids, but for spans whose ids were known before.
#[derive(Debug, Default)]
pub(crate) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        PLANNED.get().map_or_else(|| self.0.new_trace_id(), |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        PLANNED.get().map_or_else(|| self.0.new_span_id(), |(_, span)| span)
    }
}

/// Something that is over.
#[derive(Debug)]
pub struct Past {
    /// What it was.
    pub name: String,
    /// Its ids, as the `traceparent` that its children were given.
    pub traceparent: String,
    /// From when.
    pub began: SystemTime,
    /// Until when.
    pub ended: SystemTime,
    /// What else is known of it.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
}

/// Tells the collector, if there is one, of something that is over: the first span of its trace.
pub fn tell(past: Past) {
    let Past { name, traceparent, began, ended, attributes, failure } = past;
    let Some(ids) = parse(&traceparent) else { return };
    let mut builder = SpanBuilder::from_name(name).with_start_time(began);
    builder.attributes = Some(attributes.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect());
    let mut span = with_ids(&ids, || global::tracer("past").build_with_context(builder, &Context::new()));
    if let Some(failure) = failure {
        span.set_status(Status::error(failure));
    }
    span.end_with_timestamp(ended);
}

fn with_ids<T>(ids: &SpanContext, make: impl FnOnce() -> T) -> T {
    PLANNED.set(Some((ids.trace_id(), ids.span_id())));
    let made = make();
    PLANNED.set(None);
    made
}
