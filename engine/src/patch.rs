//! The three patches that need no field managers: JSON Patch (RFC 6902), merge patch (RFC 7386), strategic merge patch.

mod strategic;

use serde_json::Value;

use crate::schema::SchemaRef;
use crate::status::{Cause, Status};

/// Applies a JSON Patch. A patch that is none is 400; one that does not fit the document, or whose test fails, is 422.
pub fn json_patch(document: &Value, patch: &Value) -> Result<Value, Status> {
    let operations: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| Status::bad_request(format!("error decoding JSON patch: {error}")))?;
    let mut patched = document.clone();
    json_patch::patch(&mut patched, &operations).map_err(|error| {
        let message = "the server rejected our request due to an error in our request";
        Status::new(422, "Invalid", message).with_causes(&[Cause::new(
            "JSONPatchFailed",
            "",
            error.to_string(),
        )])
    })?;
    Ok(patched)
}

/// Applies a merge patch: objects are merged, `null` removes, everything else replaces.
pub fn merge_patch(document: &Value, patch: &Value) -> Result<Value, Status> {
    if !patch.is_object() {
        return Err(Status::bad_request("a merge patch must be a JSON object"));
    }
    let mut patched = document.clone();
    json_patch::merge(&mut patched, patch);
    Ok(patched)
}

/// Applies a strategic merge patch: lists are merged by the keys of the schema.
pub fn strategic_merge(schema: &SchemaRef, document: &Value, patch: &Value) -> Result<Value, Status> {
    let (Some(original), Some(patch)) = (document.as_object(), patch.as_object()) else {
        return Err(Status::bad_request("a strategic merge patch must be a JSON object"));
    };
    let merged =
        strategic::merge_objects(&schema.ty(), original.clone(), patch).map_err(Status::bad_request)?;
    Ok(Value::Object(merged))
}

#[cfg(test)]
mod tests;
