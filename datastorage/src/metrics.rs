//! Prometheus metrics, by the names of the January contract.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Everything that is measured.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    write: Family<WriteLabels, Counter>,
    write_duration: Family<TableLabels, Histogram>,
    audit_traces: Family<TraceLabels, Counter>,
    audit_lag: Family<ServiceLabels, Histogram>,
    validation_failures: Family<FailureLabels, Counter>,
    query: Family<QueryLabels, Counter>,
    query_duration: Family<OperationLabels, Histogram>,
    legal_hold_successes: Family<OperationLabels, Counter>,
    legal_hold_failures: Family<ReasonLabels, Counter>,
    authorization: Family<OutcomeLabels, Counter>,
    rate_limited: Counter,
    retention_removed: Counter,
    upkeep_failures: Counter,
}

/// Where something is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "written as the label's value")]
pub enum Table {
    /// Events.
    audit_events,
    /// Deliveries of notifications.
    notification_audit,
    /// The catalog.
    workflow_catalog,
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "written as the label's value")]
pub enum Status {
    /// It was done.
    success,
    /// It had been done before.
    duplicate,
    /// It was not done.
    failure,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    table: Table,
    status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TableLabels {
    table: Table,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TraceLabels {
    service: &'static str,
    status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    field: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueryLabels {
    operation: &'static str,
    status: Status,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

fn durations() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0])
}

fn lags() -> Histogram {
    Histogram::new([0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86_400.0])
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("datastorage");
        let write = Family::default();
        let write_duration = Family::new_with_constructor(durations as fn() -> Histogram);
        let audit_traces = Family::default();
        let audit_lag = Family::new_with_constructor(lags as fn() -> Histogram);
        let validation_failures = Family::default();
        let query = Family::default();
        let query_duration = Family::new_with_constructor(durations as fn() -> Histogram);
        registry.register("write", "Write requests by outcome", write.clone());
        registry.register(
            "write_duration_seconds",
            "Time to store a request's events",
            write_duration.clone(),
        );
        registry.register("audit_traces", "Events by sending service and outcome", audit_traces.clone());
        registry.register("audit_lag_seconds", "From an event to its storage", audit_lag.clone());
        registry.register("validation_failures", "Fields that were refused", validation_failures.clone());
        registry.register("query", "Queries by outcome", query.clone());
        registry.register("query_duration_seconds", "Time to answer a query", query_duration.clone());
        let legal_hold_successes = Family::default();
        let legal_hold_failures = Family::default();
        let authorization = Family::default();
        let (rate_limited, retention_removed, upkeep_failures) =
            (Counter::default(), Counter::default(), Counter::default());
        registry.register("legal_hold_successes", "Holds placed and released", legal_hold_successes.clone());
        registry.register("legal_hold_failures", "Holds refused, by reason", legal_hold_failures.clone());
        registry.register("authorization", "What became of callers' tokens", authorization.clone());
        registry.register("rate_limited", "Requests of clients that ask too often", rate_limited.clone());
        registry.register(
            "retention_removed_events",
            "Events removed after their time",
            retention_removed.clone(),
        );
        registry.register(
            "upkeep_failures",
            "Failed attempts to remove what is over or to prepare what comes",
            upkeep_failures.clone(),
        );
        Self {
            registry,
            write,
            write_duration,
            audit_traces,
            audit_lag,
            validation_failures,
            query,
            query_duration,
            legal_hold_successes,
            legal_hold_failures,
            authorization,
            rate_limited,
            retention_removed,
            upkeep_failures,
        }
    }
}

impl Metrics {
    /// A write request to `table` ended after `elapsed`.
    pub fn wrote(&self, table: Table, status: Status, elapsed: Duration) {
        self.write.get_or_create(&WriteLabels { table, status }).inc();
        self.write_duration.get_or_create(&TableLabels { table }).observe(elapsed.as_secs_f64());
    }

