//! 200 executions, each approved by a person, while the controller, DataStorage, PostgreSQL and the AuthWebhook are killed at random points:
//! exactly one child each, each event exactly once, and every chain verifies.

use std::collections::BTreeMap;
use std::time::Duration;

use api::remediation_approval_request::RemediationApprovalRequest;
use api::workflow_execution::{AUDIT_RECORDED, Phase};
use engine::api::server;
use engine::api::user::User;
use engine::pki::MASTERS;
use kube::api::{Api, Patch, PatchParams, PostParams};
use rand::RngExt;
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use crate::census::census;
use crate::cluster::{Cluster, DEADLINE, NAMESPACE};
use crate::product::{Part, Product};
use crate::service::get;

const EXECUTIONS: usize = 200;
/// Of each part.
const KILLS: usize = 10;

/// Everything that is to be on record of one remediation.
const TRAIL: [&str; 4] = [
    "webhook.approval.decided",
    "workflowexecution.execution.started",
    "workflowexecution.selection.completed",
    "workflowexecution.workflow.completed",
];

/// Somebody approves a remediation, as often as it takes until the API server takes it.
async fn approve(people: Api<RemediationApprovalRequest>, number: usize) {
    let name = format!("rar-{number}");
    let request: RemediationApprovalRequest = serde_json::from_value(json!({
        "apiVersion": "kubernaut.ai/v1alpha1", "kind": "RemediationApprovalRequest",
        "metadata": {"name": name},
        "spec": {"remediationRequestRef": {"name": format!("rr-we-{number}")}, "aiAnalysisRef": {"name": "a"}},
    }))
    .unwrap();
    people.create(&PostParams::default(), &request).await.unwrap();
    let patch = Patch::Merge(json!({"status": {"decision": "Approved"}}));
    let decided = async {
        while let Err(error) = people.patch_status(&name, &PatchParams::default(), &patch).await {
            // While no webhook answers, nothing is decided.
            assert!(error.to_string().contains("failed calling webhook"), "{name}: {error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(DEADLINE, decided).await.unwrap_or_else(|_| panic!("{name} is not decided"));
}

/// Types of the events on record of a remediation, sorted.
async fn trail(product: &Product, correlation: &str) -> Vec<String> {
    let path = format!("/api/v1/audit/events?limit=100&correlation_id={correlation}");
    let (status, text) = get(product.storage, &path).await.unwrap();
    assert_eq!(status, 200, "{text}");
    let page: Value = serde_json::from_str(&text).unwrap();
    let events = page["data"].as_array().unwrap();
    let mut types: Vec<String> =
        events.iter().map(|event| event["event_type"].as_str().unwrap().to_owned()).collect();
    types.sort();
    types
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_is_killed_executions_have_one_child_and_each_event_is_stored_once() {
    let cluster = Cluster::start().await;
    cluster
        .apply_files(&[
            "crds/remediationapprovalrequests.kubernaut.ai.yaml",
            "crds/notificationrequests.kubernaut.ai.yaml",
            "authwebhook/rbac.yaml",
        ])
        .await;
    let mut product = Product::start(&cluster).await;
    let (census, watching) = census(&cluster);
    let played = [tokio::spawn(cluster.kubelet()), tokio::spawn(watching)];
    let alice = server::client(&cluster.server, User::authenticated("alice", vec![MASTERS.to_owned()]));
    let people: Api<RemediationApprovalRequest> = Api::namespaced(alice, NAMESPACE);

    let mut order: Vec<Part> = Part::ALL.into_iter().flat_map(|part| [part; KILLS]).collect();
    order.shuffle(&mut rand::rng());
    let mut deciding = Vec::new();
    let mut created = 0;
    for (nth, part) in order.iter().enumerate() {
        // A share of the work begins before each kill.
        while created < EXECUTIONS * (nth + 1) / order.len() {
            cluster.execute(&format!("we-{created}"), json!({})).await;
            deciding.push(tokio::spawn(approve(people.clone(), created)));
            created += 1;
        }
        // The time is the point: any moment may be the worst.
        let pause = |most: u64| Duration::from_millis(rand::rng().random_range(0..most));
        tokio::time::sleep(pause(900)).await;
        product.kill(*part).await;
        tokio::time::sleep(pause(400)).await;
        product.revive(*part);
    }
    product.until_ready().await;
    for decided in deciding {
        decided.await.unwrap();
    }
    for number in 0..EXECUTIONS {
        let name = format!("we-{number}");
        cluster.until_phase(&name, Phase::Completed).await;
        cluster.until_condition(&name, AUDIT_RECORDED, "AuditSucceeded").await;
    }

    let mut wrong = BTreeMap::new();
    for number in 0..EXECUTIONS {
        let correlation = format!("rr-we-{number}");
        // The decision's event may still be on its way.
        let complete = async {
            loop {
                let types = trail(&product, &correlation).await;
                if types.len() >= TRAIL.len() {
                    return types;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        match tokio::time::timeout(DEADLINE, complete).await {
            Ok(types) if types == TRAIL => {}
            Ok(types) => drop(wrong.insert(correlation, types)),
            Err(_) => {
                panic!("{correlation} has only {:?}\n{}", trail(&product, &correlation).await, product.logs())
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", product.logs());
    let (intact, said) = product.verify().await;
    println!("{KILLS} kills of each of {:?}; {said}", Part::ALL);
    assert!(intact, "{said}");
    assert!(said.contains(&format!("{} events", EXECUTIONS * TRAIL.len())), "{said}");
    let census = census.lock().unwrap();
    assert_eq!(census.len(), EXECUTIONS);
    for (execution, children) in census.iter() {
        assert_eq!(children.len(), 1, "{execution} had {children:?}");
    }
    played.iter().for_each(tokio::task::JoinHandle::abort);
}
