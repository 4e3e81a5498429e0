//! Legal holds: placed, released, listed. The database itself refuses to delete events under a hold.

use api::audit::{LegalHold, PlaceHoldResponse, ReleaseHoldResponse};
use jiff::Timestamp;
use thiserror::Error;

use super::either::{snapshot, transaction};
use super::stored::{Stored, decoded};
use super::{DatabaseError, Repository};

/// A hold was not placed or released.
#[derive(Debug, Error)]
pub enum HoldError {
    /// There is nothing to hold.
    #[error("no events are stored for correlation `{0}`")]
    NoEvents(String),
    /// There is nothing to release.
    #[error("no legal hold is in force for correlation `{0}`")]
    NotHeld(String),
    /// Another hold is in force.
    #[error("a legal hold is in force since {}, placed by `{}`: {}", .0.placed_at, .0.placed_by, .0.reason)]
    Held(Box<LegalHold>),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<sqlx::Error> for HoldError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(DatabaseError(error))
    }
}

const IN_FORCE: &str = "SELECT correlation_id, reason, placed_by, placed_at FROM legal_holds \
    WHERE released_at IS NULL ORDER BY placed_at DESC, id DESC";
const IN_FORCE_FOR: &str = "SELECT correlation_id, reason, placed_by, placed_at FROM legal_holds \
    WHERE released_at IS NULL AND correlation_id = $1";
const EVENTS: &str = "SELECT COUNT(*) FROM audit_events WHERE correlation_id = $1";

impl Repository {
    /// Holds every event of `correlation_id`, also those that come later. The same hold again is the same hold.
    pub async fn place_hold(
        &self,
        correlation_id: &str,
        reason: &str,
        user: &str,
    ) -> Result<PlaceHoldResponse, HoldError> {
        let placed_at = now();
        let on_postgres = matches!(self, Self::Postgres(_));
        let hold = transaction!(self, |connection| {
            if on_postgres {
                // Who removes events whose time is over holds the chain's row: one of the two comes first.
                sqlx::query("SELECT 1 FROM audit_chains WHERE correlation_id = $1 FOR UPDATE")
                    .bind(correlation_id)
                    .execute(&mut *connection)
                    .await?;
            }
            let events: i64 =
                sqlx::query_scalar(EVENTS).bind(correlation_id).fetch_one(&mut *connection).await?;
            if events == 0 {
                return Err(HoldError::NoEvents(correlation_id.to_owned()));
            }
            // The index on holds in force decides, also between two who place one at the same time.
            let placed = sqlx::query(
                "INSERT INTO legal_holds (correlation_id, reason, placed_by, placed_at) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(correlation_id)
            .bind(reason)
            .bind(user)
            .bind(placed_at.as_microsecond())
            .execute(&mut *connection)
            .await?
            .rows_affected();
            if placed == 0 {
                let row = sqlx::query(IN_FORCE_FOR).bind(correlation_id).fetch_one(&mut *connection).await?;
                let in_force = hold(&row)?;
                if (in_force.reason.as_str(), in_force.placed_by.as_str()) != (reason, user) {
                    return Err(HoldError::Held(Box::new(in_force)));
                }
                (in_force.placed_at, events)
            } else {
                (placed_at, events)
            }
        });
        let (placed_at, events) = hold;
        Ok(PlaceHoldResponse {
            correlation_id: correlation_id.to_owned(),
            events_affected: u64::try_from(events).unwrap_or_default(),
            placed_by: user.to_owned(),
            placed_at,
            reason: reason.to_owned(),
        })
    }

    /// Ends the hold on `correlation_id`; who did, and why, stays on record.
    pub async fn release_hold(
        &self,
        correlation_id: &str,
        reason: &str,
        user: &str,
    ) -> Result<ReleaseHoldResponse, HoldError> {
        let released_at = now();
        let events: i64 = transaction!(self, |connection| {
            let released = sqlx::query(
                "UPDATE legal_holds SET released_at = $1, released_by = $2, release_reason = $3 \
                 WHERE correlation_id = $4 AND released_at IS NULL",
            )
            .bind(released_at.as_microsecond())
            .bind(user)
            .bind(reason)
            .bind(correlation_id)
            .execute(&mut *connection)
            .await?
            .rows_affected();
            if released == 0 {
                return Err(HoldError::NotHeld(correlation_id.to_owned()));
            }
            sqlx::query_scalar(EVENTS).bind(correlation_id).fetch_one(&mut *connection).await?
        });
        Ok(ReleaseHoldResponse {
            correlation_id: correlation_id.to_owned(),
            events_released: u64::try_from(events).unwrap_or_default(),
            released_by: user.to_owned(),
            released_at,
        })
    }

    /// Every hold in force, newest first.
    pub async fn holds(&self) -> Result<Vec<LegalHold>, DatabaseError> {
        snapshot!(self, |connection| {
            let rows = sqlx::query(IN_FORCE).fetch_all(connection).await?;
            Ok(rows.iter().map(hold).collect::<Result<_, _>>()?)
        })
    }
}

fn hold<R: Stored>(row: &R) -> Result<LegalHold, sqlx::Error> {
    Ok(LegalHold {
        correlation_id: row.text("correlation_id")?,
        placed_by: row.text("placed_by")?,
        placed_at: decoded("placed_at", Timestamp::from_microsecond(row.number("placed_at")?))?,
        reason: row.text("reason")?,
    })
}

/// Now, in the databases' precision.
pub(super) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}
