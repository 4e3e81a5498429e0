//! Decisions about Deployments as data: ReplicaSets in, next writes out.

use serde_json::{Value, json};

use super::*;

const NOW: &str = "2030-01-01T00:10:00Z";

fn deployment(change: Value) -> Arc<Deployment> {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "d", "generation": 2},
        "spec": {
            "replicas": 4, "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"app": "web"}},
            "template": template("v2"),
        },
    });
    merge(&mut object, &change);
    Arc::new(serde_json::from_value(object).unwrap())
}

fn merge(into: &mut Value, change: &Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            change.iter().for_each(|(key, value)| merge(into.entry(key).or_insert(Value::Null), value));
        }
        (into, change) => *into = change.clone(),
    }
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

/// A ReplicaSet from one line: `image wanted replicas ready available [revision]`; its name is the image.
fn set(line: &str) -> Arc<ReplicaSet> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let count = |index: usize| words[index].parse::<i32>().unwrap();
    let mut template = template(words[0]);
    template["metadata"]["labels"][HASH_LABEL] = json!(words[0]);
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {
                "name": words[0], "namespace": "ns", "uid": words[0], "labels": {"app": "web"},
                "annotations": {REVISION: words.get(5).unwrap_or(&"1")},
            },
            "spec": {"replicas": count(1), "selector": {"matchLabels": {"app": "web"}}, "template": template},
            "status": {"replicas": count(2), "readyReplicas": count(3), "availableReplicas": count(4)},
        }))
        .unwrap(),
    )
}

fn plan(deployment: Arc<Deployment>, sets: &[&str], pods: &[&str]) -> Plan {
    let pod = |owner: &&str| {
        let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "controller": true}]);
        Arc::new(serde_json::from_value(json!({"metadata": {"ownerReferences": owner}})).unwrap())
    };
    decide(&Observed {
        deployment,
        owned: sets.iter().map(|line| set(line)).collect(),
        orphans: Vec::new(),
        pods: pods.iter().map(pod).collect(),
        now: NOW.parse().unwrap(),
    })
}

/// Steps as text, annotations left out: `create 4`, `v1=3`, `delete v0`.
fn steps(plan: &Plan) -> String {
    let texts = plan.steps.iter().filter_map(|step| match step {
        Step::Create(set) => Some(format!("create {}", wanted(set))),
        Step::Scale(scale) => Some(format!("{}={}", scale.set.name_any(), scale.to)),
        Step::Delete(set) => Some(format!("delete {}", set.name_any())),
        Step::Adopt(set) => Some(format!("adopt {}", set.name_any())),
        Step::Release(set) => Some(format!("release {}", set.name_any())),
        Step::Annotate(..) => None,
    });
    texts.collect::<Vec<_>>().join(" ")
}

fn check(change: Value, sets: &[&str], expected: &str) {
    assert_eq!(steps(&plan(deployment(change), sets, &[])), expected, "{sets:?}");
}

