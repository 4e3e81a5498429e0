//! One stored object: its JSON text and what selection reads from it.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Key;

/// An object as it was written at one revision. Immutable; a write makes a new one.
#[derive(Debug)]
pub struct Object {
    /// Revision of the write that made it: its `resourceVersion`.
    pub revision: u64,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `apiVersion` it is stored as.
    pub api_version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    json: Bytes,
}

impl Object {
    pub(super) fn new(key: &Key, revision: u64, mut value: Value) -> Self {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".into(), json!(revision.to_string()));
        }
        let api_version = value["apiVersion"].as_str().unwrap_or_default().to_owned();
        Self {
            revision,
            namespace: key.0.clone(),
            name: key.1.clone(),
            api_version,
            labels: labels_of(&value),
            json: Bytes::from(value.to_string()),
        }
    }

    /// The JSON text, ready to be sent.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The object as a value of its own.
    pub fn value(&self) -> Value {
        // The text was written by `new` from a value, so it parses; parsing by `FromStr` is compiled inside serde_json and
        // therefore optimised in the dev profile too.
        std::str::from_utf8(&self.json).ok().and_then(|text| text.parse().ok()).unwrap_or(Value::Null)
    }
}

/// `metadata.labels` of any object.
pub fn labels_of(value: &Value) -> BTreeMap<String, String> {
    let labels = value.pointer("/metadata/labels").and_then(Value::as_object);
    labels
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}
