//! What only PostgreSQL has: partitions, and a server that may not be there.

use datastorage::repository::{OpenError, Repository};
use sqlx::{Connection, PgConnection};

use crate::database::{Database, server};
use crate::event::at;

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
