//! Events in PostgreSQL: a partition per month, one transaction per batch. A write is answered when it is committed with
//! `synchronous_commit = on`.
//!
//! Writers of one correlation take turns on the row of its chain; others do not wait for each other.

mod open;
mod row;

use std::collections::{BTreeSet, HashMap, HashSet};

use api::audit::AuditEvent;
use sqlx::postgres::{PgPool, Postgres};
use sqlx::{QueryBuilder, Row, Transaction};
use uuid::Uuid;

use super::append::{self, Present};
use super::export::Order;
use super::{DatabaseError, Filter, WriteError, Written, stored};
use crate::chain::ChainedEvent;

/// A batch is tried again when another writer stored one of its ids, or when a partition was missing.
const ATTEMPTS: usize = 5;

/// A PostgreSQL database.
#[derive(Clone, Debug)]
pub struct PostgresRepository {
    pool: PgPool,
}

impl PostgresRepository {
    pub(super) async fn write(&self, events: Vec<AuditEvent>) -> Result<Vec<Written>, WriteError> {
        // A task of its own: a client that goes away must not interrupt a transaction.
        let repository = self.clone();
        let append = tokio::spawn(async move { repository.append(events).await });
        append.await.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed.into()))
    }

    async fn append(&self, events: Vec<AuditEvent>) -> Result<Vec<Written>, WriteError> {
        let mut outcome = self.append_once(events.clone()).await;
        for _ in 1..ATTEMPTS {
            match &outcome {
                Err(error) if is(error, NO_PARTITION) => {
                    // Making one can get into the way of somebody who writes; whoever is broken off tries again.
                    if let Err(error) = self.make_partitions(&events).await.map_err(WriteError::from)
                        && !is(&error, DEADLOCK)
                    {
                        return Err(error);
                    }
                }
                Err(error) if is(error, UNIQUE_VIOLATION) || is(error, DEADLOCK) => {}
                _ => return outcome,
            }
            outcome = self.append_once(events.clone()).await;
        }
        outcome
    }

    async fn append_once(&self, events: Vec<AuditEvent>) -> Result<Vec<Written>, WriteError> {
        let mut transaction = self.pool.begin().await?;
        let heads = lock_chains(&mut transaction, &events).await?;
        let present = Present { heads, ..present(&mut transaction, &events).await? };
        let append = append::plan(events, present)?;
        if append.insert.is_empty() {
            transaction.rollback().await?;
            return Ok(append.written);
        }
        insert(&mut transaction, &append.insert).await?;
        transaction.commit().await?;
        Ok(append.written)
    }

    async fn make_partitions(&self, events: &[AuditEvent]) -> Result<(), sqlx::Error> {
        let days: BTreeSet<&str> = events.iter().map(|event| event.event_date.as_str()).collect();
        for day in days {
            sqlx::query("SELECT audit_events_partition($1::text::date)")
                .bind(day)
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        self.pool.begin().await
    }

    /// A transaction that sees one moment and changes nothing.
    pub(super) async fn snapshot(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
    }

    pub(super) async fn links(
        &self,
        filter: &Filter,
        order: Order,
    ) -> Result<(Vec<ChainedEvent>, u64), DatabaseError> {
        // One snapshot, so that the count and the page are of the same moment.
        let mut snapshot = self.snapshot().await?;
        let mut count = QueryBuilder::<Postgres>::new("SELECT COUNT(*) FROM audit_events");
        push_where(&mut count, filter);
        let total: i64 = count.build_query_scalar().fetch_one(&mut *snapshot).await?;

        let mut page = QueryBuilder::<Postgres>::new(row::SELECT);
        push_where(&mut page, filter);
        page.push(order.clause()).push_bind(i64::from(filter.limit));
        page.push(" OFFSET ").push_bind(i64::try_from(filter.offset).unwrap_or(i64::MAX));
        let rows = page.build().fetch_all(&mut *snapshot).await?;
        snapshot.rollback().await?;
        let links = rows.iter().map(stored::chained).collect::<Result<_, _>>()?;
        Ok((links, u64::try_from(total).unwrap_or_default()))
    }

    pub(super) async fn chain(&self, correlation_id: &str) -> Result<Vec<ChainedEvent>, DatabaseError> {
        let mut select = QueryBuilder::<Postgres>::new(row::SELECT);
        select.push(" WHERE correlation_id = ").push_bind(correlation_id.to_owned());
        select.push(" ORDER BY sequence");
        let rows = select.build().fetch_all(&self.pool).await?;
        Ok(rows.iter().map(stored::chained).collect::<Result<_, _>>()?)
    }

    pub(super) async fn ping(&self) -> Result<(), DatabaseError> {
        sqlx::query("SELECT 1").execute(&self.pool).await?;
        Ok(())
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// SQLSTATE of a row no partition takes (`check_violation`).
const NO_PARTITION: &str = "23514";
/// SQLSTATE of an id that somebody else has just stored.
const UNIQUE_VIOLATION: &str = "23505";
/// SQLSTATE of two batches that hold each other's chains.
const DEADLOCK: &str = "40P01";

fn is(error: &WriteError, state: &str) -> bool {
    let WriteError::Database(DatabaseError(error)) = error else { return false };
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == state)
}

/// Holds the chains of the batch until the transaction ends, always in the same order, and reads their heads.
async fn lock_chains(
    transaction: &mut Transaction<'_, Postgres>,
    batch: &[AuditEvent],
) -> Result<HashMap<String, String>, sqlx::Error> {
    let correlations: Vec<String> = append::correlations(batch).into_iter().map(str::to_owned).collect();
    sqlx::query(
        "INSERT INTO audit_chains (correlation_id, head) SELECT id, '' FROM unnest($1::text[]) AS id ORDER BY id \
         ON CONFLICT DO NOTHING",
    )
    .bind(&correlations)
    .execute(&mut **transaction)
    .await?;
    let rows = sqlx::query(
        "SELECT correlation_id, head FROM audit_chains WHERE correlation_id = ANY($1::text[]) ORDER BY correlation_id \
         FOR UPDATE",
    )
    .bind(&correlations)
    .fetch_all(&mut **transaction)
    .await?;
    rows.iter().map(|row| Ok((row.try_get("correlation_id")?, row.try_get("head")?))).collect()
}

async fn present(
    transaction: &mut Transaction<'_, Postgres>,
    batch: &[AuditEvent],
) -> Result<Present, sqlx::Error> {
    let mut present = Present::default();
    let parents = append::parents(batch);
    let ids: Vec<String> =
        batch.iter().map(|event| event.event_id).chain(parents).map(|id| id.to_string()).collect();
    // The ids come first: they say in which partitions to look, and mostly that there is nothing to look for.
    let stored = sqlx::query(
        "SELECT event_id::text, event_date::text FROM audit_event_ids WHERE event_id = ANY($1::text[]::uuid[])",
    )
    .bind(&ids)
    .fetch_all(&mut **transaction)
    .await?;
    if stored.is_empty() {
        return Ok(present);
    }
    let mut known: HashSet<Uuid> = HashSet::new();
    let (mut ids, mut days) = (Vec::new(), Vec::new());
    for row in &stored {
        known.insert(stored::uuid(row, "event_id")?);
        ids.push(row.try_get::<String, _>("event_id")?);
        days.push(row.try_get::<String, _>("event_date")?);
    }
    let mut select = QueryBuilder::<Postgres>::new(row::SELECT);
    select.push(" WHERE (event_id, event_date) IN (SELECT * FROM unnest(").push_bind(ids);
    select.push("::text[]::uuid[], ").push_bind(days).push("::text[]::date[]))");
    for row in select.build().fetch_all(&mut **transaction).await? {
        let event = stored::event(&row)?;
        present.events.insert(event.event_id, event);
    }
    present.parents = append::parents(batch).into_iter().filter(|parent| known.contains(parent)).collect();
    Ok(present)
}

async fn insert(
    transaction: &mut Transaction<'_, Postgres>,
    events: &[ChainedEvent],
) -> Result<(), sqlx::Error> {
    let columns = row::Columns::of(events);
    sqlx::query(
        "INSERT INTO audit_event_ids (event_id, event_date) SELECT * FROM unnest($1::text[]::uuid[], $2::text[]::date[])",
    )
    .bind(&columns.event_id)
    .bind(&columns.event_date)
    .execute(&mut **transaction)
    .await?;
    columns.insert().execute(&mut **transaction).await?;
    let heads: HashMap<&str, &str> =
        events.iter().map(|chained| (chained.event.correlation_id.as_str(), chained.hash.as_str())).collect();
    let (correlations, hashes): (Vec<&str>, Vec<&str>) = heads.into_iter().unzip();
    sqlx::query(
        "UPDATE audit_chains SET head = new.head FROM unnest($1::text[], $2::text[]) AS new (id, head) \
         WHERE correlation_id = new.id",
    )
    .bind(&correlations)
    .bind(&hashes)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

fn push_where(query: &mut QueryBuilder<Postgres>, filter: &Filter) {
    query.push(" WHERE true");
    for (column, text) in filter.texts() {
        if let Some(text) = text {
            query.push(format_args!(" AND {column} = ")).push_bind(text.to_owned());
        }
    }
    for (comparison, bound) in [(">=", filter.since), ("<=", filter.until)] {
        if let Some(bound) = bound {
            // The day as well, so that only the partitions of these months are read.
            let day = bound.strftime("%Y-%m-%d").to_string();
            query.push(format_args!(" AND event_date {comparison} ")).push_bind(day).push("::text::date");
            query.push(format_args!(" AND event_timestamp {comparison} ")).push_bind(bound.to_string());
            query.push("::text::timestamptz");
        }
    }
}
