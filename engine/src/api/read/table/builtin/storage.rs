//! Volumes, claims and storage classes.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Kind;
use crate::api::read::table::text::{age, items, text};

pub const KINDS: &[Kind] = &[
    Kind {
        group: "",
        plural: "persistentvolumes",
        columns: "Name,Capacity,Access Modes,Reclaim Policy,Status,Claim,StorageClass,VolumeAttributesClass,Reason,Age,VolumeMode+",
        cells: volume,
    },
    Kind {
        group: "",
        plural: "persistentvolumeclaims",
        columns: "Name,Status,Volume,Capacity,Access Modes,StorageClass,VolumeAttributesClass,Age,VolumeMode+",
        cells: claim,
    },
    Kind {
        group: "storage.k8s.io",
        plural: "storageclasses",
        columns: "Name,Provisioner,ReclaimPolicy,VolumeBindingMode,AllowVolumeExpansion,Age",
        cells: storage_class,
    },
];

const UNSET: &str = "<unset>";

/// Access modes in their short forms.
fn modes(object: &Value, pointer: &str) -> String {
    let modes = items(object, pointer).map(|mode| match mode.as_str().unwrap_or_default() {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        other => other,
    });
    modes.collect::<Vec<_>>().join(",")
}

fn or_unset(text: &str) -> Value {
    json!(if text.is_empty() { UNSET } else { text })
}

fn status(object: &Value) -> &str {
    let terminating = object["metadata"]["deletionTimestamp"].is_string();
    if terminating { "Terminating" } else { text(object, "/status/phase") }
}

fn volume(object: &Value, now: Timestamp) -> Vec<Value> {
    let claim = match object.pointer("/spec/claimRef") {
        Some(claim) => format!("{}/{}", text(claim, "/namespace"), text(claim, "/name")),
        None => String::new(),
    };
    vec![
        json!(text(object, "/spec/capacity/storage")),
        json!(modes(object, "/spec/accessModes")),
        json!(text(object, "/spec/persistentVolumeReclaimPolicy")),
        json!(status(object)),
        json!(claim),
        json!(text(object, "/spec/storageClassName")),
        or_unset(text(object, "/spec/volumeAttributesClassName")),
        json!(text(object, "/status/reason")),
        age(object, now),
        or_unset(text(object, "/spec/volumeMode")),
    ]
}

fn claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let bound = !text(object, "/spec/volumeName").is_empty();
    let capacity = if bound { text(object, "/status/capacity/storage") } else { "" };
    vec![
        json!(status(object)),
        json!(text(object, "/spec/volumeName")),
        json!(capacity),
        json!(if bound { modes(object, "/status/accessModes") } else { String::new() }),
        json!(text(object, "/spec/storageClassName")),
        or_unset(text(object, "/spec/volumeAttributesClassName")),
        age(object, now),
        or_unset(text(object, "/spec/volumeMode")),
    ]
}

fn storage_class(object: &Value, now: Timestamp) -> Vec<Value> {
    let expansion = object["allowVolumeExpansion"] == true;
    vec![
        json!(text(object, "/provisioner")),
        json!(text(object, "/reclaimPolicy")),
        json!(text(object, "/volumeBindingMode")),
        json!(expansion),
        age(object, now),
    ]
}
