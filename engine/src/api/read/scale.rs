//! `Scale`: the number of replicas of an object, wanted and there, in the same form for every kind.

use serde_json::{Map, Value, json};

use crate::schema::Resource;

/// The scale of an object of a resource that has one.
pub fn of(resource: &Resource, object: &Value) -> Value {
    let metadata = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
    let metadata: Map<String, Value> = metadata
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), object["metadata"].get(field)?.clone())))
        .collect();
    let mut scale = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": {}, "status": {}});
    let Some(paths) = &resource.subresources.scale else { return scale };
    if let Some(replicas) = at(object, &paths.spec_replicas) {
        scale["spec"]["replicas"] = replicas.clone();
    }
    scale["status"]["replicas"] = at(object, &paths.status_replicas).cloned().unwrap_or(json!(0));
    let selector = match &paths.label_selector {
        Some(path) => at(object, path).and_then(Value::as_str).map(String::from),
        None => object.pointer("/spec/selector").map(selector_text),
    };
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        scale["status"]["selector"] = json!(selector);
    }
    scale
}

/// The value at a path such as `.spec.replicas`.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|field| !field.is_empty()).try_fold(object, |value, field| value.get(field))
}

/// A label selector in its text form. That of a ReplicationController is a plain map.
pub fn selector_text(selector: &Value) -> String {
    let structured = selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    let labels = if structured { &selector["matchLabels"] } else { selector };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut terms: Vec<(String, String)> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), format!("{key}={}", text(value))))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = text(&expression["key"]);
        let mut values: Vec<String> =
            expression["values"].as_array().into_iter().flatten().map(text).collect();
        values.sort();
        let values = values.join(",");
        let term = match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.clone(),
        };
        terms.push((key, term));
    }
    terms.sort();
    terms.into_iter().map(|(_, term)| term).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Registry;

    #[test]
    fn the_scale_of_a_deployment_has_its_selector_as_text() {
        let resource = Registry::builtin().resource("apps", "v1", "deployments").unwrap();
        let selector = json!({"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["y", "x"]}, {"key": "d", "operator": "DoesNotExist"},
        ]});
        let deployment = json!({
            "metadata": {"name": "web", "namespace": "ns", "labels": {}},
            "spec": {"replicas": 3, "selector": selector}, "status": {"replicas": 2},
        });
        let scale = of(&resource, &deployment);
        assert_eq!(scale["metadata"], json!({"name": "web", "namespace": "ns"}));
        assert_eq!(scale["spec"], json!({"replicas": 3}));
        assert_eq!(scale["status"], json!({"replicas": 2, "selector": "a=1,b=2,c in (x,y),!d"}));
    }
}
