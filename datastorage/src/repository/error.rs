//! What can go wrong with a database, and what a person can do about it.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use uuid::Uuid;

/// The database cannot be used at all.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The URL is not one of a supported database.
    #[error("cannot use the database URL `{url}`: {reason}")]
    Url {
        /// As configured.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The place of the file cannot be written to.
    #[error("cannot write the audit database `{}`", file.display())]
    Place {
        /// The database's file.
        file: PathBuf,
        /// What was attempted, and the operating system's answer.
        #[source]
        source: PlaceError,
    },
    /// The file is there but the database refuses it.
    #[error("cannot {attempt} the audit database `{}`", file.display())]
    Database {
        /// `open` or `prepare`.
        attempt: &'static str,
        /// The database's file.
        file: PathBuf,
        /// What the database says.
        #[source]
        source: DatabaseError,
    },
    /// The database server does not answer, or refuses.
    #[error("cannot {attempt} the audit database {server}")]
    Server {
        /// `connect to` or `prepare`.
        attempt: &'static str,
        /// `user@host:port/database`.
        server: String,
        /// What the database says.
        #[source]
        source: DatabaseError,
    },
    /// The schema in the database cannot be brought to this version's.
    #[error("cannot migrate the audit database {server}")]
    MigrateServer {
        /// `user@host:port/database`.
        server: String,
        /// What the migration says.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
    /// The schema in the file cannot be brought to this version's.
    #[error("cannot migrate the audit database `{}`", file.display())]
    Migrate {
        /// The database's file.
        file: PathBuf,
        /// What the migration says.
        #[source]
        source: sqlx::migrate::MigrateError,
    },
}

/// Which operation on which path failed.
#[derive(Debug, Error)]
#[error("cannot {attempt} `{}`", path.display())]
pub struct PlaceError {
    /// What was attempted, for example `create a file in`.
    pub attempt: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// The operating system's answer.
    pub source: io::Error,
}

impl OpenError {
    /// What to change so that it works.
    pub fn hint(&self) -> String {
        match self {
            Self::Url { .. } => {
                "pass `--database sqlite:///data/audit.db` or `postgres://user@host/database`, or set \
                 DATASTORAGE_DATABASE"
                    .to_owned()
            }
            Self::Place { source, .. } => place_hint(source),
            Self::Database { source, .. } | Self::Server { source, .. } => source.hint().to_owned(),
            Self::Migrate { source, .. } | Self::MigrateServer { source, .. } => {
                migrate_hint(source).to_owned()
            }
        }
    }
}

fn migrate_hint(error: &sqlx::migrate::MigrateError) -> &'static str {
    match error {
        sqlx::migrate::MigrateError::VersionMissing(_) => {
            "a newer version of this service wrote it: run that version, or use another database"
        }
        _ => {
            "nothing was changed: each migration is one transaction; restore a backup or use another database"
        }
    }
}

fn place_hint(error: &PlaceError) -> String {
    let path = error.path.display();
    match error.source.kind() {
        io::ErrorKind::ReadOnlyFilesystem => format!(
            "`{path}` is on a read-only file system: mount the volume there without `readOnly: true`, or point \
             `--database` to a writable volume"
        ),
        io::ErrorKind::PermissionDenied => format!(
            "`{path}` is not writable by this user: set `securityContext.fsGroup` of the pod to the group it runs \
             as, or `chown` the volume"
        ),
        io::ErrorKind::NotFound => {
            format!("mount a volume that has `{path}`, or point `--database` to a directory that exists")
        }
        io::ErrorKind::StorageFull => format!("free space on the volume of `{path}`, or enlarge it"),
        _ => format!("make `{path}` a writable directory, or point `--database` elsewhere"),
    }
}

/// The database did not do what it was asked.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct DatabaseError(#[from] pub sqlx::Error);

/// SQLite's primary result codes that mean something to a person.
mod code {
    pub(super) const BUSY: i64 = 5;
    pub(super) const READ_ONLY: i64 = 8;
    pub(super) const IO: i64 = 10;
    pub(super) const CORRUPT: i64 = 11;
    pub(super) const FULL: i64 = 13;
    pub(super) const CANNOT_OPEN: i64 = 14;
    pub(super) const NOT_A_DATABASE: i64 = 26;
}

