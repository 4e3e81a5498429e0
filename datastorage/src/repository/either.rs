//! Statements that are the same for every database: `$1` parameters, text and numbers only.

/// Runs `$body` in a transaction of whichever database `$repository` is; `$connection` is its connection. An early return
/// rolls back.
macro_rules! transaction {
    ($repository:expr, |$connection:ident| $body:block) => {
        match $repository {
            $crate::repository::Repository::Sqlite(sqlite) => {
                let mut transaction = sqlite.begin().await?;
                let outcome = {
                    let $connection = &mut *transaction;
                    $body
                };
                transaction.commit().await?;
                outcome
            }
            $crate::repository::Repository::Postgres(postgres) => {
                let mut transaction = postgres.begin().await?;
                let outcome = {
                    let $connection = &mut *transaction;
                    $body
                };
                transaction.commit().await?;
                outcome
            }
        }
    };
}

/// The same for statements that only read.
macro_rules! snapshot {
    ($repository:expr, |$connection:ident| $body:block) => {
        match $repository {
            $crate::repository::Repository::Sqlite(sqlite) => {
                let mut snapshot = sqlite.snapshot().await?;
                let $connection = &mut *snapshot;
                $body
            }
            $crate::repository::Repository::Postgres(postgres) => {
                let mut snapshot = postgres.snapshot().await?;
                let $connection = &mut *snapshot;
                $body
            }
        }
    };
}

pub(super) use {snapshot, transaction};
