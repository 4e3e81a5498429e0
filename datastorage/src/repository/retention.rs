//! Removing what has been kept long enough. A correlation goes as a whole or not at all, so that a chain never loses its
//! beginning; one under legal hold, or whose events others name as their parents, stays.

use jiff::Timestamp;
use thiserror::Error;

use super::either::transaction;
use super::{DatabaseError, Repository};
use crate::retention::Policy;

/// Correlations removed in one transaction.
const BATCH: i64 = 200;

/// What a run removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Correlations.
    pub correlations: u64,
    /// Their events.
    pub events: u64,
}

/// The run ended early; what was removed before stays removed.
#[derive(Debug, Error)]
#[error("cannot remove events that have been kept long enough")]
pub struct RetentionError(#[from] sqlx::Error);

impl From<RetentionError> for DatabaseError {
    fn from(error: RetentionError) -> Self {
        Self(error.0)
    }
}

impl Repository {
    /// Removes every correlation whose events have all been kept long enough at `now`.
    pub async fn remove_expired(&self, policy: &Policy, now: Timestamp) -> Result<Removed, RetentionError> {
        let mut removed = Removed::default();
        loop {
            let batch = self.remove_batch(policy, now).await?;
            if batch.correlations == 0 {
                break;
            }
            removed.correlations += batch.correlations;
            removed.events += batch.events;
        }
        if let Self::Postgres(postgres) = self {
            postgres.drop_empty_partitions(now).await?;
        }
        Ok(removed)
    }

    async fn remove_batch(&self, policy: &Policy, now: Timestamp) -> Result<Removed, RetentionError> {
        let expired = self.expired(policy, now);
        let candidates = format!(
            "INSERT INTO audit_removals (correlation_id) SELECT correlation_id FROM audit_events AS event \
             WHERE NOT EXISTS (SELECT 1 FROM legal_holds AS hold \
             WHERE hold.correlation_id = event.correlation_id AND hold.released_at IS NULL) \
             GROUP BY correlation_id HAVING MIN(CASE WHEN {expired} THEN 1 ELSE 0 END) = 1 \
             AND NOT EXISTS (SELECT 1 FROM audit_events AS child JOIN audit_events AS parent \
             ON parent.event_id = child.parent_event_id \
             WHERE parent.correlation_id = event.correlation_id AND child.correlation_id <> parent.correlation_id) \
             ORDER BY correlation_id LIMIT {BATCH}"
        );
        let survivors = format!(
            "DELETE FROM audit_removals WHERE correlation_id IN (SELECT correlation_id FROM audit_events \
             WHERE NOT ({expired})) OR correlation_id IN (SELECT correlation_id FROM legal_holds WHERE released_at IS NULL)"
        );
        let on_postgres = matches!(self, Self::Postgres(_));
        Ok(transaction!(self, |connection| {
            sqlx::query(sqlx::AssertSqlSafe(candidates)).execute(&mut *connection).await?;
            if on_postgres {
                // Whoever writes into these correlations or holds them waits, and what was done meanwhile counts.
                sqlx::query(
                    "SELECT 1 FROM audit_chains WHERE correlation_id IN (SELECT correlation_id FROM audit_removals) \
                     ORDER BY correlation_id FOR UPDATE",
                )
                .execute(&mut *connection)
                .await?;
                sqlx::query(sqlx::AssertSqlSafe(survivors)).execute(&mut *connection).await?;
            }
            let of_removed = "correlation_id IN (SELECT correlation_id FROM audit_removals)";
            if on_postgres {
                sqlx::query(
                    "CREATE TEMPORARY TABLE removed_ids ON COMMIT DROP AS SELECT event_id FROM audit_events \
                     WHERE correlation_id IN (SELECT correlation_id FROM audit_removals)",
                )
                .execute(&mut *connection)
                .await?;
            }
            let events =
                sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM audit_events WHERE {of_removed}")))
                    .execute(&mut *connection)
                    .await?
                    .rows_affected();
            if on_postgres {
                sqlx::query(
                    "DELETE FROM audit_event_ids WHERE event_id IN (SELECT event_id FROM removed_ids)",
                )
                .execute(&mut *connection)
                .await?;
                sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM audit_chains WHERE {of_removed}")))
                    .execute(&mut *connection)
                    .await?;
            }
            let correlations =
                sqlx::query("DELETE FROM audit_removals").execute(&mut *connection).await?.rows_affected();
            Removed { correlations, events }
        }))
    }

    /// A condition that is true for an event that has been kept long enough.
    fn expired(&self, policy: &Policy, now: Timestamp) -> String {
        let before = |days| self.moment(&policy.cutoff(now, days).as_microsecond().to_string());
        let mut condition = "CASE event_category".to_owned();
        for (category, days) in &policy.categories {
            let (category, before) = (category.as_str(), before(*days));
            condition.push_str(&format!(" WHEN '{category}' THEN event_timestamp < {before}"));
        }
        let default = before(policy.days);
        match policy.categories.is_empty() {
            true => format!("event_timestamp < {default}"),
            false => format!("{condition} ELSE event_timestamp < {default} END"),
        }
    }
}
