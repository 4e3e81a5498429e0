//! What the repository promises, whatever the database.

use std::collections::HashSet;

use api::audit::AuditEvent;
use datastorage::repository::{Filter, Repository, WriteError};
use futures::future::try_join_all;
use uuid::Uuid;

use crate::database::{DISARM, Database};
use crate::event::{at, event};

async fn open() -> (Database, Repository) {
    let database = Database::new().await;
    let repository = Repository::open(&database.url).await.unwrap();
    (database, repository)
}

fn all() -> Filter {
    Filter { limit: 1000, ..Filter::default() }
}

async fn stored(repository: &Repository) -> Vec<AuditEvent> {
    repository.query(&all()).await.unwrap().events
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_comes_back_as_it_was_accepted() {
    let (_database, repository) = open().await;
    let written = repository.write(vec![event("rr-1", 1)]).await.unwrap();
    assert!(written[0].created);
    assert_eq!(stored(&repository).await, [event("rr-1", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_event_is_stored_once() {
    let (_database, repository) = open().await;
    let batch = || vec![event("rr-1", 1), event("rr-2", 2), event("rr-1", 1)];
    let created = |written: Vec<datastorage::repository::Written>| -> Vec<bool> {
        written.iter().map(|written| written.created).collect()
    };
    assert_eq!(created(repository.write(batch()).await.unwrap()), [true, true, false]);
    assert_eq!(created(repository.write(batch()).await.unwrap()), [false, false, false]);
    assert_eq!(stored(&repository).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_event_under_a_stored_id_is_refused_and_nothing_of_its_batch_stays() {
    let (_database, repository) = open().await;
    repository.write(vec![event("rr-1", 1)]).await.unwrap();
    for correlation in ["rr-1", "rr-2"] {
        let changed = AuditEvent { event_action: "deleted".into(), ..event(correlation, 1) };
        let error = repository.write(vec![event("rr-3", 3), changed]).await.unwrap_err();
        let WriteError::Conflict { index, event_id, differing } = error else { panic!("{error}") };
        assert_eq!((index, event_id), (1, Uuid::from_u128(1)));
        assert!(differing.contains(&"event_action".to_owned()), "{differing:?}");
    }
    assert_eq!(stored(&repository).await, [event("rr-1", 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_needs_its_parent() {
    let (_database, repository) = open().await;
    let child =
        |id, parent| AuditEvent { parent_event_id: Some(Uuid::from_u128(parent)), ..event("rr-1", id) };
    let error = repository.write(vec![child(2, 1)]).await.unwrap_err();
    assert!(matches!(error, WriteError::UnknownParent { index: 0, .. }), "{error}");
    // A parent later in the same batch is as good as a stored one.
    repository.write(vec![child(2, 1), event("rr-1", 1)]).await.unwrap();
    repository.write(vec![child(3, 1)]).await.unwrap();
    assert_eq!(stored(&repository).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_one_correlation_make_one_chain() {
    let (_database, repository) = open().await;
    let batches = (0..20u128).map(|writer| {
        let batch: Vec<AuditEvent> = (0..5)
            .map(|nth| event(if nth % 2 == 0 { "rr-1" } else { "rr-2" }, writer * 10 + nth + 1))
            .collect();
        repository.write(batch)
    });
    try_join_all(batches).await.unwrap();
    for (correlation, total) in [("rr-1", 60), ("rr-2", 40)] {
        let verdict = repository.verify_chain(correlation).await.unwrap();
        assert!(verdict.is_valid && verdict.total_events == total, "{verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_batch_from_many_sides_is_stored_once() {
    let (_database, repository) = open().await;
    // Half of them list the correlations in the other order: they must not wait for each other for ever.
    let batches = (0..12).map(|nth| {
        let mut batch: Vec<AuditEvent> = (1..=6).map(|id| event(&format!("rr-{id}"), id)).collect();
        if nth % 2 == 1 {
            batch.reverse();
        }
        repository.write(batch)
    });
    let created: usize = try_join_all(batches)
        .await
        .unwrap()
        .iter()
        .map(|written| written.iter().filter(|written| written.created).count())
        .sum();
    assert_eq!(created, 6);
    assert_eq!(stored(&repository).await.len(), 6);
}

/// Lesson PR20_AUDIT_QUERY_PAGINATION: the first page is not everything, so each says how much there is.
#[tokio::test(flavor = "multi_thread")]
async fn pages_are_newest_first_and_count_everything() {
    let (_database, repository) = open().await;
    let batch = (1..=7u128).map(|id| at("rr-1", id, &format!("2026-01-10T12:00:0{}Z", id / 2))).collect();
    repository.write(batch).await.unwrap();
    let mut seen = Vec::new();
    for offset in [0, 3, 6] {
        let page = repository.query(&Filter { limit: 3, offset, ..Filter::default() }).await.unwrap();
        assert_eq!(page.total, 7);
        seen.extend(page.events.iter().map(|event| event.event_id.as_u128()));
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_narrow_down() {
    let (_database, repository) = open().await;
    let failure = AuditEvent { event_outcome: api::audit::EventOutcome::Failure, ..event("rr-2", 2) };
    let early = at("rr-3", 3, "2025-12-31T23:59:59.999999Z");
    let other = AuditEvent { severity: "critical".into(), ..event("rr-4", 4) };
    repository.write(vec![event("rr-1", 1), failure, early, other]).await.unwrap();
    let check = async |filter: Filter, expected: &[u128]| {
        let page = repository.query(&Filter { limit: 10, ..filter }).await.unwrap();
        let found: HashSet<u128> = page.events.iter().map(|event| event.event_id.as_u128()).collect();
        assert_eq!(found, expected.iter().copied().collect());
        assert_eq!(page.total, expected.len() as u64);
    };
    check(Filter { correlation_id: Some("rr-1".into()), ..Filter::default() }, &[1]).await;
    check(Filter { event_outcome: Some(api::audit::EventOutcome::Failure), ..Filter::default() }, &[2]).await;
    check(Filter { severity: Some("critical".into()), ..Filter::default() }, &[4]).await;
    check(Filter { event_type: Some("gateway.crd.failed".into()), ..Filter::default() }, &[]).await;
    // Bounds are inclusive to the microsecond.
    let time = |text: &str| Some(text.parse().unwrap());
    check(Filter { until: time("2025-12-31T23:59:59.999999Z"), ..Filter::default() }, &[3]).await;
    check(Filter { since: time("2026-01-10T12:00:00.123456Z"), ..Filter::default() }, &[1, 2, 4]).await;
    check(Filter { since: time("2026-01-10T12:00:00.123457Z"), ..Filter::default() }, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_is_there_after_the_database_was_opened_again() {
    let (database, repository) = open().await;
    repository.write(vec![event("rr-1", 1)]).await.unwrap();
    repository.close().await;
    let again = Repository::open(&database.url).await.unwrap();
    again.ping().await.unwrap();
    again.write(vec![event("rr-1", 2)]).await.unwrap();
    let verdict = again.verify_chain("rr-1").await.unwrap();
    assert!(verdict.is_valid && verdict.total_events == 2, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_behind_the_services_back_shows() {
    let (database, repository) = open().await;
    repository.write((1..=3).map(|id| event("rr-1", id)).collect()).await.unwrap();
    let change =
        format!("UPDATE audit_events SET event_action = 'x' WHERE event_id = '{}'", Uuid::from_u128(2));
    let refused = database.execute(&change).await.unwrap_err().to_string();
    assert!(refused.contains("append-only"), "{refused}");
    database.execute(DISARM).await.unwrap();
    database.execute(&change).await.unwrap();
    let verdict = repository.verify_chain("rr-1").await.unwrap();
    let tampered: Vec<u128> = verdict.tampered_events.iter().map(|event| event.event_id.as_u128()).collect();
    assert_eq!((verdict.is_valid, tampered), (false, vec![2]));
}
