use std::path::Path;
use std::time::Duration;

use super::*;
use crate::components::Readiness;
use crate::document;

const DECLARED: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
";

const SERVICE: &str = "{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {clusterIP: 10.96.0.9, selector: {app: web}}}";

fn rendered(readiness: Readiness) -> RenderedComponent {
    RenderedComponent {
        name: "web".to_owned(),
        needs: Vec::new(),
        deadline: Duration::from_secs(1),
        readiness,
        provides: Vec::new(),
        restarts: 2,
        objects: document::read(Path::new("web.yaml"), DECLARED).unwrap(),
        admission_probe: None,
    }
}

fn deployment(ready: u8) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: web, namespace: shop, uid: d}}, spec: {{replicas: 1}}, status: {{observedGeneration: 1, updatedReplicas: 1, replicas: 1, readyReplicas: {ready}, availableReplicas: {ready}}}}}"
    )
}

fn replica_set(uid: &str, revision: u8) -> String {
    format!(
        "{{apiVersion: apps/v1, kind: ReplicaSet, metadata: {{name: web-{uid}, namespace: shop, uid: {uid}, annotations: {{deployment.kubernetes.io/revision: '{revision}'}}, ownerReferences: [{{uid: d}}]}}}}"
    )
}

fn doomed_pod(owner: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: web-{owner}-1, namespace: shop, ownerReferences: [{{uid: {owner}}}]}}, status: {{containerStatuses: [{{name: web, restartCount: 0, state: {{waiting: {{reason: ErrImagePull, message: not found}}}}}}]}}}}"
    )
}

fn verdict(readiness: Readiness, live: &[String]) -> Verdict {
    let live: Vec<Value> = live.iter().map(|yaml| serde_saphyr::from_str(yaml).unwrap()).collect();
    component(&rendered(readiness), &Live::of(&live), &mut BTreeMap::new(), Instant::now())
}

#[test]
fn a_doomed_pod_of_the_newest_revision_fails_the_component() {
    let live =
        [SERVICE.to_owned(), deployment(0), replica_set("old", 1), replica_set("new", 2), doomed_pod("new")];
    let Verdict::Failed(lacking) = verdict(Readiness::Objects, &live) else { panic!("not failed") };
    let lines: Vec<String> = lacking.iter().map(|(id, message)| format!("{id}: {message}")).collect();
    assert_eq!(
        lines,
        [
            "Pod shop/web-new-1: container `web`: its image cannot be pulled: not found",
            "Deployment shop/web: 0 of 1 replicas are ready",
        ]
    );
}

#[test]
fn a_doomed_pod_of_an_older_revision_does_not() {
    let live =
        [SERVICE.to_owned(), deployment(0), replica_set("old", 1), replica_set("new", 2), doomed_pod("old")];
    assert!(matches!(verdict(Readiness::Objects, &live), Verdict::Waiting(_)));
    let live =
        [SERVICE.to_owned(), deployment(1), replica_set("old", 1), replica_set("new", 2), doomed_pod("old")];
    assert_eq!(verdict(Readiness::Objects, &live), Verdict::Current);
}

#[test]
fn endpoints_are_wanted_only_when_declared() {
    let slice = |ready: bool| {
        format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {{name: web-x, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}, endpoints: [{{addresses: [10.244.0.2], conditions: {{ready: {ready}}}}}]}}"
        )
    };
    let live = |extra: Option<String>| {
        [SERVICE.to_owned(), deployment(1)].into_iter().chain(extra).collect::<Vec<_>>()
    };
    assert_eq!(verdict(Readiness::Objects, &live(None)), Verdict::Current);
    assert!(matches!(verdict(Readiness::Endpoints, &live(None)), Verdict::Waiting(_)));
    assert!(matches!(verdict(Readiness::Endpoints, &live(Some(slice(false)))), Verdict::Waiting(_)));
    assert_eq!(verdict(Readiness::Endpoints, &live(Some(slice(true)))), Verdict::Current);
}

#[test]
fn an_object_that_vanished_is_missed_by_name() {
    let Verdict::Waiting(lacking) = verdict(Readiness::Objects, &[SERVICE.to_owned()]) else {
        panic!("not waiting")
    };
    assert_eq!(lacking[0].1, "it was deleted after it had been applied");
}
