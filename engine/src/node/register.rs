//! The Node object and the lease that says the node is alive.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Node as NodeObject, NodeAddress, NodeCondition, NodeStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::Node;
use crate::controllers::events::Note;

/// Namespace of the leases of nodes.
const LEASES: &str = "kube-node-lease";
/// How long a node counts as alive after it renewed its lease.
const LEASE_LASTS: i32 = 40;
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How soon it is tried again when it could not be.
const RETRY: Duration = Duration::from_secs(1);
/// How often the status is written though nothing in it has changed.
const REPORT_EVERY: Duration = Duration::from_secs(300);

/// Registers the node and keeps it alive until `shutdown`.
pub(super) async fn keep(node: &Node, shutdown: &CancellationToken) {
    let work = async {
        until_done("register the node", || register(node)).await;
        until_done("report the node's status", || report(node)).await;
        let mut reported = tokio::time::Instant::now();
        loop {
            until_done("renew the node's lease", || renew(node)).await;
            tokio::time::sleep(RENEW_EVERY).await;
            if reported.elapsed() >= REPORT_EVERY {
                until_done("report the node's status", || report(node)).await;
                reported = tokio::time::Instant::now();
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

async fn until_done<F>(what: &str, action: impl Fn() -> F)
where
    F: Future<Output = Result<(), kube::Error>>,
{
    while let Err(error) = action().await {
        tracing::warn!(%error, "cannot {what}");
        tokio::time::sleep(RETRY).await;
    }
}

async fn register(node: &Node) -> Result<(), kube::Error> {
    let nodes: Api<NodeObject> = Api::all(node.client.clone());
    let platform = node.machine.info(&node.options.version);
    let labels = [
        ("kubernetes.io/hostname", node.options.name.clone()),
        ("kubernetes.io/arch", platform.architecture.clone()),
        ("kubernetes.io/os", platform.operating_system),
        ("beta.kubernetes.io/arch", platform.architecture),
        ("beta.kubernetes.io/os", "linux".to_owned()),
        ("node-role.kubernetes.io/control-plane", String::new()),
    ];
    let labels: BTreeMap<String, String> =
        labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let object = NodeObject {
        metadata: ObjectMeta {
            name: Some(node.options.name.clone()),
            labels: Some(labels.clone()),
            ..ObjectMeta::default()
        },
        ..NodeObject::default()
    };
    match nodes.create(&PostParams::default(), &object).await {
        Ok(created) => {
            let note = Note::normal("Starting", "Starting kubelet.");
            node.events.record("kubelet", &created, note);
            Ok(())
        }
        // Registered by an earlier run.
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            let patch = json!({"metadata": {"labels": labels}});
            nodes.patch(&node.options.name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
        }
        Err(error) => Err(error),
    }
}

async fn report(node: &Node) -> Result<(), kube::Error> {
    let nodes: Api<NodeObject> = Api::all(node.client.clone());
    let name = &node.options.name;
    let known = nodes.get(name).await?.status.unwrap_or_default();
    let status = status(node, &known, Timestamp::now());
    let patch = Patch::Strategic(json!({"status": status}));
    nodes.patch_status(name, &PatchParams::default(), &patch).await.map(drop)
}

fn status(node: &Node, known: &NodeStatus, now: Timestamp) -> NodeStatus {
    let resources = node.machine.resources();
    let quantities: BTreeMap<String, Quantity> =
        resources.into_iter().map(|(name, amount)| (name, Quantity(amount))).collect();
    let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", node.address()),
            address("Hostname", node.options.name.clone()),
        ]),
        capacity: Some(quantities.clone()),
        allocatable: Some(quantities),
        conditions: Some(conditions(known, now)),
        node_info: Some(node.machine.info(&node.options.version)),
        ..NodeStatus::default()
    }
}

fn conditions(known: &NodeStatus, now: Timestamp) -> Vec<NodeCondition> {
    [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    .into_iter()
    .map(|(type_, status, reason, message)| {
        let before = known.conditions.iter().flatten();
        let same = before.into_iter().find(|known| known.type_ == type_ && known.status == status);
        let since = same.and_then(|known| known.last_transition_time.clone());
        NodeCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(Time(now)),
            last_transition_time: Some(since.unwrap_or(Time(now))),
        }
    })
    .collect()
}

async fn renew(node: &Node) -> Result<(), kube::Error> {
    let leases: Api<Lease> = Api::namespaced(node.client.clone(), LEASES);
    let name = &node.options.name;
    let spec = LeaseSpec {
        holder_identity: Some(name.clone()),
        lease_duration_seconds: Some(LEASE_LASTS),
        renew_time: Some(MicroTime(Timestamp::now())),
        ..LeaseSpec::default()
    };
    let patch = Patch::Merge(json!({"spec": spec}));
    match leases.patch(name, &PatchParams::default(), &patch).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => {
            let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(spec) };
            leases.create(&PostParams::default(), &lease).await.map(drop)
        }
        other => other.map(drop),
    }
}
