//! Metrics of the controller, and their text for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use api::workflow_execution::Phase;
use jiff::SignedDuration;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Bounds of the duration histogram, in seconds.
const DURATIONS: [f64; 7] = [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0];
/// Bounds of the write histogram, in seconds.
const WRITES: [f64; 8] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Service {
    service: &'static str,
}

const SERVICE: Service = Service { service: "workflowexecution" };

/// Handles to every metric; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    finished: Family<Outcome, Counter>,
    duration: Family<Outcome, Histogram>,
    creations: Counter,
    audit_buffered: Family<Service, Counter>,
    audit_written: Family<Service, Counter>,
    audit_failed: Family<Service, Counter>,
    audit_size: Family<Service, Gauge>,
    audit_write: Family<Service, Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let finished = Family::<Outcome, Counter>::default();
        let duration = Family::<Outcome, Histogram>::new_with_constructor(|| Histogram::new(DURATIONS));
        let creations = Counter::default();
        let audit_buffered = Family::<Service, Counter>::default();
        let audit_written = Family::<Service, Counter>::default();
        let audit_failed = Family::<Service, Counter>::default();
        let audit_size = Family::<Service, Gauge>::default();
        let audit_write = Family::<Service, Histogram>::new_with_constructor(|| Histogram::new(WRITES));
        // The encoder appends `_total` to counters and the full stop to descriptions.
        let mut registry = Registry::default();
        registry.register("workflowexecution_reconciler", "Executions that ended", finished.clone());
        registry.register(
            "workflowexecution_reconciler_duration_seconds",
            "From the creation of the child to the end of the execution",
            duration.clone(),
        );
        registry.register(
            "workflowexecution_reconciler_execution_creations",
            "Children created",
            creations.clone(),
        );
        registry.register(
            "audit_events_buffered",
            "Audit events taken into the outbox",
            audit_buffered.clone(),
        );
        registry.register(
            "audit_events_written",
            "Audit events acknowledged by DataStorage",
            audit_written.clone(),
        );
        registry.register(
            "audit_batches_failed",
            "Requests to DataStorage that failed",
            audit_failed.clone(),
        );
        registry.register("audit_buffer_size", "Audit events that wait for DataStorage", audit_size.clone());
        registry.register("audit_write_duration_seconds", "Requests to DataStorage", audit_write.clone());
        // A series that appears only with its first event cannot be told from a missing one.
        for phase in [Phase::Completed, Phase::Failed] {
            drop(finished.get_or_create(&Outcome { outcome: phase.as_str() }));
            drop(duration.get_or_create(&Outcome { outcome: phase.as_str() }));
        }
        for counter in [&audit_buffered, &audit_written, &audit_failed] {
            drop(counter.get_or_create(&SERVICE));
        }
        drop(audit_size.get_or_create(&SERVICE));
        Self {
            registry: Arc::new(registry),
            finished,
            duration,
            creations,
            audit_buffered,
            audit_written,
            audit_failed,
            audit_size,
            audit_write,
        }
    }
}

impl Metrics {
    /// An execution ended in `phase` after `duration`.
    pub fn finished(&self, phase: Phase, duration: SignedDuration) {
        let outcome = Outcome { outcome: phase.as_str() };
        self.finished.get_or_create(&outcome).inc();
        self.duration.get_or_create(&outcome).observe(duration.as_secs_f64());
    }

    /// A child was created.
    pub fn created(&self) {
        self.creations.inc();
    }

    /// Events entered the outbox.
    pub fn audit_buffered(&self, events: u64) {
        self.audit_buffered.get_or_create(&SERVICE).inc_by(events);
        self.audit_size.get_or_create(&SERVICE).inc_by(i64::try_from(events).unwrap_or(i64::MAX));
    }

    /// Events left the outbox.
    pub fn audit_settled(&self, events: i64) {
        self.audit_size.get_or_create(&SERVICE).dec_by(events);
    }

    /// A request stored events.
    pub fn audit_written(&self, events: usize, took: Duration) {
        self.audit_written.get_or_create(&SERVICE).inc_by(events as u64);
        self.audit_write.get_or_create(&SERVICE).observe(took.as_secs_f64());
    }

    /// A request stored nothing.
    pub fn audit_batch_failed(&self) {
        self.audit_failed.get_or_create(&SERVICE).inc();
    }

    /// All metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        match text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_have_the_documented_names_from_the_start() {
        let metrics = Metrics::default();
        metrics.finished(Phase::Completed, SignedDuration::from_secs(7));
        metrics.created();
        let text = metrics.text();
        for line in [
            "workflowexecution_reconciler_total{outcome=\"Completed\"} 1",
            "workflowexecution_reconciler_total{outcome=\"Failed\"} 0",
            "workflowexecution_reconciler_duration_seconds_bucket{le=\"10.0\",outcome=\"Completed\"} 1",
            "workflowexecution_reconciler_execution_creations_total 1",
            "audit_events_written_total{service=\"workflowexecution\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
