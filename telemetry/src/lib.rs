//! What a service tells about itself while it runs: logs, one JSON object per line on stdout, always; and spans by OpenTelemetry's
//! protocol (OTLP over HTTP) where the environment names a collector. Without one nothing of it runs.
//!
//! Spans for a collector have a target of their own, [`SPANS`]: logs do not show them, and without a collector nobody makes them.

mod context;
mod export;
mod past;
mod request;

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

pub use self::context::{TRACEPARENT, adopt, trace_id, traceparent};
pub use self::past::{Past, tell};
pub use self::request::{answered, answering, asking, trace_of};

/// The target of spans that are meant for a collector: `info_span!(target: telemetry::SPANS, …)`.
pub const SPANS: &str = "otel";

/// How long spans that wait may take to be sent when the process ends.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// What runs from [`start`] on.
#[derive(Debug)]
#[must_use = "spans that wait when the process ends are sent by `finish`"]
pub struct Telemetry {
    spans: Option<SdkTracerProvider>,
}

/// Logs from now on, as `directives` say, and sends the spans of `service` if the environment names a collector. The error says what
/// is wrong with the directives; what is wrong with the collector is only logged, since no service may fail for it.
///
/// To be called within the runtime that will send the spans, when the process has chosen how it does TLS.
pub fn start(service: &'static str, directives: &str) -> Result<Telemetry, String> {
    let filter = EnvFilter::try_new(directives).map_err(|error| format!("`{directives}`: {error}"))?;
    let (spans, complaint) = match export::provider(service) {
        Ok(spans) => (spans, None),
        Err(complaint) => (None, Some(complaint)),
    };
    let exported = spans.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(service))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(|metadata| metadata.target() == SPANS))
    });
    let logged = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_filter(filter.and(filter_fn(|metadata| metadata.target() != SPANS)));
    tracing_subscriber::registry()
        .with(exported)
        .with(logged)
        .try_init()
        .map_err(|error| error.to_string())?;
    if let Some(provider) = &spans {
        opentelemetry::global::set_tracer_provider(provider.clone());
        tracing::info!(collector = export::endpoint(), "spans are exported");
    }
    if let Some(complaint) = complaint {
        tracing::warn!(complaint, "spans are not exported");
    }
    Ok(Telemetry { spans })
}

impl Telemetry {
    /// Sends what waits, for at most two seconds. What is not taken by then is lost: a collector that is away holds nobody up.
    pub async fn finish(self) {
        let Some(spans) = self.spans else { return };
        // It blocks until the exporter's thread, which needs this runtime to send, has answered or the time is up.
        let done = tokio::task::spawn_blocking(move || spans.shutdown_with_timeout(FLUSH_WITHIN));
        if let Ok(Err(error)) = done.await {
            tracing::warn!(%error, "spans were left unsent");
        }
    }
}
