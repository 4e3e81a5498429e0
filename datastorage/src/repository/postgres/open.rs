//! Connecting to PostgreSQL and bringing its schema up to date.

use std::str::FromStr;
use std::time::Duration;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, SqlSafeStr};

use super::PostgresRepository;
use crate::repository::{Access, DatabaseError, OpenError, Pool};

/// How long the service waits for the database at its start.
const START: Duration = Duration::from_secs(20);
/// Pause between two attempts to connect at the start.
const PAUSE: Duration = Duration::from_millis(500);
/// Months whose partitions are made ahead; a write into any other month makes its own.
const MONTHS_AHEAD: i64 = 3;

impl PostgresRepository {
    pub(in crate::repository) async fn open(
        url: &str,
        access: Access,
        pool: Pool,
    ) -> Result<Self, OpenError> {
        let statement_timeout = format!("{}ms", pool.statement_timeout.as_millis());
        let read_only = if access == Access::Auditor { "on" } else { "off" };
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| OpenError::Url { url: "postgres".to_owned(), reason: error.to_string() })?
            .application_name("datastorage")
            .options([("synchronous_commit", "on"), ("lock_timeout", "5s"), ("timezone", "UTC")])
            .options([
                ("statement_timeout", statement_timeout.as_str()),
                ("default_transaction_read_only", read_only),
            ]);
        let server = server(&options);
        let failed = |attempt: &'static str, source: sqlx::Error| OpenError::Server {
            attempt,
            server: server.clone(),
            source: DatabaseError(source),
        };
        let pool = connect(options, pool).await.map_err(|error| failed("connect to", error))?;
        let repository = Self { pool };
        if access == Access::Auditor {
            return Ok(repository);
        }
        migrate(&repository.pool)
            .await
            .map_err(|source| OpenError::MigrateServer { server: server.clone(), source })?;
        repository.make_partitions_ahead(Timestamp::now()).await.map_err(|error| failed("prepare", error))?;
        Ok(repository)
    }

    /// `PostgreSQL user@host:port/database`.
    pub(in crate::repository) fn place(&self) -> String {
        format!("PostgreSQL {}", server(&self.pool.connect_options()))
    }

    /// Drops the partitions of months long gone that hold nothing any more.
    pub(in crate::repository) async fn drop_empty_partitions(
        &self,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        let this_month = now.to_zoned(TimeZone::UTC).strftime("audit_events_%Y_%m").to_string();
        let names: Vec<String> = sqlx::query_scalar(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_events'::regclass",
        )
        .fetch_all(&self.pool)
        .await?;
        for name in names.iter().filter(|name| **name < this_month) {
            let mut transaction = self.pool.begin().await?;
            // The name is the database's own, quoted where it has to be.
            let lock = AssertSqlSafe(format!("LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"));
            sqlx::query(lock).execute(&mut *transaction).await?;
            let any = AssertSqlSafe(format!("SELECT EXISTS (SELECT 1 FROM {name})"));
            let any: bool = sqlx::query_scalar(any).fetch_one(&mut *transaction).await?;
            if !any {
                sqlx::query(AssertSqlSafe(format!("DROP TABLE {name}"))).execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
        }
        Ok(())
    }

    /// Makes the partitions of this month and the next ones; cheap when they are there.
    pub(in crate::repository) async fn make_partitions_ahead(
        &self,
        now: Timestamp,
    ) -> Result<(), sqlx::Error> {
        let today = now.to_zoned(TimeZone::UTC).date();
        for months in 0..=MONTHS_AHEAD {
            let day = today.saturating_add(months.months()).to_string();
            sqlx::query("SELECT audit_events_partition($1::text::date)")
                .bind(day)
                .execute(&self.pool)
                .await?;
        }
        Ok(())
    }
}

/// Connects, patiently: database and service are often started together.
async fn connect(options: PgConnectOptions, pool: Pool) -> Result<PgPool, sqlx::Error> {
    let Pool {
        max_connections,
        min_connections,
        acquire_timeout,
        idle_timeout,
        max_lifetime,
        statement_timeout: _,
    } = pool;
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .min_connections(min_connections)
        .acquire_timeout(acquire_timeout)
        .idle_timeout(idle_timeout)
        .max_lifetime(max_lifetime);
    let deadline = tokio::time::Instant::now() + START;
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(error) if may_pass(&error) && tokio::time::Instant::now() + PAUSE < deadline => {
                tracing::info!(%error, "waiting for the database");
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// Whether the same attempt may succeed later: nobody listens yet, or the server is starting up or shutting down.
fn may_pass(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code.starts_with("57P")),
        _ => false,
    }
}

/// Whom one talks to, without the password.
fn server(options: &PgConnectOptions) -> String {
    let (user, host, port) = (options.get_username(), options.get_host(), options.get_port());
    format!("{user}@{host}:{port}/{}", options.get_database().unwrap_or(user))
}

/// Brings the schema up to date, however long that takes: a connection of its own, without the limit for statements.
async fn migrate(pool: &PgPool) -> Result<(), MigrateError> {
    let options = (*pool.connect_options()).clone().options([("statement_timeout", "0")]);
    let mut connection = PgConnection::connect_with(&options).await?;
    migrator().run(&mut connection).await?;
    Ok(connection.close().await?)
}

/// The schema's steps in order. Each runs in a transaction of its own.
fn migrator() -> Migrator {
    let step = |version, description: &'static str, sql: &'static str| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        step(1, "audit events", include_str!("../../../migrations/postgres/0001_audit_events.sql")),
        step(2, "holds, catalog", include_str!("../../../migrations/postgres/0002_holds_catalog.sql")),
    ])
}
