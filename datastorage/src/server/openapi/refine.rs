//! What the types cannot say about themselves, said in the finished document.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Texts without U+0000, which PostgreSQL stores neither in text nor in JSON: what a request with one is refused for.
const TEXT: &str = "^[^\\u0000]*$";
/// Parameters that only some of the endpoints that share them cannot do without.
const REQUIRED: [(&str, &str); 2] = [
    ("/api/v1/success-rate/incident-type", "incident_type"),
    ("/api/v1/success-rate/workflow", "workflow_id"),
];

/// The body of a batch, which holds something.
const BATCH: &str =
    "/paths/~1api~1v1~1audit~1events~1batch/post/requestBody/content/application~1json/schema";

/// Says it all.
pub(super) fn refine(document: &mut Value) {
    flatten(document);
    require(document);
    forbid_nul(document);
}

/// Makes one object of a schema that is put together from several. A part that permits no further members would otherwise
/// refuse those of the other parts.
fn flatten(document: &mut Value) {
    let Some(schemas) = schemas_of(document) else { return };
    let parts_by_name = schemas.clone();
    for schema in schemas.values_mut() {
        let Some(parts) = schema.get("allOf").and_then(Value::as_array) else { continue };
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for part in parts {
            let part = referred(part).and_then(|name| parts_by_name.get(name)).unwrap_or(part);
            properties.extend(part.get("properties").and_then(Value::as_object).cloned().unwrap_or_default());
            required.extend(part.get("required").and_then(Value::as_array).cloned().unwrap_or_default());
        }
        let mut flat = json!({"type": "object", "required": required, "properties": properties});
        if let Some(description) = schema.get("description") {
            flat["description"] = description.clone();
        }
        *schema = flat;
    }
}

fn require(document: &mut Value) {
    for (path, name) in REQUIRED {
        let parameters = document["paths"][path]["get"]["parameters"].as_array_mut();
        let wanted = parameters.into_iter().flatten().find(|parameter| parameter["name"] == name);
        if let Some(parameter) = wanted {
            parameter["required"] = json!(true);
        }
    }
    let batch = document.pointer_mut(BATCH).and_then(Value::as_object_mut);
    if let Some(batch) = batch {
        batch.insert("minItems".to_owned(), json!(1));
    }
}

/// Says of every text of a request what it must not contain. It is refused too in JSON that may have any form, of which no schema
/// says it: one that held for all depths would have to refer to itself, and tools that make requests from schemas choke on that.
fn forbid_nul(document: &mut Value) {
    let mut reached = Vec::new();
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for operation in
        paths.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut).flat_map(Map::values_mut)
    {
        for part in ["parameters", "requestBody"] {
            if let Some(part) = operation.get_mut(part) {
                text_only(part, &mut reached);
            }
        }
    }
    let Some(schemas) = schemas_of(document) else { return };
    let mut done = BTreeSet::new();
    while let Some(name) = reached.pop() {
        if let Some(schema) = schemas.get_mut(&name)
            && done.insert(name)
        {
            text_only(schema, &mut reached);
        }
    }
}

/// The same of a schema and those in it. Names of schemas that it refers to are added to `reached`.
fn text_only(schema: &mut Value, reached: &mut Vec<String>) {
    match schema {
        Value::Array(schemas) => schemas.iter_mut().for_each(|schema| text_only(schema, reached)),
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                // These hold no schemas.
                if !matches!(name.as_str(), "default" | "discriminator" | "enum" | "example" | "required") {
                    text_only(member, reached);
                }
            }
            reached.extend(members.get("$ref").and_then(Value::as_str).and_then(last).map(str::to_owned));
            let is_text = match members.get("type") {
                Some(Value::String(name)) => name == "string",
                Some(Value::Array(names)) => names.iter().any(|name| name == "string"),
                _ => false,
            };
            if is_text && !["pattern", "format", "enum"].iter().any(|known| members.contains_key(*known)) {
                members.insert("pattern".to_owned(), json!(TEXT));
            }
        }
        _ => {}
    }
}

fn schemas_of(document: &mut Value) -> Option<&mut Map<String, Value>> {
    document.pointer_mut("/components/schemas")?.as_object_mut()
}

fn referred(schema: &Value) -> Option<&str> {
    last(schema.get("$ref")?.as_str()?)
}

fn last(reference: &str) -> Option<&str> {
    reference.rsplit('/').next()
}
