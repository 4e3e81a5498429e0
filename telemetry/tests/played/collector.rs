//! An OpenTelemetry collector, as far as the services see it. It is part of the tests of each of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use prost::Message;

const DEADLINE: Duration = Duration::from_secs(60);

/// A span that was exported.
#[derive(Clone, Debug)]
pub struct Span {
    pub service: String,
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty for the first of a trace.
    pub parent: String,
    pub failed: bool,
    pub attributes: BTreeMap<String, String>,
}

/// Listens until the test ends.
pub struct Collector {
    /// What a service's `OTEL_EXPORTER_OTLP_ENDPOINT` is to be.
    pub url: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    pub async fn start() -> Self {
        let spans: Arc<Mutex<Vec<Span>>> = Arc::default();
        let kept = spans.clone();
        let take = async move |body: Bytes| kept.lock().unwrap().extend(read(&body));
        let router = Router::new().route("/v1/traces", post(take));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, spans }
    }

    /// Waits for a span that is as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Span) -> bool) -> Span {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let spans = self.spans.lock().unwrap().clone();
            if let Some(span) = spans.iter().find(|span| wanted(span)) {
                return span.clone();
            }
            assert!(Instant::now() < deadline, "{what} is not among {spans:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn read(body: &Bytes) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body.as_ref()).unwrap();
    let mut spans = Vec::new();
    for resource in request.resource_spans {
        let about = attributes(&resource.resource.unwrap().attributes);
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            spans.push(Span {
                service: about["service.name"].clone(),
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                // 2 is `STATUS_CODE_ERROR`.
                failed: span.status.is_some_and(|status| status.code == 2),
                attributes: attributes(&span.attributes),
            });
        }
    }
    spans
}

fn attributes(given: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &any_value::Value| match value {
        any_value::Value::StringValue(text) => text.clone(),
        any_value::Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let value = |pair: &KeyValue| text(pair.value.as_ref().unwrap().value.as_ref().unwrap());
    given.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
