//! What only PostgreSQL has: partitions, and a server that may not be there.

use datastorage::repository::{Filter, OpenError, Repository};
use sqlx::{Connection, Executor, PgConnection};

use crate::database::{Database, server};
use crate::event::at;
use crate::postgres::{Server, Writes};

#[tokio::test(flavor = "multi_thread")]
async fn a_month_nobody_prepared_gets_its_partition_with_the_first_event() {
    let database = Database::new().await;
    let repository = Repository::open(&database.url).await.unwrap();
    let batch = vec![at("rr-1", 1, "2019-02-28T23:00:00Z"), at("rr-1", 2, "2019-03-01T00:00:00Z")];
    repository.write(batch).await.unwrap();
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    let partitions: Vec<String> = sqlx::query_scalar(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_events'::regclass ORDER BY 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(&partitions[..2], ["audit_events_2019_02", "audit_events_2019_03"]);
    // This month and three more were made ahead.
    assert_eq!(partitions.len(), 6, "{partitions:?}");
    assert!(repository.verify_chain("rr-1").await.unwrap().is_valid);
}

/// A page of many events would otherwise be found by sorting all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_events_is_read_from_an_index_and_nothing_is_sorted() {
    // A server of its own, whose log has the plans of this test only.
    let server = Server::start(Writes::Buffered);
    let url = server.url("postgres");
    let repository = Repository::open(&url).await.unwrap();
    repository.write(vec![at("rr-1", 1, "2026-11-28T12:00:00Z")]).await.unwrap();
    repository.close().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    for setting in [
        "session_preload_libraries = auto_explain",
        "auto_explain.log_min_duration = 0",
        // With one event, sorting it would be as good.
        "enable_sort = off",
        "enable_seqscan = off",
        "enable_bitmapscan = off",
    ] {
        let statement = format!("ALTER DATABASE postgres SET {setting}");
        connection.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
    }
    let repository = Repository::open(&url).await.unwrap();
    for correlation_id in [None, Some("rr-1".to_owned())] {
        let filter = Filter { correlation_id, limit: 10, ..Filter::default() };
        assert_eq!(repository.query(&filter).await.unwrap().events.len(), 1);
    }
    let log = server.log();
    let plans: Vec<&str> =
        log.split("Query Text: ").filter(|plan| plan.contains("ORDER BY audit_events")).collect();
    assert_eq!(plans.len(), 2, "{log}");
    for plan in plans {
        assert!(plan.contains("Index Scan") && !plan.contains("Sort  (cost"), "{plan}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_together_prepare_one_database() {
    let database = Database::new().await;
    let opened = futures::future::join_all((0..4).map(|_| Repository::open(&database.url))).await;
    for repository in opened {
        repository.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_server_is_said_without_its_password() {
    let missing = server().url("missing").replace("audit@", "audit:secret@");
    let error = Repository::open(&missing).await.unwrap_err();
    let told = format!("{error}: {}; {}", std::error::Error::source(&error).unwrap(), error.hint());
    assert!(told.contains("audit@localhost:5432/missing") && told.contains("createdb"), "{told}");
    assert!(!told.contains("secret"), "{told}");
    let error = Repository::open("mysql://audit:secret@localhost/x").await.unwrap_err();
    assert!(matches!(error, OpenError::Url { .. }) && !error.to_string().contains("secret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_place_in_the_log_has_no_password() {
    let database = Database::new().await;
    let repository = Repository::open(&database.url.replace("audit@", "audit:secret@")).await.unwrap();
    let place = repository.place();
    assert!(place.starts_with("PostgreSQL audit@localhost:5432/test_"), "{place}");
}
