//! `PartialObjectMetadata`: what every object has, for clients that need no more.

use serde_json::{Value, json};

const API_VERSION: &str = "meta.k8s.io/v1";

/// The metadata of one object.
pub fn of_object(value: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": API_VERSION, "metadata": value["metadata"]})
}

/// The metadata of each object of a list.
pub fn of_list(list_meta: Value, values: impl Iterator<Item = Value>) -> Value {
    let items: Vec<Value> = values.map(|value| of_object(&value)).collect();
    json!({"kind": "PartialObjectMetadataList", "apiVersion": API_VERSION, "metadata": list_meta, "items": items})
}