/// PostgreSQL's SQLSTATEs that mean something to a person.
mod state {
    pub(super) const WRONG_PASSWORD: &str = "28P01";
    pub(super) const WRONG_USER: &str = "28000";
    pub(super) const NO_DATABASE: &str = "3D000";
    pub(super) const NO_RIGHT: &str = "42501";
    pub(super) const READ_ONLY: &str = "25006";
    pub(super) const FULL: &str = "53100";
    pub(super) const TOO_MANY: &str = "53300";
}

impl DatabaseError {
    /// What to look at.
    pub fn hint(&self) -> &'static str {
        if let sqlx::Error::Io(_) = &self.0 {
            return "no database server answers there: start it, or check host and port of `--database`";
        }
        match self.sql_state().as_deref() {
            Some(state::WRONG_PASSWORD | state::WRONG_USER) => {
                return "the server does not accept user and password: check them in DATASTORAGE_DATABASE";
            }
            Some(state::NO_DATABASE) => return "the server has no such database: create it with `createdb`",
            Some(state::NO_RIGHT) => return "the user lacks a right: make it the owner of the database",
            Some(state::READ_ONLY) => {
                return "the server is a read-only standby: point `--database` to the primary";
            }
            Some(state::FULL) => return "the server's disk is full: free space or enlarge it",
            Some(state::TOO_MANY) => return "the server has no connection left: raise max_connections",
            Some(_) => return "look at the log of the database server",
            None => {}
        }
        match self.primary_code() {
            Some(code::BUSY) => "another process holds the database: run one instance per file",
            Some(code::READ_ONLY) => {
                "the database is read-only: mount its volume writable and drop `mode=ro`"
            }
            Some(code::IO) => "the volume answers with an error: look at the node's kernel log",
            Some(code::FULL) => "the volume is full: free space or enlarge it",
            Some(code::CANNOT_OPEN) => "the file cannot be opened: check the volume's mount and permissions",
            Some(code::CORRUPT | code::NOT_A_DATABASE) => {
                "the file is not an intact SQLite database: restore a backup or use another file"
            }
            _ if matches!(self.0, sqlx::Error::PoolTimedOut) => "the database is busy: try again",
            _ => "look at the log of this service",
        }
    }

    /// PostgreSQL's five-character SQLSTATE.
    fn sql_state(&self) -> Option<String> {
        let code = self.0.as_database_error()?.code()?;
        (code.len() == 5).then(|| code.into_owned())
    }

    /// SQLite's result code without its extension.
    fn primary_code(&self) -> Option<i64> {
        let extended: i64 = self.0.as_database_error()?.code()?.parse().ok()?;
        Some(extended & 0xff)
    }
}

/// A batch was not stored; nothing of it was.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The id is taken by an event with other content.
    #[error("event `{event_id}` is already stored with another {}", differing.join(", "))]
    Conflict {
        /// Index in the batch.
        index: usize,
        /// The id.
        event_id: Uuid,
        /// Members that differ.
        differing: Vec<String>,
    },
    /// The event names a parent nobody has stored.
    #[error("parent event `{parent}` is not stored")]
    UnknownParent {
        /// Index in the batch.
        index: usize,
        /// The parent's id.
        parent: Uuid,
    },
    /// The database failed; the same request may succeed later.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(DatabaseError(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_cannot_be_written_has_a_hint_for_its_cause() {
        for (kind, expected) in [
            (io::ErrorKind::ReadOnlyFilesystem, "readOnly: true"),
            (io::ErrorKind::PermissionDenied, "fsGroup"),
            (io::ErrorKind::NotFound, "mount a volume that has `/data`"),
            (io::ErrorKind::StorageFull, "free space"),
            (io::ErrorKind::NotADirectory, "writable directory"),
        ] {
            let source = PlaceError { attempt: "open", path: "/data".into(), source: kind.into() };
            let error = OpenError::Place { file: "/data/audit.db".into(), source };
            assert!(error.hint().contains(expected), "{kind:?}: {}", error.hint());
            assert_eq!(error.to_string(), "cannot write the audit database `/data/audit.db`");
        }
    }
}
