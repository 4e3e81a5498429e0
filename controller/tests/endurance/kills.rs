//! 200 executions while the process is killed at random points: exactly one child each, each event exactly once.

use std::time::Duration;

use api::workflow_execution::{AUDIT_RECORDED, Phase};
use nix::sys::signal::Signal;
use rand::RngExt;
use serde_json::json;

use crate::census::census;
use crate::cluster::Cluster;
use crate::process::Process;
use crate::storage::{Mood, Storage};

const EXECUTIONS: usize = 200;
const KILLS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn killed_forty_times_two_hundred_executions_have_one_child_and_each_event_once() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let (census, watching) = census(&cluster);
    let played = [tokio::spawn(cluster.kubelet()), tokio::spawn(watching)];
    let flags = ["--cooldown-period=100ms", "--leader-elect", "--pod-name=endurance"];
    let mut process = Process::start(&cluster, &storage, &flags).await;
    for number in 0..EXECUTIONS {
        cluster.execute(&format!("we-{number}"), json!({})).await;
    }
    for kill in 0..KILLS {
        // Sometimes before it has done anything, sometimes in the middle.
        tokio::time::sleep(Duration::from_millis(rand::rng().random_range(20..1500))).await;
        process.signal(Signal::SIGKILL).await;
        // DataStorage loses its answers now and then as well.
        storage.becomes(if kill % 3 == 0 { Mood::Forgetful } else { Mood::Well });
        process = Process::start(&cluster, &storage, &flags).await;
    }
    storage.becomes(Mood::Well);
    for number in 0..EXECUTIONS {
        let name = format!("we-{number}");
        cluster.until_phase(&name, Phase::Completed).await;
        cluster.until_condition(&name, AUDIT_RECORDED, "AuditSucceeded").await;
    }
    println!("{KILLS} kills, {EXECUTIONS} executions, {} events stored", storage.count());
    assert_eq!(storage.count(), EXECUTIONS * 3);
    storage.assert_consistent();
    assert!(process.terminate().await.success());
    let census = census.lock().unwrap();
    assert_eq!(census.len(), EXECUTIONS);
    for (execution, children) in census.iter() {
        assert_eq!(children.len(), 1, "{execution} had {children:?}");
    }
    played.iter().for_each(tokio::task::JoinHandle::abort);
}
