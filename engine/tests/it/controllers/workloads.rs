//! Deployments, Jobs and StatefulSets with their pods.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::cluster::{Cluster, create, merge, report, until, until_one};

const NS: &str = "work";

pub fn template(app: &str, image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": [{"name": "c", "image": image}]},
    })
}

pub fn deployment(name: &str, replicas: i32) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, "image:1"),
        },
    })
}

fn image(pod: &Pod) -> &str {
    pod.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap()
}

fn count(pods: &BTreeMap<String, Pod>, wanted: &str) -> usize {
    pods.values().filter(|pod| image(pod) == wanted).count()
}

#[tokio::test]
async fn a_deployment_is_made_scaled_and_rolled() {
    let cluster = Cluster::with_namespace(NS).await;
    let deployments = cluster.api::<Deployment>(NS);
    let pods = cluster.api::<Pod>(NS);
    create(&deployments, deployment("web", 2)).await;
    let two = until(&pods, |pods| pods.len() == 2).await;
    for name in two.keys() {
        report(&pods, name, "Running").await;
    }
    let available = |wanted: i32| {
        move |deployment: &Deployment| {
            let status = deployment.status.clone().unwrap_or_default();
            status.available_replicas == Some(wanted)
                && status.updated_replicas == Some(wanted)
                && status.replicas == Some(wanted)
                && status.observed_generation == deployment.metadata.generation
        }
    };
    until_one(&deployments, "web", available(2)).await;

    merge(&deployments, "web", json!({"spec": {"replicas": 3}})).await;
    let three = until(&pods, |pods| pods.len() == 3).await;
    let added = three.keys().find(|name| !two.contains_key(*name)).unwrap();
    report(&pods, added, "Running").await;
    until_one(&deployments, "web", available(3)).await;

    merge(&deployments, "web", json!({"spec": {"template": template("web", "image:2")}})).await;
    loop {
        let now = until(&pods, |pods| {
            count(pods, "image:1") == 0 && pods.len() == 3
                || pods.values().any(|pod| image(pod) == "image:2" && !is_ready(pod))
        })
        .await;
        let starting = now.values().filter(|pod| image(pod) == "image:2" && !is_ready(pod));
        let names: Vec<String> = starting.map(ResourceExt::name_any).collect();
        if names.is_empty() {
            break;
        }
        assert!(now.len() <= 4, "more than one pod above the wanted number: {:?}", now.keys());
        for name in names {
            report(&pods, &name, "Running").await;
        }
    }
    until_one(&deployments, "web", available(3)).await;
    let sets = cluster.api::<ReplicaSet>(NS);
    let sizes = |sets: &BTreeMap<String, ReplicaSet>| {
        let mut sizes: Vec<i32> =
            sets.values().map(|set| set.spec.as_ref().unwrap().replicas.unwrap()).collect();
        sizes.sort_unstable();
        sizes
    };
    until(&sets, |sets| sizes(sets) == [0, 3]).await;
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
}

#[tokio::test]
async fn a_job_counts_its_pods_and_completes() {
    let cluster = Cluster::with_namespace(NS).await;
    let jobs = cluster.api::<Job>(NS);
    let pods = cluster.api::<Pod>(NS);
    let mut template = template("count", "image:1");
    template["spec"]["restartPolicy"] = json!("Never");
    let spec = json!({"completions": 3, "parallelism": 2, "template": template});
    create(&jobs, json!({"metadata": {"name": "count"}, "spec": spec})).await;
    for round in 1..=3 {
        let running = |pod: &&Pod| pod.status.as_ref().unwrap().phase.as_deref() == Some("Pending");
        let expected = if round == 3 { 1 } else { 2 };
        let now = until(&pods, |pods| pods.values().filter(running).count() == expected).await;
        let name = now.values().find(running).unwrap().name_any();
        report(&pods, &name, "Succeeded").await;
        let counted = |job: &Job| job.status.as_ref().and_then(|status| status.succeeded) == Some(round);
        until_one(&jobs, "count", counted).await;
    }
    let done = until_one(&jobs, "count", |job| {
        let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
        conditions.into_iter().flatten().any(|one| one.type_ == "Complete" && one.status == "True")
    })
    .await;
    assert_eq!(done.status.unwrap().failed, None);
}

#[tokio::test]
async fn a_stateful_set_makes_its_pods_in_order_with_a_claim_each() {
    use k8s_openapi::api::core::v1::PersistentVolumeClaim;
    let cluster = Cluster::with_namespace(NS).await;
    let sets = cluster.api::<StatefulSet>(NS);
    let pods = cluster.api::<Pod>(NS);
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let spec = json!({
        "replicas": 2, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "template": template("db", "image:1"), "volumeClaimTemplates": [claim],
    });
    create(&sets, json!({"metadata": {"name": "db"}, "spec": spec})).await;
    let first = until(&pods, |pods| !pods.is_empty()).await;
    assert_eq!(first.keys().collect::<Vec<_>>(), ["db-0"]);
    report(&pods, "db-0", "Running").await;
    until(&pods, |pods| pods.contains_key("db-1")).await;
    report(&pods, "db-1", "Running").await;
    until_one(&sets, "db", |set| {
        set.status.as_ref().is_some_and(|status| status.available_replicas == Some(2))
    })
    .await;
    let claims = until(&cluster.api::<PersistentVolumeClaim>(NS), |claims| claims.len() == 2).await;
    assert_eq!(claims.keys().collect::<Vec<_>>(), ["data-db-0", "data-db-1"]);

    merge(&sets, "db", json!({"spec": {"template": template("db", "image:2")}})).await;
    for name in ["db-1", "db-0"] {
        until_one(&pods, name, |pod| image(pod) == "image:2").await;
        report(&pods, name, "Running").await;
    }
    until_one(&sets, "db", |set| {
        let status = set.status.clone().unwrap_or_default();
        status.current_revision == status.update_revision && status.available_replicas == Some(2)
    })
    .await;
}
