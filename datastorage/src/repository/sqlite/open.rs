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
use crate::repository::{DatabaseError, OpenError};

/// How long a statement waits for another process, and a request for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
const READERS: u32 = 4;

impl SqliteRepository {
    /// `SQLite <file>`.
    pub(in crate::repository) fn place(&self) -> String {
        format!("SQLite {}", self.writer.connect_options().get_filename().display())
    }

    pub(in crate::repository) async fn open(url: &str) -> Result<Self, OpenError> {
        let (options, file) = options(url)?;
        check_place(&file).map_err(|source| OpenError::Place { file: file.clone(), source })?;

        let failed = |attempt: &'static str| {
            let file = file.clone();
            move |source: sqlx::Error| OpenError::Database { attempt, file, source: DatabaseError(source) }
        };
        let pool = SqlitePoolOptions::new().acquire_timeout(PATIENCE);
        let writer = pool
            .clone()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options.clone())
            .await
            .map_err(failed("open"))?;
        migrator().run(&writer).await.map_err(|source| OpenError::Migrate { file: file.clone(), source })?;
        probe_write(&writer).await.map_err(failed("write"))?;
        let readers = pool
            .max_connections(READERS)
            .connect_with(options.pragma("query_only", "ON"))
            .await
            .map_err(failed("open"))?;
        Ok(Self { writer, readers, refuses_writes: Arc::new(AtomicBool::new(false)) })
    }
}

fn options(url: &str) -> Result<(SqliteConnectOptions, PathBuf), OpenError> {
    let refused = |reason: String| OpenError::Url { url: url.to_owned(), reason };
    if url.contains(":memory:") || url.contains("mode=memory") {
        return Err(refused("an accepted event must outlive the process".to_owned()));
    }
    let options = SqliteConnectOptions::from_str(url).map_err(|error| refused(error.to_string()))?;
    let file = options.get_filename().to_owned();
    if file.file_name().is_none() {
        return Err(refused("it names no file".to_owned()));
    }
    let read_only = url.contains("mode=ro");
    let options = options
        .create_if_missing(!read_only)
        .journal_mode(SqliteJournalMode::Wal)
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
    Migrator::with_migrations(vec![step(
        1,
        "audit events",
        include_str!("../../../migrations/sqlite/0001_audit_events.sql"),
    )])
}
