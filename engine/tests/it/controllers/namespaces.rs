//! What namespaces get, and how they go.

use std::cell::RefCell;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Pod};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;

use super::cluster::{Cluster, create, merge, until, until_gone, until_one};
use super::workloads::deployment;

const NS: &str = "brief";

#[tokio::test]
async fn every_namespace_gets_the_authority_of_the_cluster() {
    let cluster = Cluster::with_namespace(NS).await;
    for namespace in ["default", NS] {
        let map = until_one(&cluster.api::<ConfigMap>(namespace), "kube-root-ca.crt", |_| true).await;
        assert!(map.data.unwrap()["ca.crt"].starts_with("-----BEGIN CERTIFICATE-----"));
    }
}

#[tokio::test]
async fn a_deleted_namespace_is_emptied_and_goes() {
    let cluster = Cluster::with_namespace(NS).await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    create(&cluster.api::<Deployment>(NS), deployment("web", 2)).await;
    let pods = cluster.api::<Pod>(NS);
    let pod = until(&pods, |pods| pods.len() == 2).await.into_keys().next().unwrap();
    merge(&pods, &pod, json!({"metadata": {"finalizers": ["example.org/wait"]}})).await;
    namespaces.delete(NS, &DeleteParams::default()).await.unwrap();
    // Pods go first; what else there is waits for them, and the namespace says so.
    let waiting = until_one(&namespaces, NS, |namespace| {
        let conditions = namespace.status.as_ref().and_then(|status| status.conditions.as_ref());
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|one| one.type_ == "NamespaceFinalizersRemaining" && one.status == "True")
    })
    .await;
    assert_eq!(waiting.status.unwrap().phase.as_deref(), Some("Terminating"));
    assert!(cluster.api::<ConfigMap>(NS).get_opt("kube-root-ca.crt").await.unwrap().is_some());
    merge(&pods, &pod, json!({"metadata": {"finalizers": []}})).await;
    until_gone(&namespaces, NS).await;
    assert!(cluster.api::<ConfigMap>(NS).list(&Default::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_namespace_without_pods_goes_in_one_pass() {
    let cluster = Cluster::with_namespace(NS).await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let events = cluster.api::<Event>(NS);
    let about = json!({"kind": "ConfigMap", "name": "x", "namespace": NS});
    create(&events, json!({"metadata": {"name": "x.1"}, "involvedObject": about, "reason": "Test"})).await;
    namespaces.delete(NS, &DeleteParams::default()).await.unwrap();
    // What a pass leaves behind is written into the conditions.
    let conditions = RefCell::new(Vec::new());
    until(&namespaces, |all| {
        let status = all.get(NS).and_then(|namespace| namespace.status.clone());
        conditions.borrow_mut().extend(status.and_then(|status| status.conditions).into_iter().flatten());
        !all.contains_key(NS)
    })
    .await;
    assert_eq!(conditions.into_inner(), []);
    assert!(events.list(&Default::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn aggregated_roles_are_filled() {
    let cluster = Cluster::start().await;
    let roles: Api<ClusterRole> = Api::all(cluster.client.clone());
    let resources = |role: &ClusterRole| -> Vec<String> {
        role.rules.iter().flatten().flat_map(|rule| rule.resources.clone().unwrap_or_default()).collect()
    };
    let extra = json!({
        "metadata": {"name": "widgets-view", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": ["example.org"], "resources": ["widgets"], "verbs": ["get"]}],
    });
    create(&roles, extra).await;
    // From view into edit into admin.
    let admin = until_one(&roles, "admin", |role| resources(role).iter().any(|one| one == "widgets")).await;
    assert!(resources(&admin).iter().any(|one| one == "rolebindings"));
}
