//! A row of `audit_events` and the event it holds.

use std::error::Error;
use std::str::FromStr;

use api::audit::AuditEvent;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::Row;
use sqlx::query_builder::Separated;
use sqlx::sqlite::{Sqlite, SqliteRow};
use uuid::Uuid;

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

/// The event a row holds.
pub(super) fn event(row: &SqliteRow) -> Result<AuditEvent, sqlx::Error> {
    let parent: Option<String> = row.try_get("parent_event_id")?;
    Ok(AuditEvent {
        event_id: uuid(row, "event_id")?,
        event_date: row.try_get("event_date")?,
        version: row.try_get("event_version")?,
        event_type: row.try_get("event_type")?,
        event_timestamp: decoded(
            "event_timestamp",
            Timestamp::from_microsecond(row.try_get("event_timestamp")?),
        )?,
        event_category: named(row, "event_category")?,
        event_action: row.try_get("event_action")?,
        event_outcome: named(row, "event_outcome")?,
        correlation_id: row.try_get("correlation_id")?,
        event_data: decoded("event_data", serde_json::from_str(row.try_get("event_data")?))?,
        actor_type: row.try_get("actor_type")?,
        actor_id: row.try_get("actor_id")?,
        resource_type: row.try_get("resource_type")?,
        resource_id: row.try_get("resource_id")?,
        parent_event_id: parent.map(|id| decoded("parent_event_id", Uuid::from_str(&id))).transpose()?,
        namespace: row.try_get("namespace")?,
        cluster_name: row.try_get("cluster_name")?,
        severity: row.try_get("severity")?,
        duration_ms: row.try_get("duration_ms")?,
    })
}

/// The event a row holds, with its place in the chain.
pub(super) fn chained(row: &SqliteRow) -> Result<ChainedEvent, sqlx::Error> {
    Ok(ChainedEvent {
        event: event(row)?,
        hash: row.try_get("event_hash")?,
        previous_hash: row.try_get("previous_event_hash")?,
    })
}

/// The id in `column`.
pub(super) fn uuid(row: &SqliteRow, column: &'static str) -> Result<Uuid, sqlx::Error> {
    decoded(column, Uuid::from_str(row.try_get(column)?))
}

/// The enum whose wire name is in `column`.
fn named<T: DeserializeOwned>(row: &SqliteRow, column: &'static str) -> Result<T, sqlx::Error> {
    decoded(column, serde_json::from_value(Value::String(row.try_get(column)?)))
}

fn decoded<T, E: Error + Send + Sync + 'static>(column: &str, value: Result<T, E>) -> Result<T, sqlx::Error> {
    value.map_err(|source| sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(source) })
}
