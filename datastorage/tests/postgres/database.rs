//! A database of a test's own, on a server of this test process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{Connection, Executor, PgConnection};

use crate::postgres::{Server, Writes};

/// What lets somebody with all rights change events.
pub const DISARM: &str = "DROP TRIGGER audit_events_are_append_only ON audit_events";

/// An empty database.
pub struct Database {
    pub url: String,
}

impl Database {
    pub async fn new() -> Database {
        Database::on(server()).await
    }

    /// An empty database of a server that waits for the disk.
    pub async fn synced() -> Database {
        static SERVER: OnceLock<Server> = OnceLock::new();
        Database::on(SERVER.get_or_init(|| Server::start(Writes::Synced))).await
    }

    async fn on(server: &Server) -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        Database { url: server.url(&name) }
    }

    /// A statement by somebody who has the database but not the service.
    pub async fn execute(&self, statement: &str) -> Result<(), sqlx::Error> {
        let mut connection = PgConnection::connect(&self.url).await?;
        connection.execute(sqlx::AssertSqlSafe(statement.to_owned())).await.map(drop)
    }
}

/// The server that all tests of this process share; it ends with the process.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| Server::start(Writes::Buffered))
}
