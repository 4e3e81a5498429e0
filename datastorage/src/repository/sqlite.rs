//! Events in a SQLite file: one connection writes, a few read. A write is answered when it is on disk (write-ahead log,
//! `synchronous = FULL`).

mod open;
mod row;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use api::audit::AuditEvent;
use sqlx::sqlite::{Sqlite, SqlitePool};
use sqlx::{QueryBuilder, Row, Transaction};
use uuid::Uuid;

use super::append::{self, Present};
use super::export::Order;
use super::{DatabaseError, Filter, WriteError, Written, stored};
use crate::chain::ChainedEvent;

/// Rows in one INSERT: 22 values each, below SQLite's limit of 32766 values in a statement.
const ROWS_PER_INSERT: usize = 500;

/// How often a running statement looks at the clock.
const INSTRUCTIONS_PER_CHECK: i32 = 10_000;

/// A SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteRepository {
    writer: SqlitePool,
    readers: SqlitePool,
    statement_timeout: Duration,
    /// The last write failed: reads may still work while every write would fail too.
    refuses_writes: Arc<AtomicBool>,
}

impl SqliteRepository {
    pub(super) async fn write(&self, events: Vec<AuditEvent>) -> Result<Vec<Written>, WriteError> {
        // A task of its own: a client that goes away must not interrupt a transaction.
        let repository = self.clone();
        let append = tokio::spawn(async move { repository.append(events).await });
        let outcome = append.await.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed.into()));
        if !matches!(outcome, Err(WriteError::Conflict { .. } | WriteError::UnknownParent { .. })) {
            self.refuses_writes.store(outcome.is_err(), Ordering::Relaxed);
        }
        outcome
    }

    async fn append(&self, events: Vec<AuditEvent>) -> Result<Vec<Written>, WriteError> {
        // Taking the write lock first makes what is read here still true at commit, also beside another process.
        let mut transaction = self.begin().await?;
        let present = present(&mut transaction, &events).await?;
        let append = append::plan(events, present)?;
        for rows in append.insert.chunks(ROWS_PER_INSERT) {
            insert(&mut transaction, rows).await?;
        }
        transaction.commit().await?;
        Ok(append.written)
    }

    pub(super) async fn begin(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }

    /// A transaction that sees one moment and changes nothing. It is broken off when it takes too long.
    pub(super) async fn snapshot(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        let mut snapshot = self.readers.begin().await?;
        let deadline = Instant::now() + self.statement_timeout;
        let mut handle = snapshot.lock_handle().await?;
        handle.set_progress_handler(INSTRUCTIONS_PER_CHECK, move || Instant::now() < deadline);
        drop(handle);
        Ok(snapshot)
    }

    pub(super) async fn links(
        &self,
        filter: &Filter,
        order: Order,
    ) -> Result<(Vec<ChainedEvent>, u64), DatabaseError> {
        // One read transaction, so that the count and the page are of the same moment.
        let mut snapshot = self.snapshot().await?;
        let mut count = QueryBuilder::<Sqlite>::new("SELECT COUNT(*) FROM audit_events");
        push_where(&mut count, filter);
        let total: i64 = count.build_query_scalar().fetch_one(&mut *snapshot).await?;

        let mut page = QueryBuilder::<Sqlite>::new(row::SELECT);
        push_where(&mut page, filter);
        page.push(order.clause()).push_bind(i64::from(filter.limit));
        page.push(" OFFSET ").push_bind(i64::try_from(filter.offset).unwrap_or(i64::MAX));
        let rows = page.build().fetch_all(&mut *snapshot).await?;
        snapshot.rollback().await?;
        let links = rows.iter().map(stored::chained).collect::<Result<_, _>>()?;
        Ok((links, u64::try_from(total).unwrap_or_default()))
    }

    pub(super) async fn chain(&self, correlation_id: &str) -> Result<Vec<ChainedEvent>, DatabaseError> {
        let mut select = QueryBuilder::<Sqlite>::new(row::SELECT);
        select.push(" WHERE correlation_id = ").push_bind(correlation_id.to_owned());
        select.push(" ORDER BY sequence");
        let rows = select.build().fetch_all(&mut *self.snapshot().await?).await?;
        Ok(rows.iter().map(stored::chained).collect::<Result<_, _>>()?)
    }

    pub(super) async fn ping(&self) -> Result<(), DatabaseError> {
        sqlx::query("SELECT 1 FROM audit_events LIMIT 1")
            .fetch_optional(&mut *self.snapshot().await?)
            .await?;
        if self.refuses_writes.load(Ordering::Relaxed) {
            probe_write(&self.writer).await?;
            self.refuses_writes.store(false, Ordering::Relaxed);
        }
        Ok(())
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Writes a row that means nothing, to learn whether writing works.
async fn probe_write(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO write_probe (id, count) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET count = count + 1",
    )
    .execute(pool)
    .await?;
    Ok(())
}

