//! Names and descriptions of the metrics, and the series they start with.

use std::sync::Arc;

use api::workflow_execution::Phase;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::{Backlog, Metrics, Outcome, SERVICE, Service};
use crate::outbox::sender::CAPACITY;

/// Bounds of the duration of executions, in seconds.
const DURATIONS: [f64; 7] = [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0];
/// Bounds of what should be quick, in seconds.
const MOMENTS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];
/// How a reconciliation may end.
const OUTCOMES: [&str; 4] = ["success", "conflict", "error", "unsettled"];

/// Registers as it makes. The encoder appends `_total` to counters and the full stop to descriptions.
struct Maker(Registry);

impl Maker {
    fn with<M: Metric + Clone>(&mut self, metric: M, name: &str, help: &str) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }

    fn empty<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.with(M::default(), name, help)
    }

    fn moments(&mut self, name: &str, help: &str) -> Histogram {
        self.with(Histogram::new(MOMENTS), name, help)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let durations = Family::<Outcome, Histogram>::new_with_constructor(|| Histogram::new(DURATIONS));
        let writes = Family::<Service, Histogram>::new_with_constructor(|| Histogram::new(MOMENTS));
        let mut make = Maker(Registry::default());
        let mut metrics = Self {
            finished: make.empty("workflowexecution_reconciler", "Executions that ended"),
            duration: make.with(
                durations,
                "workflowexecution_reconciler_duration_seconds",
                "From the creation of the child to the end of the execution",
            ),
            creations: make.empty("workflowexecution_reconciler_execution_creations", "Children created"),
            pipeline_runs: make
                .empty("workflowexecution_reconciler_pipelinerun_creations", "PipelineRuns created"),
            start_latency: make.moments(
                "workflowexecution_reconciler_start_latency_seconds",
                "From the creation of an execution to that of its child, waits for the target included",
            ),
            reconciliations: make.empty("workflowexecution_reconciler_reconciliations", "Reconciliations"),
            reconcile_time: make
                .moments("workflowexecution_reconciler_reconcile_time_seconds", "Length of reconciliations"),
            queue_depth: make.empty("workflowexecution_workqueue_depth", "Executions that changed and wait"),
            queue_adds: make.empty("workflowexecution_workqueue_adds", "Executions that changed"),
            queue_wait: make.moments(
                "workflowexecution_workqueue_queue_duration_seconds",
                "From a change to its reconciliation",
            ),
            leading: make.empty("workflowexecution_leader", "1 where reconciliations are done"),
            audit_buffered: make.empty("audit_events_buffered", "Audit events taken into the outbox"),
            audit_deferred: make.empty(
                "audit_events_deferred",
                "Times an audit event found no room in the outbox and stayed in its execution's status",
            ),
            audit_written: make.empty("audit_events_written", "Audit events acknowledged by DataStorage"),
            audit_dropped: make.empty(
                "audit_events_dropped",
                "Audit events that DataStorage refused for what they say; offered again later",
            ),
            audit_failed: make.empty("audit_batches_failed", "Requests to DataStorage that failed"),
            audit_size: make.empty("audit_buffer_size", "Audit events in the outbox"),
            audit_utilization: make
                .empty("audit_buffer_utilization_ratio", "Part of the outbox that is full"),
            audit_write: make.with(writes, "audit_write_duration_seconds", "Requests to DataStorage"),
            audit_backlog: make.empty(
                "audit_backlog_events",
                "Audit events in the status of executions that are not acknowledged",
            ),
            audit_lag: make.empty("audit_lag_seconds", "Age of the oldest of these"),
            registry: Arc::default(),
        };
        let capacity: Family<Service, Gauge> =
            make.empty("audit_buffer_capacity", "Audit events the outbox has room for");
        metrics.initialise(&capacity);
        metrics.registry = Arc::new(make.0);
        metrics
    }
}

impl Metrics {
    /// A series that appears only with its first event cannot be told from a missing one.
    fn initialise(&self, capacity: &Family<Service, Gauge>) {
        for phase in [Phase::Completed, Phase::Failed] {
            drop(self.finished.get_or_create(&Outcome { outcome: phase.as_str() }));
            drop(self.duration.get_or_create(&Outcome { outcome: phase.as_str() }));
        }
        for outcome in OUTCOMES {
            drop(self.reconciliations.get_or_create(&Outcome { outcome }));
        }
        let counters = [
            &self.audit_buffered,
            &self.audit_deferred,
            &self.audit_written,
            &self.audit_dropped,
            &self.audit_failed,
        ];
        for counter in counters {
            drop(counter.get_or_create(&SERVICE));
        }
        capacity.get_or_create(&SERVICE).set(i64::try_from(CAPACITY).unwrap_or(i64::MAX));
        drop(self.audit_write.get_or_create(&SERVICE));
        self.audit_size_changed(0);
        self.backlog(Backlog::default());
    }
}
