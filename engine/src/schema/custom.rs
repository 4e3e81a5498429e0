//! Custom resources: structural schemas become types, CustomResourceDefinitions become resources.

mod defaulting;
mod structural;

use std::sync::Arc;

use serde_json::Value;

use super::SchemaRef;
use super::resource::{Column, Resource, Scale, Subresources, stored_verbs};
use super::types::Type;

pub use defaulting::apply_defaults;

/// The resources of a CustomResourceDefinition: one for each served version. The error lists what is wrong with its schemas.
pub fn resources(crd: &Value) -> Result<Vec<Resource>, Vec<String>> {
    let spec = &crd["spec"];
    let (names, accepted) = (&spec["names"], &crd["status"]["acceptedNames"]);
    let accepted =
        if accepted["kind"].as_str().is_some_and(|kind| !kind.is_empty()) { accepted } else { names };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| value.as_array().into_iter().flatten().map(&text).collect::<Vec<_>>();
    let kind = text(&names["kind"]);
    let or = |given: String, other: String| if given.is_empty() { other } else { given };
    let mut faults = Vec::new();
    let mut resources = Vec::new();
    for (index, version) in spec["versions"].as_array().into_iter().flatten().enumerate() {
        let path = format!("spec.versions[{index}].schema.openAPIV3Schema");
        let ty = type_of(version, &path, &mut faults);
        if version["served"] != true {
            continue;
        }
        let warning = text(&version["deprecationWarning"]);
        let (group, name) = (text(&spec["group"]), text(&version["name"]));
        let deprecation = (version["deprecated"] == true)
            .then(|| or(warning, format!("{group}/{name} {kind} is deprecated")));
        let subresources = subresources(&version["subresources"]);
        resources.push(Resource {
            group,
            version: name,
            plural: text(&names["plural"]),
            singular: or(text(&accepted["singular"]), kind.to_lowercase()),
            kind: kind.clone(),
            list_kind: or(text(&accepted["listKind"]), format!("{kind}List")),
            namespaced: spec["scope"] == "Namespaced",
            short_names: texts(&accepted["shortNames"]),
            categories: texts(&accepted["categories"]),
            verbs: stored_verbs(),
            columns: columns(&version["additionalPrinterColumns"]),
            selectable_fields: version["selectableFields"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|field| text(&field["jsonPath"]))
                .collect(),
            schema: SchemaRef::custom(Arc::new(ty)).with_status(subresources.status),
            subresources,
            custom: true,
            storage: version["storage"] == true,
            deprecation,
            published: version["schema"].get("openAPIV3Schema").cloned().map(Arc::new),
            revision: 0,
        });
    }
    if faults.is_empty() { Ok(resources) } else { Err(faults) }
}

/// The type of the objects of one version.
fn type_of(version: &Value, path: &str, faults: &mut Vec<String>) -> Type {
    structural::root(&version["schema"]["openAPIV3Schema"], path, faults)
}

fn subresources(declared: &Value) -> Subresources {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let scale = declared.get("scale").filter(|scale| scale.is_object());
    Subresources {
        status: declared.get("status").is_some_and(Value::is_object),
        scale: scale.map(|scale| Scale {
            spec_replicas: text(&scale["specReplicasPath"]),
            status_replicas: text(&scale["statusReplicasPath"]),
            // A custom resource without the path has no selector at all.
            label_selector: Some(text(&scale["labelSelectorPath"])),
        }),
    }
}

fn columns(declared: &Value) -> Vec<Column> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let column = |column: &Value| Column {
        name: text(&column["name"]),
        r#type: text(&column["type"]),
        format: text(&column["format"]),
        description: text(&column["description"]),
        priority: column["priority"].as_i64().and_then(|priority| i32::try_from(priority).ok()).unwrap_or(0),
        json_path: text(&column["jsonPath"]),
    };
    declared.as_array().into_iter().flatten().map(column).collect()
}

#[cfg(test)]
mod tests;