fn rolling(surge: impl serde::Serialize, unavailable: impl serde::Serialize) -> Value {
    json!({"spec": {"strategy": {"type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}}})
}

#[test]
fn first_replica_set_is_created_at_full_size() {
    check(json!({}), &[], "create 4");
    check(json!({"spec": {"replicas": 0}}), &[], "create 0");
}

#[test]
fn scaling_follows_the_desired_size() {
    check(json!({}), &["v2 2 2 2 2"], "v2=4");
    check(json!({"spec": {"replicas": 0}}), &["v2 4 4 4 4"], "v2=0");
    check(json!({}), &["v2 4 4 4 4"], "");
}

#[test]
fn rolling_update_stays_within_surge_and_unavailability() {
    check(rolling(1, 0), &["v1 4 4 4 4"], "create 1");
    check(rolling(1, 0), &["v1 4 4 4 4", "v2 1 1 0 0"], "");
    check(rolling(1, 0), &["v1 4 4 4 4", "v2 1 1 1 1"], "v1=3");
    check(rolling(1, 0), &["v1 3 3 3 3", "v2 1 1 1 1"], "v2=2");
    check(rolling(0, 1), &["v1 4 4 4 4"], "create 0");
    check(rolling(0, 1), &["v1 4 4 4 4", "v2 0 0 0 0"], "v1=3");
    check(rolling("50%", "25%"), &["v1 4 4 4 4"], "create 2");
    check(rolling("50%", "25%"), &["v1 4 4 4 4", "v2 2 2 0 0"], "v1=3");
    check(rolling("0%", "0%"), &["v1 4 4 4 4", "v2 0 0 0 0"], "v1=3");
}

#[test]
fn old_pods_that_serve_nobody_go_first() {
    check(rolling(1, 0), &["v0 2 2 0 0", "v1 3 3 3 3", "v2 0 0 0 0"], "v0=1");
    check(rolling(1, 1), &["v0 1 1 0 0", "v1 3 3 3 3", "v2 1 1 0 0"], "v0=0");
}

#[test]
fn recreate_waits_for_the_last_old_pod() {
    let recreate = json!({"spec": {"strategy": {"type": "Recreate"}}});
    check(recreate.clone(), &["v1 4 4 4 4"], "v1=0");
    let waiting = plan(deployment(recreate.clone()), &["v1 0 0 0 0"], &["v1"]);
    assert_eq!(steps(&waiting), "");
    check(recreate.clone(), &["v1 0 0 0 0"], "create 4");
    check(recreate, &["v1 0 0 0 0", "v2 1 1 1 1"], "v2=4");
}

#[test]
fn paused_deployment_scales_but_does_not_roll() {
    check(json!({"spec": {"paused": true}}), &["v1 4 4 4 4"], "");
    check(json!({"spec": {"paused": true, "replicas": 2}}), &["v1 4 4 4 4"], "v1=2");
    check(json!({"spec": {"paused": true}}), &[], "");
}

#[test]
fn history_keeps_the_newest_revisions() {
    let sets = ["v0 0 0 0 0 1", "v1 0 0 0 0 2", "v2 4 4 4 4 3"];
    check(json!({"spec": {"revisionHistoryLimit": 1}}), &sets, "delete v0");
    check(json!({"spec": {"revisionHistoryLimit": 0}}), &sets, "delete v0 delete v1");
    check(json!({}), &sets, "");
}

#[test]
fn return_to_an_old_template_reuses_its_replica_set_with_a_new_revision() {
    let plan = plan(deployment(json!({})), &["v2 0 0 0 0 1", "v3 4 4 4 4 2"], &[]);
    assert_eq!(plan.revision.as_deref(), Some("3"));
    assert_eq!(steps(&plan), "v2=1");
}

#[test]
fn new_replica_set_carries_hash_selector_and_revision() {
    let plan = plan(
        deployment(json!({"metadata": {"annotations": {"team": "a", REVISION: "1"}}})),
        &["v1 4 4 4 4"],
        &[],
    );
    let Some(Step::Create(set)) = plan.steps.first() else { panic!("{:?}", plan.steps) };
    let spec = set.spec.as_ref().unwrap();
    let hash = &set.labels()[HASH_LABEL];
    assert_eq!(set.name_any(), format!("web-{hash}"));
    assert_eq!(&spec.selector.match_labels.as_ref().unwrap()[HASH_LABEL], hash);
    assert_eq!(
        &spec.template.as_ref().unwrap().metadata.as_ref().unwrap().labels.as_ref().unwrap()[HASH_LABEL],
        hash
    );
    let annotations = set.annotations();
    assert_eq!((annotations[REVISION].as_str(), annotations["team"].as_str()), ("2", "a"));
    assert_eq!((annotations[DESIRED].as_str(), annotations[MAXIMUM].as_str()), ("4", "5"));
}

fn reason(plan: &Plan, type_: &str) -> String {
    let condition = status::get(&plan.status, type_).unwrap();
    format!("{} {}", condition.status, condition.reason.as_deref().unwrap())
}

#[test]
fn conditions_follow_the_rollout() {
    let created = plan(deployment(json!({})), &[], &[]);
    assert_eq!(reason(&created, "Progressing"), "True NewReplicaSetCreated");
    assert_eq!(reason(&created, "Available"), "False MinimumReplicasUnavailable");
    let done = plan(deployment(json!({})), &["v2 4 4 4 4"], &[]);
    assert_eq!(reason(&done, "Progressing"), "True NewReplicaSetAvailable");
    assert_eq!(reason(&done, "Available"), "True MinimumReplicasAvailable");
    assert_eq!((done.status.updated_replicas, done.status.unavailable_replicas), (Some(4), None));
    assert_eq!(done.status.observed_generation, Some(2));
}

#[test]
fn rollout_without_progress_exceeds_its_deadline() {
    let stuck = |updated: &str| {
        deployment(json!({"status": {"updatedReplicas": 4, "replicas": 4, "conditions": [
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "lastUpdateTime": updated}]}}))
    };
    let early = plan(stuck("2030-01-01T00:05:00Z"), &["v2 4 4 0 0"], &[]);
    assert_eq!(reason(&early, "Progressing"), "True ReplicaSetUpdated");
    assert_eq!(early.look_again, Some(Duration::from_secs(301)));
    let late = plan(stuck("2029-12-31T23:59:00Z"), &["v2 4 4 0 0"], &[]);
    assert_eq!(reason(&late, "Progressing"), "False ProgressDeadlineExceeded");
    let moving = plan(stuck("2029-12-31T23:59:00Z"), &["v2 4 4 1 1"], &[]);
    assert_eq!(reason(&moving, "Progressing"), "True ReplicaSetUpdated");
}
