//! Decisions about StatefulSets as data: pods in, next writes out.

use serde_json::{Value, json};

use super::*;

const NOW: &str = "2030-01-01T00:10:00Z";

fn set(spec: Value, current: &str) -> Arc<StatefulSet> {
    let mut object = json!({
        "metadata": {"name": "db", "namespace": "ns", "uid": "u", "generation": 4},
        "spec": {
            "replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": template("v2"),
        },
        "status": {"replicas": 0, "currentRevision": current},
    });
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    Arc::new(serde_json::from_value(object).unwrap())
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

/// The recorded templates `v1` and `v2`, called so.
fn revisions() -> Vec<Arc<ControllerRevision>> {
    let record = |(number, image): (i64, &str)| {
        let mut template: PodTemplateSpec = serde_json::from_value(template(image)).unwrap();
        template.metadata.get_or_insert_default();
        let mut template = serde_json::to_value(template).unwrap();
        template["$patch"] = json!("replace");
        let object = json!({"metadata": {"name": image}, "revision": number, "data": {"spec": {"template": template}}});
        Arc::new(serde_json::from_value(object).unwrap())
    };
    [(1, "v1"), (2, "v2")].map(record).into()
}

/// A pod from one line: `ordinal revision state`, state being `ready`, `starting`, `failed` or `deleting`.
fn pod(line: &str) -> Arc<Pod> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut pod = json!({
        "metadata": {"name": format!("db-{}", words[0]), "labels": {"app": "db", REVISION_LABEL: words[1]}},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2030-01-01T00:09:00Z"}]},
    });
    match words[2] {
        "starting" => pod["status"] = json!({"phase": "Pending"}),
        "failed" => pod["status"] = json!({"phase": "Failed"}),
        "deleting" => pod["metadata"]["deletionTimestamp"] = json!(NOW),
        _ => {}
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn plan_from(current: &str, spec: Value, pods: &[&str]) -> Plan {
    decide(&Observed {
        set: set(spec, current),
        pods: pods.iter().map(|line| pod(line)).collect(),
        orphans: Vec::new(),
        revisions: revisions(),
        now: NOW.parse().unwrap(),
    })
}

fn plan(spec: Value, pods: &[&str]) -> Plan {
    plan_from("v2", spec, pods)
}

fn steps(plan: &Plan) -> String {
    let texts = plan.steps.iter().map(|step| match step {
        Step::Adopt(pod) => format!("adopt {}", pod.name_any()),
        Step::Delete(pod) => format!("-{}", pod.name_any()),
        Step::Create { pod, .. } => format!("+{} {}", pod.name_any(), revision_of(pod).unwrap()),
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn check(spec: Value, pods: &[&str], expected: &str) {
    assert_eq!(steps(&plan(spec, pods)), expected, "{pods:?}");
}

#[test]
fn pods_are_made_one_after_the_other() {
    check(json!({}), &[], "+db-0 v2");
    check(json!({}), &["0 v2 starting"], "");
    check(json!({}), &["0 v2 ready"], "+db-1 v2");
    check(json!({}), &["0 v2 ready", "2 v2 ready"], "+db-1 v2");
    check(json!({"podManagementPolicy": "Parallel"}), &["1 v2 starting"], "+db-0 v2, +db-2 v2");
    check(json!({"replicas": 1, "ordinals": {"start": 5}}), &[], "+db-5 v2");
}

#[test]
fn a_pod_that_ended_is_made_anew() {
    check(json!({}), &["0 v2 failed", "1 v2 ready"], "-db-0");
    check(json!({}), &["0 v2 deleting", "1 v2 ready"], "");
}

#[test]
fn the_last_pod_goes_first() {
    let three = ["0 v2 ready", "1 v2 ready", "2 v2 ready"];
    check(json!({"replicas": 1}), &three, "-db-2");
    check(json!({"replicas": 1}), &["0 v2 ready", "1 v2 ready", "2 v2 deleting"], "");
    check(json!({"replicas": 1, "podManagementPolicy": "Parallel"}), &three, "-db-2, -db-1");
}

#[test]
fn a_new_template_replaces_pods_from_the_end_and_waits_for_each() {
    check(json!({}), &["0 v1 ready", "1 v1 ready", "2 v1 ready"], "-db-2");
    check(json!({}), &["0 v1 ready", "1 v1 ready"], "+db-2 v2");
    check(json!({}), &["0 v1 ready", "1 v1 ready", "2 v2 starting"], "");
    check(json!({}), &["0 v1 ready", "1 v1 ready", "2 v2 ready"], "-db-1");
    let on_delete = json!({"updateStrategy": {"type": "OnDelete"}});
    check(on_delete, &["0 v1 ready", "1 v1 ready", "2 v1 ready"], "");
}

#[test]
fn pods_before_the_partition_keep_the_current_template() {
    let partition = json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}});
    let pods = ["0 v1 ready", "1 v1 ready", "2 v2 ready"];
    assert_eq!(steps(&plan_from("v1", partition.clone(), &pods)), "");
    assert_eq!(steps(&plan_from("v1", partition, &["0 v1 ready"])), "+db-1 v1");
}

#[test]
fn a_finished_rollout_makes_the_new_template_the_current_one() {
    let counts = |plan: Plan| {
        let StatefulSetStatus { current_revision, current_replicas, updated_replicas, .. } = plan.status;
        (current_revision.unwrap(), current_replicas.unwrap_or(0), updated_replicas.unwrap_or(0))
    };
    let under_way = plan_from("v1", json!({}), &["0 v1 ready", "1 v1 ready", "2 v2 ready"]);
    assert_eq!(counts(under_way), ("v1".to_owned(), 2, 1));
    let done = plan_from("v1", json!({}), &["0 v2 ready", "1 v2 ready", "2 v2 ready"]);
    assert_eq!(counts(done), ("v2".to_owned(), 3, 3));
}

#[test]
fn availability_takes_its_time() {
    let waiting = plan(json!({"minReadySeconds": 90}), &["0 v2 ready"]);
    assert_eq!((steps(&waiting), waiting.look_again), (String::new(), Some(Duration::from_secs(30))));
    assert_eq!(waiting.status.available_replicas, Some(0));
}

#[test]
fn each_pod_has_its_own_name_host_and_claims() {
    let spec = json!({"volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]});
    let plan = plan(spec, &["0 v2 ready"]);
    let [Step::Create { pod, claims }] = plan.steps.as_slice() else { panic!("{plan:?}") };
    let spec = serde_json::to_value(pod.spec.as_ref().unwrap()).unwrap();
    assert_eq!((&spec["hostname"], &spec["subdomain"]), (&json!("db-1"), &json!("db")));
    assert_eq!(spec["volumes"][0]["persistentVolumeClaim"]["claimName"], "data-db-1");
    assert_eq!(labels(&**pod)["statefulset.kubernetes.io/pod-name"], "db-1");
    let claim = &claims[0].metadata;
    assert_eq!((claim.name.as_deref(), claim.namespace.as_deref()), (Some("data-db-1"), Some("ns")));
    assert_eq!(claim.labels.as_ref().unwrap()["app"], "db");
}
