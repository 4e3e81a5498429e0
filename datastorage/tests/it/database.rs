//! A database file of a test's own.

use sqlx::{Connection, Executor, SqliteConnection};

/// What lets somebody with all rights change events.
pub const DISARM: &str = "DROP TRIGGER audit_events_are_not_changed";

/// An empty database.
pub struct Database {
    pub url: String,
    _directory: tempfile::TempDir,
}

impl Database {
    pub async fn new() -> Database {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", directory.path().join("audit.db").display());
        Database { url, _directory: directory }
    }

    /// A statement by somebody who has the database but not the service.
    pub async fn execute(&self, statement: &str) -> Result<(), sqlx::Error> {
        let mut connection = SqliteConnection::connect(&self.url).await?;
        connection.execute(sqlx::AssertSqlSafe(statement.to_owned())).await.map(drop)
    }
}
