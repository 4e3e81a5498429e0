//! Where events are kept. One enum stands between the HTTP side and the databases: PostgreSQL for real use, SQLite as the
//! embedded default. `append` decides what a batch adds, whichever of them it is.

mod append;
mod catalog;
mod either;
mod error;
mod export;
mod holds;
mod notifications;
mod postgres;
mod retention;
mod sqlite;
mod stored;
mod success_rate;

use std::path::PathBuf;
use std::time::Duration;

use api::audit::{AuditEvent, EventCategory, EventOutcome, VerifyChainResponse};
use jiff::Timestamp;
use uuid::Uuid;

pub use self::catalog::CatalogError;
pub use self::error::{DatabaseError, OpenError, WriteError};
pub use self::export::Exported;
use self::export::Order;
pub use self::holds::HoldError;
pub use self::notifications::NotificationError;
use self::postgres::PostgresRepository;
pub use self::retention::{Removed, RetentionError};
use self::sqlite::SqliteRepository;
pub use self::success_rate::Executions;
use crate::chain;

/// The database behind the service.
#[derive(Clone, Debug)]
pub enum Repository {
    /// A file on a volume, one writer.
    Sqlite(SqliteRepository),
    /// A PostgreSQL database, shared by any number of processes.
    Postgres(PostgresRepository),
}

/// What a database is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything; the schema is brought up to date first.
    Service,
    /// Looking: nothing is written, whatever is asked.
    Auditor,
}

/// How connections to the database are kept. SQLite has one that writes and a few that read, whatever this says about their
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Most connections.
    pub max_connections: u32,
    /// Connections that are kept although nobody uses them.
    pub min_connections: u32,
    /// How long a request waits for one.
    pub acquire_timeout: Duration,
    /// One that nobody used for so long is closed.
    pub idle_timeout: Duration,
    /// One that is so old is closed.
    pub max_lifetime: Duration,
    /// A statement that takes longer is broken off by the database.
    pub statement_timeout: Duration,
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            max_connections: 25,
            min_connections: 1,
            acquire_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(1800),
            statement_timeout: Duration::from_secs(10),
        }
    }
}

/// An event's place in the answer to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Id under which the event is stored.
    pub event_id: Uuid,
    /// False when the same event had been stored before.
    pub created: bool,
}

/// Which events, newest first, and which page of them. Bounds are inclusive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only this type.
    pub event_type: Option<String>,
    /// Only this category.
    pub event_category: Option<EventCategory>,
    /// Only this outcome.
    pub event_outcome: Option<EventOutcome>,
    /// Only this severity.
    pub severity: Option<String>,
    /// Only this correlation.
    pub correlation_id: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Page size.
    pub limit: u32,
    /// Events to skip.
    pub offset: u64,
}

impl Filter {
    /// Columns that have to equal a text, where one is asked for.
    fn texts(&self) -> [(&'static str, Option<&str>); 5] {
        // Field by field, so that a new one cannot be forgotten here.
        let Filter {
            event_type,
            event_category,
            event_outcome,
            severity,
            correlation_id,
            since: _,
            until: _,
            limit: _,
            offset: _,
        } = self;
        [
            ("event_type", event_type.as_deref()),
            ("event_category", event_category.map(|category| category.as_str())),
            ("event_outcome", event_outcome.map(|outcome| outcome.as_str())),
            ("severity", severity.as_deref()),
            ("correlation_id", correlation_id.as_deref()),
        ]
    }
}

/// A page of events and how many match in all, from one snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The events of the page.
    pub events: Vec<AuditEvent>,
    /// All matches.
    pub total: u64,
}

impl Repository {
    /// Opens the database at `url` with the usual pool and brings its schema up to date.
    pub async fn open(url: &str) -> Result<Self, OpenError> {
        Self::open_with(url, Access::Service, Pool::default()).await
    }

    /// Opens the database at `url`.
    pub async fn open_with(url: &str, access: Access, pool: Pool) -> Result<Self, OpenError> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => SqliteRepository::open(url, access, pool).await.map(Self::Sqlite),
            Some("postgres" | "postgresql") => {
                PostgresRepository::open(url, access, pool).await.map(Self::Postgres)
            }
            _ => Err(OpenError::Url {
                // Whatever it is, it may hold a password.
                url: url.split_once("://").map_or("…", |(scheme, _)| scheme).to_owned(),
                reason: "only `sqlite://` and `postgres://` databases can be opened".to_owned(),
            }),
        }
    }

    /// Which database it is, for logs: without a password.
    pub fn place(&self) -> String {
        match self {
            Self::Sqlite(sqlite) => sqlite.place(),
            Self::Postgres(postgres) => postgres.place(),
        }
    }

    /// Where a key may be kept beside the database, if that is a file.
    pub fn directory(&self) -> Option<PathBuf> {
        match self {
            Self::Sqlite(sqlite) => sqlite.directory(),
            Self::Postgres(_) => None,
        }
    }

    /// Stores all of `events` or none, durably. Ids come back in the order of `events`.
    pub async fn write(&self, events: Vec<AuditEvent>) -> Result<Vec<Written>, WriteError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.write(events).await,
            Self::Postgres(postgres) => postgres.write(events).await,
        }
    }

    /// The page of events that `filter` asks for, newest first.
    pub async fn query(&self, filter: &Filter) -> Result<Page, DatabaseError> {
        let (links, total) = self.links(filter, Order::NewestFirst).await?;
        Ok(Page { events: links.into_iter().map(|link| link.event).collect(), total })
    }

    /// Whether the stored events of a correlation are as they were accepted.
    pub async fn verify_chain(&self, correlation_id: &str) -> Result<VerifyChainResponse, DatabaseError> {
        let chain = self.chain(correlation_id).await?;
        let tampered_events = chain::tampered(&chain);
        let message = match (chain.len(), tampered_events.len()) {
            (0, _) => "no events are stored for this correlation".to_owned(),
            (total, 0) => format!("all {total} events are as they were accepted"),
            (total, tampered) => format!("{tampered} of {total} events are not as they were accepted"),
        };
        Ok(VerifyChainResponse {
            correlation_id: correlation_id.to_owned(),
            is_valid: tampered_events.is_empty(),
            total_events: chain.len() as u64,
            verified_events: (chain.len() - tampered_events.len()) as u64,
            tampered_events,
            message,
        })
    }

    /// Does what has to be done from time to time: partitions for the months to come.
    pub async fn prepare_ahead(&self, now: Timestamp) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(postgres) => Ok(postgres.make_partitions_ahead(now).await?),
        }
    }

    /// The moment that `microseconds` (a number or a parameter) means, as `event_timestamp` is compared with it.
    fn moment(&self, microseconds: &str) -> String {
        match self {
            Self::Sqlite(_) => microseconds.to_owned(),
            Self::Postgres(_) => format!("to_timestamp({microseconds}::bigint / 1000000.0)"),
        }
    }

    /// Whether the database answers, and accepts writes again after it refused one.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.ping().await,
            Self::Postgres(postgres) => postgres.ping().await,
        }
    }

    /// Waits for running statements and closes the database.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(sqlite) => sqlite.close().await,
            Self::Postgres(postgres) => postgres.close().await,
        }
    }
}
