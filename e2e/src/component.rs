//! Components of the product: the Deployments in the system namespace, killed and switched off on purpose.

use anyhow::{Context, Result, ensure};
use api::names::SYSTEM_NAMESPACE;
use futures::FutureExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::cluster::Cluster;
use crate::wait::{Seen, until};

/// The Deployment of the controller.
pub const CONTROLLER: &str = "workflowexecution-controller";
/// The Deployment of the audit trail.
pub const DATASTORAGE: &str = "datastorage";

/// Kills every pod of Deployment `name` without grace, and waits until others are ready.
pub async fn kill(cluster: &Cluster, name: &str) -> Result<()> {
    let api = pods_api(cluster);
    let doomed = pods(cluster, name).await?;
    ensure!(!doomed.is_empty(), "Deployment {name} has no pod to kill");
    for pod in &doomed {
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        match api.delete(&pod.name_any(), &now).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error).with_context(|| format!("failed to kill {}", pod.name_any())),
        }
    }
    let uids: Vec<_> = doomed.iter().map(ResourceExt::uid).collect();
    until(&format!("Deployment {name} has a new ready pod"), 90, async || {
        let pods = match pods(cluster, name).await {
            Ok(pods) => pods,
            Err(error) => return Ok(Seen::NotYet(format!("{error:#}"))),
        };
        let fresh = pods.iter().filter(|pod| !uids.contains(&pod.uid()));
        if fresh.clone().any(is_ready) {
            return Ok(Seen::Yes(()));
        }
        let states =
            fresh.map(|pod| serde_json::to_string_pretty(&pod.status)).collect::<Result<Vec<_>, _>>()?;
        Ok(Seen::NotYet(states.join("\n")))
    })
    .await
}

/// Does `body` while Deployment `name` has no pod, and switches it on again whatever happens.
pub async fn without<T>(cluster: &Cluster, name: &str, body: impl Future<Output = Result<T>>) -> Result<T> {
    scale(cluster, name, 0).await?;
    let outcome = std::panic::AssertUnwindSafe(body).catch_unwind().await;
    scale(cluster, name, 1).await?;
    match outcome {
        Ok(outcome) => outcome,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Sets the number of pods of Deployment `name`, and waits for it.
async fn scale(cluster: &Cluster, name: &str, replicas: i32) -> Result<()> {
    let api = Api::<Deployment>::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    let patch = Patch::Merge(json!({"spec": {"replicas": replicas}}));
    api.patch(name, &PatchParams::default(), &patch)
        .await
        .with_context(|| format!("failed to scale Deployment {name} to {replicas}"))?;
    until(&format!("Deployment {name} has {replicas} ready pods"), 90, async || {
        let pods = match pods(cluster, name).await {
            Ok(pods) => pods,
            Err(error) => return Ok(Seen::NotYet(format!("{error:#}"))),
        };
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        if ready == replicas.unsigned_abs() as usize && (replicas > 0 || pods.is_empty()) {
            return Ok(Seen::Yes(()));
        }
        let states = pods
            .iter()
            .map(|pod| serde_json::to_string_pretty(&pod.status))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Seen::NotYet(states.join("\n")))
    })
    .await
}

/// The pods of Deployment `name`, by its own selector.
async fn pods(cluster: &Cluster, name: &str) -> Result<Vec<Pod>> {
    let api = Api::<Deployment>::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE);
    let deployment = api.get(name).await.with_context(|| format!("failed to read Deployment {name}"))?;
    let labels = deployment.spec.and_then(|spec| spec.selector.match_labels).unwrap_or_default();
    let selector: Vec<String> = labels.iter().map(|(label, value)| format!("{label}={value}")).collect();
    Ok(pods_api(cluster).list(&ListParams::default().labels(&selector.join(","))).await?.items)
}

fn pods_api(cluster: &Cluster) -> Api<Pod> {
    Api::namespaced(cluster.client.clone(), SYSTEM_NAMESPACE)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready =
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}
