//! A claim of the default class, from a pod that needs it to the directory that is gone with it.

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::cluster::{Cluster, create, until, until_gone, until_one};

const NS: &str = "data";

#[tokio::test]
async fn a_claim_is_bound_for_its_first_pod_and_its_data_goes_with_it() {
    let cluster = Cluster::with_namespace(NS).await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let node = json!({"metadata": {"name": "one", "labels": {"kubernetes.io/hostname": "one"}}});
    create(&nodes, node).await;
    let capacity = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
    let status = json!({"status": {"capacity": capacity, "allocatable": capacity, "conditions": [{"type": "Ready", "status": "True"}]}});
    nodes.patch_status("one", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();

    let claims = cluster.api::<PersistentVolumeClaim>(NS);
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    create(&claims, json!({"metadata": {"name": "data"}, "spec": spec})).await;
    let pods = cluster.api::<Pod>(NS);
    create(
        &pods,
        json!({
            "metadata": {"name": "writer"},
            "spec": {
                "containers": [{"name": "c", "image": "image:1"}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
            },
        }),
    )
    .await;
    let pod = until_one(&pods, "writer", |pod| pod.spec.as_ref().unwrap().node_name.is_some()).await;
    assert_eq!(pod.spec.unwrap().node_name.as_deref(), Some("one"));
    let claim = until_one(&claims, "data", |claim| {
        claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
    })
    .await;
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    let name = claim.spec.unwrap().volume_name.unwrap();
    let volume = until_one(&volumes, &name, |volume| {
        volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
    })
    .await;
    let path = std::path::PathBuf::from(volume.spec.unwrap().host_path.unwrap().path);
    assert!(path.starts_with(cluster.volumes.path()), "{path:?}");
    std::fs::write(path.join("file"), "content").unwrap();

    // A claim in use is kept until its pod has gone.
    claims.delete("data", &DeleteParams::default()).await.unwrap();
    until_one(&claims, "data", |claim| claim.metadata.deletion_timestamp.is_some()).await;
    assert!(path.join("file").exists());
    pods.delete("writer", &DeleteParams::default().grace_period(0)).await.unwrap();
    until_gone(&claims, "data").await;
    until(&volumes, |volumes| volumes.is_empty()).await;
    assert!(!path.exists());
}
