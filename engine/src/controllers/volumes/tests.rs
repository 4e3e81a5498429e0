//! Decisions about claims as data.

use serde_json::{Value, json};

use super::*;

/// A claim of 1Gi with changes; protected, in class `standard`, waiting for nobody.
fn claim(change: Value) -> Arc<PersistentVolumeClaim> {
    let mut claim = json!({
        "metadata": {"name": "data", "namespace": "ns", "uid": "c", "finalizers": [PROTECTION], "annotations": {}},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "standard",
            "resources": {"requests": {"storage": "1Gi"}},
        },
        "status": {"phase": "Pending"},
    });
    for (path, value) in change.as_object().unwrap() {
        let (parent, field) = path.rsplit_once('/').unwrap();
        claim.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(field.to_owned(), value.clone());
    }
    Arc::new(serde_json::from_value(claim).unwrap())
}

/// A volume from one line: `name size class [for=namespace/name=uid]`.
fn volume(line: &str) -> Arc<PersistentVolume> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut volume = json!({
        "metadata": {"name": words[0]},
        "spec": {"capacity": {"storage": words[1]}, "storageClassName": words[2], "accessModes": ["ReadWriteOnce"]},
    });
    if let Some(reference) = words.get(3).and_then(|word| word.strip_prefix("for=")) {
        let (name, uid) = reference.split_once('=').unwrap();
        let (namespace, name) = name.split_once('/').unwrap();
        volume["spec"]["claimRef"] = json!({"namespace": namespace, "name": name, "uid": uid});
    }
    Arc::new(serde_json::from_value(volume).unwrap())
}

fn class(name: &str, provisioner: &str, mode: &str) -> Arc<StorageClass> {
    let annotations = json!({DEFAULT_CLASS: (name == "standard").to_string()});
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": annotations},
            "provisioner": provisioner, "volumeBindingMode": mode,
        }))
        .unwrap(),
    )
}

fn check_used(in_use: bool, change: Value, volumes: &[&str], expected: &str) {
    let step = decide(&Observed {
        claim: claim(change),
        volumes: volumes.iter().map(|line| volume(line)).collect(),
        classes: vec![
            class("standard", "rancher.io/local-path", "WaitForFirstConsumer"),
            class("now", "rancher.io/local-path", "Immediate"),
            class("other", "example.org/disk", "Immediate"),
        ],
        in_use,
    });
    let text = match step {
        Step::Nothing => "nothing".to_owned(),
        Step::Protect(protect) => format!("protect {protect}"),
        Step::SetClass(class) => format!("class {class}"),
        Step::Reserve(volume) => format!("reserve {}", volume.name_any()),
        Step::Bind(volume) => format!("bind {}", volume.name_any()),
        Step::Report(status) => format!("report {}", status.phase.unwrap()),
        Step::Provision { class, node } => {
            format!("provision {} on {}", class.name_any(), node.unwrap_or_default())
        }
        Step::Tell(note) => note.reason.to_owned(),
    };
    assert_eq!(text, expected);
}

fn check(change: Value, volumes: &[&str], expected: &str) {
    check_used(false, change, volumes, expected);
}

#[test]
fn a_claim_is_protected_until_no_pod_uses_it() {
    check(json!({"/metadata/finalizers": []}), &[], "protect true");
    let going = json!({"/metadata/deletionTimestamp": "2030-01-01T00:00:00Z"});
    check_used(true, going.clone(), &[], "nothing");
    check(going, &[], "protect false");
}

#[test]
fn a_claim_without_class_gets_the_default_one() {
    check(json!({"/spec/storageClassName": null}), &[], "class standard");
    check(json!({"/spec/storageClassName": ""}), &[], "FailedBinding");
    check(json!({"/spec/storageClassName": "missing"}), &[], "ProvisioningFailed");
}

#[test]
fn a_volume_is_made_when_the_class_says_so() {
    check(json!({}), &[], "WaitForFirstConsumer");
    check(json!({"/metadata/annotations": {SELECTED_NODE: "n"}}), &[], "provision standard on n");
    check(json!({"/spec/storageClassName": "now"}), &[], "provision now on ");
    check(json!({"/spec/storageClassName": "other"}), &[], "ExternalProvisioning");
}

#[test]
fn the_smallest_free_volume_that_fits_is_taken() {
    let now = json!({"/spec/storageClassName": "now"});
    check(now.clone(), &["big 5Gi now", "fits 2Gi now", "small 1Mi now", "other 1Gi x"], "reserve fits");
    check(now, &["taken 1Gi now for=ns/else=x"], "provision now on ");
}

#[test]
fn a_reservation_becomes_a_binding() {
    check(json!({}), &["v 1Gi standard for=ns/data=c"], "bind v");
    check(json!({}), &["v 1Gi standard for=ns/data="], "reserve v");
    check(json!({}), &["v 1Gi standard for=ns/data=earlier"], "WaitForFirstConsumer");
    let named = |bound: bool| {
        let annotations = if bound { json!({BIND_COMPLETED: "yes"}) } else { json!({}) };
        json!({"/spec/volumeName": "v", "/metadata/annotations": annotations})
    };
    check(named(true), &["v 1Gi standard for=ns/data=c"], "report Bound");
    check(named(true), &[], "report Lost");
    check(named(false), &[], "nothing");
    check(named(false), &["v 1Gi standard"], "reserve v");
    check(named(false), &["v 1Gi standard for=ns/data=c"], "bind v");
    check(named(false), &["v 1Gi standard for=ns/else=x"], "nothing");
}

#[test]
fn a_released_volume_goes_only_when_it_was_made_here_and_is_to_be_deleted() {
    use crate::controllers::volumes::volume::{Fate, PROVISIONED_BY, fate};
    let made = |policy: &str, by: &str| {
        let mut made = (*volume("v 1Gi standard for=ns/data=c")).clone();
        made.spec.as_mut().unwrap().persistent_volume_reclaim_policy = Some(policy.to_owned());
        made.annotations_mut().insert(PROVISIONED_BY.to_owned(), by.to_owned());
        made
    };
    let ours = "rancher.io/local-path";
    assert_eq!(fate(&made("Delete", ours), Some(&claim(json!({})))), Fate::Stays("Bound"));
    assert_eq!(fate(&made("Delete", ours), None), Fate::Goes);
    assert_eq!(fate(&made("Delete", ours), Some(&claim(json!({"/metadata/uid": "later"})))), Fate::Goes);
    assert_eq!(fate(&made("Retain", ours), None), Fate::Released);
    assert_eq!(fate(&made("Delete", "example.org/disk"), None), Fate::Released);
    assert_eq!(fate(&volume("v 1Gi standard"), None), Fate::Stays("Available"));
}
