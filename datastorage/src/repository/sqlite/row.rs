//! The statements that read and write rows of `audit_events`.

use api::audit::AuditEvent;
use jiff::Timestamp;
use serde_json::Value;
use sqlx::query_builder::Separated;
use sqlx::sqlite::Sqlite;

use crate::chain::ChainedEvent;

/// Everything about an event; a WHERE clause follows.
pub(super) const SELECT: &str = "SELECT event_id, event_version, event_timestamp, event_date, event_type, \
    event_category, event_action, event_outcome, correlation_id, event_data, actor_type, actor_id, resource_type, \
    resource_id, parent_event_id, namespace, cluster_name, severity, duration_ms, event_hash, previous_event_hash \
    FROM audit_events";

/// The columns that [`push`] binds; the values follow.
pub(super) const INSERT: &str = "INSERT INTO audit_events (event_id, event_version, event_timestamp, event_date, \
    event_type, event_category, event_action, event_outcome, correlation_id, event_data, actor_type, actor_id, \
    resource_type, resource_id, parent_event_id, namespace, cluster_name, severity, duration_ms, event_hash, \
    previous_event_hash, recorded_at) ";

/// Binds a row of [`INSERT`].
pub(super) fn push(mut row: Separated<'_, Sqlite, &'static str>, chained: &ChainedEvent) {
    let ChainedEvent { event, hash, previous_hash } = chained.clone();
    let AuditEvent {
        event_id,
        event_date,
        version,
        event_type,
        event_timestamp,
        event_category,
        event_action,
        event_outcome,
        correlation_id,
        event_data,
        actor_type,
        actor_id,
        resource_type,
        resource_id,
        parent_event_id,
        namespace,
        cluster_name,
        severity,
        duration_ms,
    } = event;
    row.push_bind(event_id.to_string())
        .push_bind(version)
        .push_bind(event_timestamp.as_microsecond())
        .push_bind(event_date)
        .push_bind(event_type)
        .push_bind(event_category.as_str())
        .push_bind(event_action)
        .push_bind(event_outcome.as_str())
        .push_bind(correlation_id)
        .push_bind(Value::Object(event_data).to_string())
        .push_bind(actor_type)
        .push_bind(actor_id)
        .push_bind(resource_type)
        .push_bind(resource_id)
        .push_bind(parent_event_id.map(|id| id.to_string()))
        .push_bind(namespace)
        .push_bind(cluster_name)
        .push_bind(severity)
        .push_bind(duration_ms)
        .push_bind(hash)
        .push_bind(previous_hash)
        .push_bind(Timestamp::now().as_microsecond());
}
