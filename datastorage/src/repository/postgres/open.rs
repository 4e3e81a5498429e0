//! Connecting to PostgreSQL and bringing its schema up to date.

use std::str::FromStr;
use std::time::Duration;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use super::PostgresRepository;
use crate::repository::{DatabaseError, OpenError};

/// How long a request waits for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the service waits for the database at its start.
const START: Duration = Duration::from_secs(20);
/// Pause between two attempts to connect at the start.
const PAUSE: Duration = Duration::from_millis(500);
/// More would only queue inside the database.
const CONNECTIONS: u32 = 25;
/// Months whose partitions are made ahead; a write into any other month makes its own.
const MONTHS_AHEAD: i64 = 3;

impl PostgresRepository {
    pub(in crate::repository) async fn open(url: &str) -> Result<Self, OpenError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(|error| OpenError::Url { url: "postgres".to_owned(), reason: error.to_string() })?
            .application_name("datastorage")
            .options([("synchronous_commit", "on"), ("lock_timeout", "5s"), ("timezone", "UTC")]);
        let server = server(&options);
        let failed = |attempt: &'static str, source: sqlx::Error| OpenError::Server {
            attempt,
            server: server.clone(),
            source: DatabaseError(source),
        };
        let pool = connect(options).await.map_err(|error| failed("connect to", error))?;
        migrator()
            .run(&pool)
            .await
            .map_err(|source| OpenError::MigrateServer { server: server.clone(), source })?;
        let repository = Self { pool };
        repository.make_partitions_ahead(Timestamp::now()).await.map_err(|error| failed("prepare", error))?;
        Ok(repository)
    }

    /// `PostgreSQL user@host:port/database`.
    pub(in crate::repository) fn place(&self) -> String {
        format!("PostgreSQL {}", server(&self.pool.connect_options()))
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
async fn connect(options: PgConnectOptions) -> Result<PgPool, sqlx::Error> {
    let pool = PgPoolOptions::new().acquire_timeout(PATIENCE).max_connections(CONNECTIONS);
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

/// The schema's steps in order. Each runs in a transaction of its own.
fn migrator() -> Migrator {
    let step = |version, description: &'static str, sql: &'static str| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![step(
        1,
        "audit events",
        include_str!("../../../migrations/postgres/0001_audit_events.sql"),
    )])
}
