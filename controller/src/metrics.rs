//! Metrics of the controller, and their text for Prometheus.

mod backlog;
mod register;

pub use backlog::Backlog;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use api::workflow_execution::{ExecutionEngine, Phase};
use jiff::SignedDuration;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::outbox::sender::CAPACITY;
use crate::reconcile::Error;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Service {
    service: &'static str,
}

const SERVICE: Service = Service { service: "workflowexecution" };

type Fraction = Gauge<f64, AtomicU64>;

/// Handles to every metric; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    finished: Family<Outcome, Counter>,
    duration: Family<Outcome, Histogram>,
    creations: Counter,
    pipeline_runs: Counter,
    start_latency: Histogram,
    reconciliations: Family<Outcome, Counter>,
    reconcile_time: Histogram,
    queue_depth: Gauge,
    queue_adds: Counter,
    queue_wait: Histogram,
    leading: Gauge,
    audit_buffered: Family<Service, Counter>,
    audit_deferred: Family<Service, Counter>,
    audit_written: Family<Service, Counter>,
    audit_dropped: Family<Service, Counter>,
    audit_failed: Family<Service, Counter>,
    audit_size: Family<Service, Gauge>,
    audit_utilization: Family<Service, Fraction>,
    audit_write: Family<Service, Histogram>,
    audit_backlog: Family<Service, Gauge>,
    audit_lag: Family<Service, Fraction>,
}

impl Metrics {
    /// An execution ended in `phase` after `duration`.
    pub fn finished(&self, phase: Phase, duration: SignedDuration) {
        let outcome = Outcome { outcome: phase.as_str() };
        self.finished.get_or_create(&outcome).inc();
        self.duration.get_or_create(&outcome).observe(duration.as_secs_f64());
    }

    /// A child was created, `latency` after its execution.
    pub fn created(&self, engine: ExecutionEngine, latency: SignedDuration) {
        self.creations.inc();
        self.start_latency.observe(latency.as_secs_f64().max(0.0));
        if engine == ExecutionEngine::Tekton {
            self.pipeline_runs.inc();
        }
    }

    /// A reconciliation ended.
    pub fn reconciled(&self, error: Option<&Error>, took: Duration) {
        let outcome = match error {
            None => "success",
            Some(Error::Changed { .. }) => "conflict",
            Some(Error::Api { .. }) => "error",
            Some(Error::Unsettled { .. }) => "unsettled",
        };
        self.reconciliations.get_or_create(&Outcome { outcome }).inc();
        self.reconcile_time.observe(took.as_secs_f64());
    }

    /// An execution is to be reconciled; so many are, now.
    pub fn requested(&self, depth: usize) {
        self.queue_adds.inc();
        self.queue_depth.set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    /// One of them waited that long; so many are left.
    pub fn taken(&self, depth: usize, waited: Duration) {
        self.queue_depth.set(i64::try_from(depth).unwrap_or(i64::MAX));
        self.queue_wait.observe(waited.as_secs_f64());
    }

    /// Whether this replica reconciles.
    pub fn leading(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    /// Events entered the outbox.
    pub fn audit_buffered(&self, events: u64) {
        self.audit_buffered.get_or_create(&SERVICE).inc_by(events);
        self.audit_size_changed(i64::try_from(events).unwrap_or(i64::MAX));
    }

    /// An event found no room.
    pub fn audit_deferred(&self) {
        self.audit_deferred.get_or_create(&SERVICE).inc();
    }

    /// Events left the outbox.
    pub fn audit_settled(&self, events: i64) {
        self.audit_size_changed(-events);
    }

    /// A request stored events.
    pub fn audit_written(&self, events: usize, took: Duration) {
        self.audit_written.get_or_create(&SERVICE).inc_by(events as u64);
        self.audit_write.get_or_create(&SERVICE).observe(took.as_secs_f64());
    }

    /// DataStorage refuses an event.
    pub fn audit_dropped(&self) {
        self.audit_dropped.get_or_create(&SERVICE).inc();
    }

    /// A request stored nothing.
    pub fn audit_batch_failed(&self) {
        self.audit_failed.get_or_create(&SERVICE).inc();
    }

    fn audit_size_changed(&self, by: i64) {
        let size = self.audit_size.get_or_create(&SERVICE);
        let now = size.inc_by(by) + by;
        #[expect(clippy::cast_precision_loss, reason = "both are far below 2^52")]
        let ratio = now as f64 / CAPACITY as f64;
        self.audit_utilization.get_or_create(&SERVICE).set(ratio);
    }

    fn backlog(&self, backlog: Backlog) {
        self.audit_backlog.get_or_create(&SERVICE).set(backlog.events);
        self.audit_lag.get_or_create(&SERVICE).set(backlog.lag.as_secs_f64());
    }

    /// All metrics in the OpenMetrics text format, with this backlog.
    pub fn text(&self, backlog: Backlog) -> String {
        self.backlog(backlog);
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
        metrics.created(ExecutionEngine::Job, SignedDuration::from_millis(3));
        metrics.created(ExecutionEngine::Tekton, SignedDuration::from_millis(3));
        metrics.audit_buffered(500);
        let text = metrics.text(Backlog { events: 3, lag: SignedDuration::from_secs(90) });
        for line in [
            "workflowexecution_reconciler_total{outcome=\"Completed\"} 1",
            "workflowexecution_reconciler_total{outcome=\"Failed\"} 0",
            "workflowexecution_reconciler_duration_seconds_bucket{le=\"10.0\",outcome=\"Completed\"} 1",
            "workflowexecution_reconciler_execution_creations_total 2",
            "workflowexecution_reconciler_pipelinerun_creations_total 1",
            "workflowexecution_reconciler_start_latency_seconds_count 2",
            "workflowexecution_reconciler_reconciliations_total{outcome=\"conflict\"} 0",
            "workflowexecution_workqueue_depth 0",
            "workflowexecution_leader 0",
            "audit_events_buffered_total{service=\"workflowexecution\"} 500",
            "audit_events_dropped_total{service=\"workflowexecution\"} 0",
            "audit_events_written_total{service=\"workflowexecution\"} 0",
            "audit_batches_failed_total{service=\"workflowexecution\"} 0",
            "audit_buffer_size{service=\"workflowexecution\"} 500",
            "audit_buffer_capacity{service=\"workflowexecution\"} 2000",
            "audit_buffer_utilization_ratio{service=\"workflowexecution\"} 0.25",
            "audit_write_duration_seconds_count{service=\"workflowexecution\"} 0",
            "audit_backlog_events{service=\"workflowexecution\"} 3",
            "audit_lag_seconds{service=\"workflowexecution\"} 90.0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
