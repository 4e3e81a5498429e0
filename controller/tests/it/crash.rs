//! Killed anywhere: every execution gets exactly one child, and each of its events is stored exactly once. The long form is in
//! `tests/endurance`.

use std::time::Duration;

use api::workflow_execution::{AUDIT_RECORDED, Phase};
use rand::RngExt;
use serde_json::json;

use crate::census::census;
use crate::cluster::Cluster;
use crate::service::Controller;
use crate::storage::Storage;

/// Executions at the same time.
const EXECUTIONS: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_points_each_execution_has_one_child_and_each_event_is_stored_once() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let (census, watching) = census(&cluster);
    let played = [tokio::spawn(cluster.kubelet()), tokio::spawn(watching)];
    // A cooldown so short that children are deleted while others are created.
    let start = || Controller::start(cluster.as_controller(), &storage.url, &["--cooldown-period=50ms"]);
    let mut controller = start();
    for number in 0..EXECUTIONS {
        cluster.execute(&format!("we-{number}"), json!({})).await;
    }
    for kill in 0..8 {
        // The time is the point: any moment may be the worst.
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(0..120))).await;
        controller.kill().await;
        assert!(storage.count() <= EXECUTIONS * 3, "after kill {kill}");
        controller = start();
    }
    for number in 0..EXECUTIONS {
        let name = format!("we-{number}");
        let status = cluster.until_condition(&name, AUDIT_RECORDED, "AuditSucceeded").await;
        assert!(status.phase.is_some_and(|phase| phase != Phase::Failed), "{status:?}");
        cluster.until_phase(&name, Phase::Completed).await;
    }
    storage.until_stored(EXECUTIONS * 3).await;
    assert_eq!(storage.count(), EXECUTIONS * 3);
    storage.assert_consistent();
    let census = census.lock().unwrap();
    assert_eq!(census.len(), EXECUTIONS);
    for (execution, children) in census.iter() {
        assert_eq!(children.len(), 1, "{execution} had {children:?}");
    }
    played.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Leader election keeps two controllers apart; should it ever fail, nothing breaks.
#[tokio::test(flavor = "multi_thread")]
async fn two_controllers_at_once_do_everything_once() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let (census, watching) = census(&cluster);
    let played = [tokio::spawn(cluster.kubelet()), tokio::spawn(watching)];
    let start = || Controller::start(cluster.as_controller(), &storage.url, &[]);
    let _controllers = [start(), start(), start()];
    for number in 0..EXECUTIONS {
        cluster.execute(&format!("we-{number}"), json!({})).await;
    }
    for number in 0..EXECUTIONS {
        cluster.until_phase(&format!("we-{number}"), Phase::Completed).await;
        cluster.until_condition(&format!("we-{number}"), AUDIT_RECORDED, "AuditSucceeded").await;
    }
    assert_eq!(storage.count(), EXECUTIONS * 3);
    storage.assert_consistent();
    assert!(census.lock().unwrap().values().all(|children| children.len() == 1));
    played.iter().for_each(tokio::task::JoinHandle::abort);
}
