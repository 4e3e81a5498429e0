//! Opening a SQLite file: first whether its place can be written, so that the cause of a failure has a name.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{SqliteRepository, probe_write};
use crate::repository::error::PlaceError;
use crate::repository::{Access, DatabaseError, OpenError, Pool};

/// How long a statement waits for another process.
const PATIENCE: Duration = Duration::from_secs(5);
const READERS: u32 = 4;

impl SqliteRepository {
    /// `SQLite <file>`.
    pub(in crate::repository) fn place(&self) -> String {
        format!("SQLite {}", self.writer.connect_options().get_filename().display())
    }

    /// `signing` beside the file.
    pub(in crate::repository) fn directory(&self) -> Option<PathBuf> {
        let options = self.writer.connect_options();
        Some(options.get_filename().parent()?.join("signing"))
    }

    pub(in crate::repository) async fn open(
        url: &str,
        access: Access,
        pool: Pool,
    ) -> Result<Self, OpenError> {
        let (options, file) = options(url, access)?;
        let Pool {
            max_connections: _,
            min_connections: _,
            acquire_timeout,
            idle_timeout,
            max_lifetime,
            statement_timeout,
        } = pool;
        let failed = |attempt: &'static str| {
            let file = file.clone();
            move |source: sqlx::Error| OpenError::Database { attempt, file, source: DatabaseError(source) }
        };
        let pool = SqlitePoolOptions::new().acquire_timeout(acquire_timeout);
        let one = pool.clone().max_connections(1).idle_timeout(None).max_lifetime(None);
        let writer = match access {
            Access::Service => {
                check_place(&file).map_err(|source| OpenError::Place { file: file.clone(), source })?;
                let writer = one.connect_with(options.clone()).await.map_err(failed("open"))?;
                let migrated = migrator().run(&writer).await;
                migrated.map_err(|source| OpenError::Migrate { file: file.clone(), source })?;
                probe_write(&writer).await.map_err(failed("write"))?;
                writer
            }
            Access::Auditor => one.connect_with(options.clone()).await.map_err(failed("open"))?,
        };
        let readers = pool
            .max_connections(READERS)
            .idle_timeout(idle_timeout)
            .max_lifetime(max_lifetime)
            .connect_with(options.pragma("query_only", "ON"))
            .await
            .map_err(failed("open"))?;
        Ok(Self { writer, readers, statement_timeout, refuses_writes: Arc::new(AtomicBool::new(false)) })
    }
}

fn options(url: &str, access: Access) -> Result<(SqliteConnectOptions, PathBuf), OpenError> {
    let refused = |reason: String| OpenError::Url { url: url.to_owned(), reason };
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(refused("an accepted event must outlive the process".to_owned()));
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|error| refused(error.to_string()))?;
    let file = options.get_filename().to_owned();
    if file.file_name().is_none() {
        return Err(refused("it names no file".to_owned()));
    }
    let read_only = url.contains("mode=ro") || access == Access::Auditor;
    let options = match read_only {
        true => options.read_only(true).create_if_missing(false),
        false => options.create_if_missing(true).journal_mode(SqliteJournalMode::Wal),
    };
    let options = options
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        // The root file system may be read-only: sorting must not need a file there.
        .pragma("temp_store", "MEMORY");
    Ok((options, file))
}

/// SQLite needs to write the file and to create others beside it.
fn check_place(file: &Path) -> Result<(), PlaceError> {
    let failed = |attempt, path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| PlaceError { attempt, path, source }
    };
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::read_dir(directory).map_err(failed("read the directory", directory))?;
    let probe = directory.join(format!(".write-probe-{}", std::process::id()));
    let created = OpenOptions::new().write(true).create(true).truncate(true).open(&probe);
    created.map_err(failed("create a file in", directory))?;
    fs::remove_file(&probe).map_err(failed("remove a file from", directory))?;
    match OpenOptions::new().write(true).open(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map(drop).map_err(failed("open for writing", file)),
    }
}

/// The schema's steps in order. Each runs in a transaction of its own.
fn migrator() -> Migrator {
    let step = |version, description: &'static str, sql: &'static str| {
        Migration::new(version, description.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        step(1, "audit events", include_str!("../../../migrations/sqlite/0001_audit_events.sql")),
        step(2, "holds, catalog", include_str!("../../../migrations/sqlite/0002_holds_catalog.sql")),
    ])
}
