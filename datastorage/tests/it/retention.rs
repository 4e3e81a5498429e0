//! Removing what has been kept long enough.

use std::collections::BTreeSet;

use api::audit::{AuditEvent, EventCategory};
use datastorage::repository::{Filter, Repository};
use datastorage::retention::Policy;
use jiff::Timestamp;
use uuid::Uuid;

use crate::database::Database;
use crate::event::at;

const OLD: &str = "2020-02-03T12:00:00Z";
const NEW: &str = "2026-01-10T12:00:00Z";

async fn open() -> (Database, Repository) {
    let database = Database::new().await;
    let repository = Repository::open(&database.url).await.unwrap();
    (database, repository)
}

fn days(days: u32) -> Policy {
    Policy { days, categories: Vec::new() }
}

fn now() -> Timestamp {
    "2026-01-11T00:00:00Z".parse().unwrap()
}

async fn left(repository: &Repository) -> BTreeSet<u128> {
    let page = repository.query(&Filter { limit: 1000, ..Filter::default() }).await.unwrap();
    page.events.iter().map(|event| event.event_id.as_u128()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correlation_goes_as_a_whole_when_the_time_of_all_its_events_is_over() {
    let (_database, repository) = open().await;
    let batch = vec![
        at("over", 1, OLD),
        at("over", 2, OLD),
        at("partly", 3, OLD),
        at("partly", 4, NEW),
        at("new", 5, NEW),
    ];
    repository.write(batch).await.unwrap();
    let removed = repository.remove_expired(&days(365), now()).await.unwrap();
    assert_eq!((removed.correlations, removed.events), (1, 2));
    assert_eq!(left(&repository).await, BTreeSet::from([3, 4, 5]));
    assert!(repository.verify_chain("partly").await.unwrap().is_valid);
    assert_eq!(repository.remove_expired(&days(365), now()).await.unwrap().events, 0);
    // A later event of a removed correlation begins a chain of its own.
    repository.write(vec![at("over", 6, NEW)]).await.unwrap();
    assert!(repository.verify_chain("over").await.unwrap().is_valid);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_outlasts_retention() {
    let (_database, repository) = open().await;
    repository.write(vec![at("held", 1, OLD), at("free", 2, OLD)]).await.unwrap();
    repository.place_hold("held", "case 17", "alice").await.unwrap();
    assert_eq!(repository.remove_expired(&days(1), now()).await.unwrap().events, 1);
    assert_eq!(left(&repository).await, BTreeSet::from([1]));
    repository.release_hold("held", "case closed", "alice").await.unwrap();
    assert_eq!(repository.remove_expired(&days(1), now()).await.unwrap().events, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_stays_as_long_as_its_children_elsewhere() {
    let (_database, repository) = open().await;
    let parent = Some(Uuid::from_u128(1));
    let child = AuditEvent { parent_event_id: parent, ..at("child", 2, NEW) };
    let own = AuditEvent { parent_event_id: Some(Uuid::from_u128(3)), ..at("family", 4, OLD) };
    repository.write(vec![at("parent", 1, OLD), child, at("family", 3, OLD), own]).await.unwrap();
    assert_eq!(repository.remove_expired(&days(30), now()).await.unwrap().correlations, 1);
    assert_eq!(left(&repository).await, BTreeSet::from([1, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_category_may_be_kept_longer() {
    let (_database, repository) = open().await;
    let kept = AuditEvent { event_category: EventCategory::Webhook, ..at("decision", 1, OLD) };
    repository.write(vec![kept, at("signal", 2, OLD)]).await.unwrap();
    let policy = Policy { days: 30, categories: vec![(EventCategory::Webhook, 36500)] };
    assert_eq!(repository.remove_expired(&policy, now()).await.unwrap().events, 1);
    assert_eq!(left(&repository).await, BTreeSet::from([1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_transactions_worth_is_removed() {
    let (_database, repository) = open().await;
    for start in (0..450u128).step_by(150) {
        let batch = (start + 1..=start + 150).map(|id| at(&format!("rr-{id}"), id, OLD)).collect();
        repository.write(batch).await.unwrap();
    }
    let removed = repository.remove_expired(&days(1), now()).await.unwrap();
    assert_eq!((removed.correlations, removed.events), (450, 450));
}
