//! Many replicas, one leader; an orderly end gives the Lease back, and finishes what was begun.

use std::time::{Duration, Instant};

use api::names::SYSTEM_NAMESPACE;
use api::workflow_execution::Phase;
use http::Method;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use crate::cluster::{Cluster, delete, end_job, job_of, until_one};
use crate::service::{Controller, until_answer};
use crate::spy::Spy;
use crate::storage::Storage;

const LEASE: &str = "workflowexecution.kubernaut.ai";

fn leases(cluster: &Cluster) -> Api<Lease> {
    Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE)
}

fn held_by(lease: &Lease, holder: &str) -> bool {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) == Some(holder)
}

/// A replica in a pod of this name, which exists.
async fn replica(cluster: &Cluster, storage: &Storage, name: &str, duration: &str) -> Controller {
    let pods = Api::<Pod>::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    let pod = json!({"metadata": {"name": name}, "spec": {
        "serviceAccountName": "workflowexecution-controller", "containers": [{"name": "c", "image": "i"}],
    }});
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let flags = ["--leader-elect", &format!("--pod-name={name}"), &format!("--lease-duration={duration}")];
    Controller::start(cluster.as_controller(), &storage.url, &flags)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_replicas_leads_and_hands_over_when_it_is_told_to_end() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let first = replica(&cluster, &storage, "first", "60s").await;
    until_one(&leases(&cluster), LEASE, |lease| held_by(lease, "first")).await;
    let second = replica(&cluster, &storage, "second", "5s").await;
    // A standby knows the cluster, and does nothing.
    until_answer(second.health, "/readyz", |status, _| status == 200).await;
    cluster.execute("before", json!({})).await;
    end_job(&cluster, &job_of(&cluster, "before").await, 0, "").await;
    cluster.until_phase("before", Phase::Completed).await;
    let metrics =
        until_answer(second.metrics, "/metrics", |_, text| text.contains("workflowexecution_leader 0")).await;
    assert!(metrics.contains("workflowexecution_workqueue_adds_total 0"), "{metrics}");

    let stopping = Instant::now();
    first.stop().await.unwrap();
    until_one(&leases(&cluster), LEASE, |lease| held_by(lease, "second")).await;
    assert!(stopping.elapsed() < Duration::from_secs(30), "it did not wait for the Lease to expire");
    cluster.execute("after", json!({})).await;
    cluster.until_phase("after", Phase::Running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_killed_is_replaced_when_its_lease_expires_or_its_pod_is_gone() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let first = replica(&cluster, &storage, "first", "2s").await;
    until_one(&leases(&cluster), LEASE, |lease| held_by(lease, "first")).await;
    let second = replica(&cluster, &storage, "second", "3600s").await;
    first.kill().await;
    // Its pod is still there: the Lease has to expire.
    cluster.execute("expired", json!({})).await;
    // The attempts of `second` are six minutes apart, as its Lease is long; a third one is quicker.
    let third = replica(&cluster, &storage, "third", "3s").await;
    cluster.until_phase("expired", Phase::Running).await;
    until_one(&leases(&cluster), LEASE, |lease| held_by(lease, "third")).await;
    drop(second);

    // Now the leader's Lease is as long as it gets, but everybody can see that its pod is gone.
    let long = json!({"spec": {"leaseDurationSeconds": 3600}});
    third.kill().await;
    leases(&cluster).patch(LEASE, &PatchParams::default(), &Patch::Merge(long)).await.unwrap();
    delete(&Api::<Pod>::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE), "third").await;
    let _fourth = replica(&cluster, &storage, "fourth", "3s").await;
    until_one(&leases(&cluster), LEASE, |lease| held_by(lease, "fourth")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_lost_its_lease_ends() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let first = replica(&cluster, &storage, "first", "3s").await;
    until_one(&leases(&cluster), LEASE, |lease| held_by(lease, "first")).await;
    let taken = json!({"spec": {"holderIdentity": "usurper_1"}});
    leases(&cluster).patch(LEASE, &PatchParams::default(), &Patch::Merge(taken)).await.unwrap();
    let outcome = first.outcome().await;
    assert!(matches!(outcome, Err(controller::Error::Deposed)), "{outcome:?}");
}

/// What was begun is finished: the child that was just created is in the status before the process ends.
#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_in_the_middle_of_a_reconciliation_it_finishes_that() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let spy = Spy::on(cluster.as_controller(), |asked| {
        asked.method == Method::PUT && asked.path.ends_with("/workflowexecutions/begun/status")
    });
    let controller = Controller::start(spy.client.clone(), &storage.url, &["--cooldown-period=1h"]);
    // Its target cools down for an hour: a timer that nobody waits for at the end.
    cluster.execute("earlier", json!({})).await;
    end_job(&cluster, &job_of(&cluster, "earlier").await, 0, "").await;
    cluster.until_phase("earlier", Phase::Completed).await;
    cluster.execute("begun", json!({})).await;
    let job = api::names::child_name("prod/deployment/begun");
    until_one(&cluster.children::<k8s_openapi::api::batch::v1::Job>(), &job, |_| true).await;
    let health = controller.health;
    let stopping = tokio::spawn(controller.stop());
    until_answer(health, "/readyz", |status, text| status == 503 && text.contains("told to end")).await;
    spy.open();
    stopping.await.unwrap().unwrap();
    let status = cluster.executions().get("begun").await.unwrap().status.unwrap();
    assert_eq!(status.phase, Some(Phase::Running));
}
