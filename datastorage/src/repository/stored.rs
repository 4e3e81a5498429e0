//! The event a row holds, whatever the database: every column is text or a number.

use std::error::Error;
use std::str::FromStr;

use api::audit::AuditEvent;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::chain::ChainedEvent;

/// A row with columns of text and numbers.
pub(super) trait Stored {
    fn text(&self, column: &str) -> Result<String, sqlx::Error>;
    fn number(&self, column: &str) -> Result<i64, sqlx::Error>;
    fn optional_text(&self, column: &str) -> Result<Option<String>, sqlx::Error>;
    fn optional_number(&self, column: &str) -> Result<Option<i64>, sqlx::Error>;
}

macro_rules! stored {
    ($($row:ty),+) => {$(
        impl Stored for $row {
            fn text(&self, column: &str) -> Result<String, sqlx::Error> {
                self.try_get(column)
            }
            fn number(&self, column: &str) -> Result<i64, sqlx::Error> {
                self.try_get(column)
            }
            fn optional_text(&self, column: &str) -> Result<Option<String>, sqlx::Error> {
                self.try_get(column)
            }
            fn optional_number(&self, column: &str) -> Result<Option<i64>, sqlx::Error> {
                self.try_get(column)
            }
        }
    )+};
}

stored!(PgRow, SqliteRow);

/// The event a row holds.
pub(super) fn event<R: Stored>(row: &R) -> Result<AuditEvent, sqlx::Error> {
    let parent = row.optional_text("parent_event_id")?;
    Ok(AuditEvent {
        event_id: uuid(row, "event_id")?,
        event_date: row.text("event_date")?,
        version: row.text("event_version")?,
        event_timestamp: decoded(
            "event_timestamp",
            Timestamp::from_microsecond(row.number("event_timestamp")?),
        )?,
        event_type: row.text("event_type")?,
        event_category: named(row, "event_category")?,
        event_action: row.text("event_action")?,
        event_outcome: named(row, "event_outcome")?,
        correlation_id: row.text("correlation_id")?,
        event_data: decoded("event_data", serde_json::from_str(&row.text("event_data")?))?,
        actor_type: row.text("actor_type")?,
        actor_id: row.text("actor_id")?,
        resource_type: row.text("resource_type")?,
        resource_id: row.text("resource_id")?,
        parent_event_id: parent.map(|id| decoded("parent_event_id", Uuid::from_str(&id))).transpose()?,
        namespace: row.optional_text("namespace")?,
        cluster_name: row.optional_text("cluster_name")?,
        severity: row.text("severity")?,
        duration_ms: row.optional_number("duration_ms")?,
    })
}

/// The event a row holds, with its place in the chain.
pub(super) fn chained<R: Stored>(row: &R) -> Result<ChainedEvent, sqlx::Error> {
    Ok(ChainedEvent {
        event: event(row)?,
        hash: row.text("event_hash")?,
        previous_hash: row.text("previous_event_hash")?,
    })
}

/// The id in `column`.
pub(super) fn uuid<R: Stored>(row: &R, column: &'static str) -> Result<Uuid, sqlx::Error> {
    decoded(column, Uuid::from_str(&row.text(column)?))
}

/// The enum whose wire name is in `column`.
fn named<R: Stored, T: DeserializeOwned>(row: &R, column: &'static str) -> Result<T, sqlx::Error> {
    decoded(column, serde_json::from_value(Value::String(row.text(column)?)))
}

pub(super) fn decoded<T, E: Error + Send + Sync + 'static>(
    column: &str,
    value: Result<T, E>,
) -> Result<T, sqlx::Error> {
    value.map_err(|source| sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(source) })
}