    /// An event of `service`, `lag` old, ended so.
    pub fn event(&self, service: &'static str, status: Status, lag: Duration) {
        self.audit_traces.get_or_create(&TraceLabels { service, status }).inc();
        if status == Status::success {
            self.audit_lag.get_or_create(&ServiceLabels { service }).observe(lag.as_secs_f64());
        }
    }

    /// `field` was refused because it is `malformed` (does not parse) or `invalid` (breaks a rule).
    pub fn refused(&self, field: &str, reason: &'static str) {
        self.validation_failures.get_or_create(&FailureLabels { field: field_label(field), reason }).inc();
    }

    /// A read ended after `elapsed`.
    pub fn queried(&self, operation: &'static str, status: Status, elapsed: Duration) {
        self.query.get_or_create(&QueryLabels { operation, status }).inc();
        self.query_duration.get_or_create(&OperationLabels { operation }).observe(elapsed.as_secs_f64());
    }

    /// A legal hold was changed: `place` or `release`.
    pub fn hold_changed(&self, operation: &'static str) {
        self.legal_hold_successes.get_or_create(&OperationLabels { operation }).inc();
    }

    /// A legal hold was not changed.
    pub fn hold_refused(&self, reason: &'static str) {
        self.legal_hold_failures.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// A caller's token was judged.
    pub fn authorized(&self, outcome: &'static str) {
        self.authorization.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// A client was turned away.
    pub fn rate_limited(&self) {
        self.rate_limited.inc();
    }

    /// So many events were removed.
    pub fn removed(&self, events: u64) {
        self.retention_removed.inc_by(events);
    }

    /// Upkeep failed.
    pub fn upkeep_failed(&self) {
        self.upkeep_failures.inc();
    }

    /// The text form that Prometheus reads.
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}

/// The field's name without its index and what is inside of it. Anything unknown is `other`: a client must not be able to
/// create time series.
fn field_label(field: &str) -> &'static str {
    const FIELDS: &[&str] = &[
        "actor_id",
        "actor_type",
        "body",
        "channel",
        "cluster_name",
        "content_hash",
        "correlation_id",
        "duration_ms",
        "event_action",
        "event_category",
        "event_data",
        "event_id",
        "event_outcome",
        "event_timestamp",
        "event_type",
        "filters",
        "labels",
        "limit",
        "namespace",
        "notification_id",
        "offset",
        "parent_event_id",
        "reason",
        "release_reason",
        "resource_id",
        "resource_type",
        "severity",
        "since",
        "status",
        "until",
        "version",
        "workflow_id",
        "query",
    ];
    let name = field.split_once("].").map_or(field, |(_, name)| name);
    let name = name.split('.').next().unwrap_or(name);
    FIELDS.iter().copied().find(|known| *known == name).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_a_bounded_number_of_labels() {
        for (field, expected) in [
            ("[3].event_data.phase", "event_data"),
            ("event_category", "event_category"),
            ("[17].correlation_id", "correlation_id"),
            ("x-1234", "other"),
            ("", "other"),
        ] {
            assert_eq!(field_label(field), expected, "{field}");
        }
    }

    #[test]
    fn names_are_those_of_the_contract() {
        let metrics = Metrics::default();
        metrics.wrote(Table::audit_events, Status::success, Duration::from_millis(3));
        metrics.event("workflowexecution", Status::success, Duration::from_secs(1));
        metrics.refused("[0].event_data", "invalid");
        metrics.queried("list", Status::failure, Duration::ZERO);
        let text = metrics.render();
        for line in [
            r#"datastorage_write_total{table="audit_events",status="success"} 1"#,
            r#"datastorage_write_duration_seconds_count{table="audit_events"} 1"#,
            r#"datastorage_audit_traces_total{service="workflowexecution",status="success"} 1"#,
            r#"datastorage_audit_lag_seconds_count{service="workflowexecution"} 1"#,
            r#"datastorage_validation_failures_total{field="event_data",reason="invalid"} 1"#,
            r#"datastorage_query_total{operation="list",status="failure"} 1"#,
        ] {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }
}
