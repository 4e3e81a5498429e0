//! `Table`: objects as rows for people, as `kubectl get` prints them.

mod builtin;
mod custom;
mod json_path;
mod text;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::metadata;
use crate::api::Call;
use crate::api::request::RequestInfo;
use crate::status::Status;

/// What each row has besides its cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Include {
    Nothing,
    Metadata,
    Object,
}

/// The cells of an object, as of a moment.
type Cells = dyn Fn(&Value, Timestamp) -> Vec<Value>;

/// How one kind is printed.
struct Printer {
    /// `columnDefinitions`.
    columns: Vec<Value>,
    /// Makes the cells of a row.
    cells: Box<Cells>,
}

/// A table with one row.
pub fn of_object(call: &Call, value: &Value) -> Result<Value, Status> {
    let list_meta = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
    of_list(call, list_meta, std::iter::once(value.clone()))
}

/// A table with a row for each object.
pub fn of_list(call: &Call, list_meta: Value, values: impl Iterator<Item = Value>) -> Result<Value, Status> {
    let include = include(&call.info)?;
    let now = Timestamp::now();
    let resource = &call.resource;
    let Printer { columns, cells } =
        if resource.custom { custom::printer(&resource.columns) } else { builtin::printer(resource) };
    let rows: Vec<Value> = values
        .map(|value| {
            let cells = cells(&value, now);
            match include {
                Include::Nothing => json!({"cells": cells, "object": null}),
                Include::Metadata => json!({"cells": cells, "object": metadata::of_object(&value)}),
                Include::Object => json!({"cells": cells, "object": value}),
            }
        })
        .collect();
    Ok(json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": list_meta,
        "columnDefinitions": columns, "rows": rows,
    }))
}

fn include(info: &RequestInfo) -> Result<Include, Status> {
    match info.param("includeObject") {
        "" | "Metadata" => Ok(Include::Metadata),
        "None" => Ok(Include::Nothing),
        "Object" => Ok(Include::Object),
        other => {
            let message = format!("unrecognized includeObject value: {other:?}");
            Err(Status::bad_request(message))
        }
    }
}

/// One entry of `columnDefinitions`.
fn column(name: &str, kind: &str, format: &str, description: &str, priority: i32) -> Value {
    json!({"name": name, "type": kind, "format": format, "description": description, "priority": priority})
}