async fn present(
    transaction: &mut Transaction<'_, Sqlite>,
    batch: &[AuditEvent],
) -> Result<Present, sqlx::Error> {
    let mut present = Present::default();
    let ids: Vec<Uuid> = batch.iter().map(|event| event.event_id).collect();
    for ids in ids.chunks(ROWS_PER_INSERT) {
        let mut select = QueryBuilder::<Sqlite>::new(row::SELECT);
        push_ids(&mut select, ids);
        for row in select.build().fetch_all(&mut **transaction).await? {
            let event = stored::event(&row)?;
            present.events.insert(event.event_id, event);
        }
    }
    let parents: Vec<Uuid> = append::parents(batch).into_iter().collect();
    present.parents = stored_ids(transaction, &parents).await?;
    present.heads = heads(transaction, batch).await?;
    Ok(present)
}

async fn stored_ids(
    transaction: &mut Transaction<'_, Sqlite>,
    ids: &[Uuid],
) -> Result<HashSet<Uuid>, sqlx::Error> {
    let mut stored = HashSet::new();
    for ids in ids.chunks(ROWS_PER_INSERT) {
        let mut select = QueryBuilder::<Sqlite>::new("SELECT event_id FROM audit_events");
        push_ids(&mut select, ids);
        for row in select.build().fetch_all(&mut **transaction).await? {
            stored.insert(stored::uuid(&row, "event_id")?);
        }
    }
    Ok(stored)
}

async fn heads(
    transaction: &mut Transaction<'_, Sqlite>,
    batch: &[AuditEvent],
) -> Result<HashMap<String, String>, sqlx::Error> {
    let mut heads = HashMap::new();
    for correlation in append::correlations(batch) {
        let newest = sqlx::query(
            "SELECT event_hash FROM audit_events WHERE correlation_id = ? ORDER BY sequence DESC LIMIT 1",
        )
        .bind(correlation.to_owned())
        .fetch_optional(&mut **transaction)
        .await?;
        if let Some(row) = newest {
            heads.insert(correlation.to_owned(), row.try_get("event_hash")?);
        }
    }
    Ok(heads)
}

async fn insert(transaction: &mut Transaction<'_, Sqlite>, rows: &[ChainedEvent]) -> Result<(), sqlx::Error> {
    let mut insert = QueryBuilder::<Sqlite>::new(row::INSERT);
    insert.push_values(rows, row::push);
    insert.build().execute(&mut **transaction).await?;
    Ok(())
}

fn push_ids(query: &mut QueryBuilder<Sqlite>, ids: &[Uuid]) {
    query.push(" WHERE event_id IN (");
    let mut list = query.separated(", ");
    for id in ids {
        list.push_bind(id.to_string());
    }
    query.push(")");
}

fn push_where(query: &mut QueryBuilder<Sqlite>, filter: &Filter) {
    query.push(" WHERE 1");
    for (column, text) in filter.texts() {
        if let Some(text) = text {
            query.push(format_args!(" AND {column} = ")).push_bind(text.to_owned());
        }
    }
    for (comparison, bound) in [(">=", filter.since), ("<=", filter.until)] {
        if let Some(bound) = bound {
            query.push(format_args!(" AND event_timestamp {comparison} ")).push_bind(bound.as_microsecond());
        }
    }
}
