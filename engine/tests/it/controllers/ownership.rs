//! What happens to dependents when their owner is deleted.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DeleteParams, DynamicObject};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::cluster::{Cluster, create, merge, until, until_gone, until_one};
use super::workloads::deployment;

const NS: &str = "family";

/// A cluster with the Deployment `web` and its pod.
async fn with_deployment() -> Cluster {
    let cluster = Cluster::with_namespace(NS).await;
    create(&cluster.api::<Deployment>(NS), deployment("web", 1)).await;
    until(&cluster.api::<Pod>(NS), |pods| pods.len() == 1).await;
    cluster
}

#[tokio::test]
async fn background_deletion_takes_the_dependents_afterwards() {
    let cluster = with_deployment().await;
    cluster.api::<Deployment>(NS).delete("web", &DeleteParams::background()).await.unwrap();
    assert!(cluster.api::<Deployment>(NS).get_opt("web").await.unwrap().is_none());
    until(&cluster.api::<ReplicaSet>(NS), |sets| sets.is_empty()).await;
    until(&cluster.api::<Pod>(NS), |pods| pods.is_empty()).await;
}

#[tokio::test]
async fn foreground_deletion_takes_the_dependents_first() {
    let cluster = with_deployment().await;
    let pods = cluster.api::<Pod>(NS);
    let pod = until(&pods, |pods| pods.len() == 1).await.into_keys().next().unwrap();
    merge(&pods, &pod, json!({"metadata": {"finalizers": ["example.org/wait"]}})).await;
    let deployments = cluster.api::<Deployment>(NS);
    deployments.delete("web", &DeleteParams::foreground()).await.unwrap();
    until_one(&pods, &pod, |pod| pod.metadata.deletion_timestamp.is_some()).await;
    let waiting = deployments.get("web").await.unwrap();
    assert_eq!(waiting.finalizers(), ["foregroundDeletion"]);
    merge(&pods, &pod, json!({"metadata": {"finalizers": []}})).await;
    until_gone(&deployments, "web").await;
    assert!(cluster.api::<ReplicaSet>(NS).list(&Default::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn orphaned_dependents_stay_without_their_owner() {
    let cluster = with_deployment().await;
    let deployments = cluster.api::<Deployment>(NS);
    deployments.delete("web", &DeleteParams::orphan()).await.unwrap();
    until_gone(&deployments, "web").await;
    let sets = cluster.api::<ReplicaSet>(NS).list(&Default::default()).await.unwrap().items;
    assert_eq!(sets.len(), 1);
    assert!(sets[0].owner_references().is_empty());
    assert_eq!(cluster.api::<Pod>(NS).list(&Default::default()).await.unwrap().items.len(), 1);
}

fn definition(plural: &str, kind: &str) -> Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "metadata": {"name": format!("{plural}.example.org")},
        "spec": {
            "group": "example.org", "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

#[tokio::test]
async fn custom_resources_own_and_are_owned_like_any_other() {
    let cluster = Cluster::with_namespace(NS).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client.clone());
    create(&definitions, definition("widgets", "Widget")).await;
    let resource = ApiResource {
        group: "example.org".into(),
        version: "v1".into(),
        api_version: "example.org/v1".into(),
        kind: "Widget".into(),
        plural: "widgets".into(),
    };
    let widgets: Api<DynamicObject> = Api::namespaced_with(cluster.client.clone(), NS, &resource);
    let maps = cluster.api::<ConfigMap>(NS);
    for name in ["one", "two"] {
        let widget = json!({"apiVersion": "example.org/v1", "kind": "Widget", "metadata": {"name": name}});
        let widget = create(&widgets, widget).await;
        let owner = json!({
            "apiVersion": "example.org/v1", "kind": "Widget", "name": name, "uid": widget.uid(),
        });
        create(&maps, json!({"metadata": {"name": name, "ownerReferences": [owner]}})).await;
    }
    widgets.delete("one", &DeleteParams::background()).await.unwrap();
    until_gone(&maps, "one").await;
    assert!(maps.get_opt("two").await.unwrap().is_some());
    // The definition takes its objects with it, and they take what they own.
    definitions.delete("widgets.example.org", &DeleteParams::background()).await.unwrap();
    until_gone(&maps, "two").await;
}

#[tokio::test]
async fn an_object_whose_owner_never_was_goes() {
    let cluster = Cluster::with_namespace(NS).await;
    let maps = cluster.api::<ConfigMap>(NS);
    let owner =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "kube-root-ca.crt", "uid": "earlier"});
    create(&maps, json!({"metadata": {"name": "lost", "ownerReferences": [owner]}})).await;
    until_gone(&maps, "lost").await;
    assert!(maps.get_opt("kube-root-ca.crt").await.unwrap().is_some());
}
