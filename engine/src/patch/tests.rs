//! Patches as tables: original, patch, result.

use serde_json::{Value, json};

use super::*;

#[test]
fn json_patches() {
    let document = json!({"a": {"b": [1, 2]}, "m": {"x/y": 1}});
    for (patch, expected) in [
        (
            json!([{"op": "add", "path": "/a/b/-", "value": 3}]),
            json!({"a": {"b": [1, 2, 3]}, "m": {"x/y": 1}}),
        ),
        (json!([{"op": "remove", "path": "/m/x~1y"}]), json!({"a": {"b": [1, 2]}, "m": {}})),
        (
            json!([{"op": "test", "path": "/a/b/0", "value": 1}, {"op": "replace", "path": "/a", "value": 0}]),
            json!({"a": 0, "m": {"x/y": 1}}),
        ),
    ] {
        assert_eq!(json_patch(&document, &patch).unwrap(), expected);
    }
    for (patch, code) in [
        (json!([{"op": "test", "path": "/a/b/0", "value": 2}]), 422),
        (json!([{"op": "remove", "path": "/zzz"}]), 422),
        (json!([{"op": "fly", "path": "/a"}]), 400),
        (json!({"a": 1}), 400),
    ] {
        assert_eq!(json_patch(&document, &patch).unwrap_err().code(), code, "{patch}");
    }
}

#[test]
fn merge_patches() {
    let document = json!({"a": {"b": 1, "c": 2}, "l": [1]});
    let patched = merge_patch(&document, &json!({"a": {"b": null, "d": 3}, "l": [2]})).unwrap();
    assert_eq!(patched, json!({"a": {"c": 2, "d": 3}, "l": [2]}));
    assert_eq!(merge_patch(&document, &json!([])).unwrap_err().code(), 400);
}

/// Patches the spec of a Deployment.
fn deployment(spec: Value, patch: Value) -> Result<Value, Status> {
    let patched = strategic_merge(
        &SchemaRef::named("apps.v1.Deployment"),
        &json!({"spec": spec}),
        &json!({"spec": patch}),
    )?;
    Ok(patched["spec"].clone())
}

/// Patches the spec of a Pod.
fn pod(spec: Value, patch: Value) -> Value {
    let patched =
        strategic_merge(&SchemaRef::named("core.v1.Pod"), &json!({"spec": spec}), &json!({"spec": patch}));
    patched.unwrap()["spec"].clone()
}

#[test]
fn lists_with_a_merge_key_are_merged_by_element() {
    let spec =
        json!({"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "1"}]});
    let patched = pod(
        spec.clone(),
        json!({"containers": [{"name": "a", "image": "2", "args": ["y"]}, {"name": "c", "image": "3"}]}),
    );
    assert_eq!(
        patched,
        json!({"containers": [{"name": "a", "image": "2", "args": ["y"]}, {"name": "b", "image": "1"}, {"name": "c", "image": "3"}]})
    );
    let deleted = pod(spec.clone(), json!({"containers": [{"name": "a", "$patch": "delete"}]}));
    assert_eq!(deleted, json!({"containers": [{"name": "b", "image": "1"}]}));
    let replaced =
        pod(spec.clone(), json!({"containers": [{"$patch": "replace"}, {"name": "z", "image": "9"}]}));
    assert_eq!(replaced, json!({"containers": [{"name": "z", "image": "9"}]}));
    let nested = pod(
        json!({"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "1"}]}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "X", "$patch": "delete"}, {"name": "Y", "value": "2"}]}]}),
    );
    assert_eq!(nested, json!({"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]}));
    assert_eq!(
        deployment(json!({}), json!({"template": {"spec": {"containers": [{"image": "x"}]}}}))
            .unwrap_err()
            .code(),
        400
    );
}

#[test]
fn maps_are_merged_replaced_or_deleted() {
    let spec = json!({"nodeSelector": {"a": "1", "b": "2"}});
    assert_eq!(
        pod(spec.clone(), json!({"nodeSelector": {"a": null, "c": "3"}})),
        json!({"nodeSelector": {"b": "2", "c": "3"}})
    );
    assert_eq!(
        pod(spec.clone(), json!({"nodeSelector": {"$patch": "replace", "c": "3"}})),
        json!({"nodeSelector": {"c": "3"}})
    );
    assert_eq!(pod(spec.clone(), json!({"nodeSelector": {"$patch": "delete"}})), json!({}));
    assert_eq!(pod(spec, json!({"nodeSelector": null})), json!({}));
}

#[test]
fn retained_keys_drop_the_others() {
    let rolling = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}});
    let patch = json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}});
    assert_eq!(deployment(rolling.clone(), patch).unwrap(), json!({"strategy": {"type": "Recreate"}}));
    let stray = json!({"strategy": {"$retainKeys": ["type"], "rollingUpdate": {}}});
    assert_eq!(deployment(rolling, stray).unwrap_err().code(), 400);
}

#[test]
fn the_order_of_elements_can_be_set() {
    let names = |spec: &Value| {
        let containers = spec["containers"].as_array().unwrap();
        containers.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join("")
    };
    for (server, patch, order, expected) in [
        ("ab", "b", "ba", "ba"),
        ("abc", "d", "cdb", "acdb"),
        ("ab", "", "ba", "ba"),
        ("xab", "", "ba", "xba"),
        ("abx", "c", "abc", "abcx"),
    ] {
        let items = |text: &str| text.chars().map(|c| json!({"name": c.to_string()})).collect::<Vec<_>>();
        let mut change = json!({"$setElementOrder/containers": items(order)});
        if !patch.is_empty() {
            change["containers"] = json!(items(patch));
        }
        let patched = pod(json!({"containers": items(server)}), change);
        assert_eq!(names(&patched), expected, "{server} {patch} {order}");
    }
}

#[test]
fn lists_of_texts_are_sets() {
    let schema = SchemaRef::named("core.v1.ConfigMap");
    let document = json!({"metadata": {"finalizers": ["a/1", "b/2"]}});
    let patched = |patch: Value| {
        strategic_merge(&schema, &document, &json!({"metadata": patch})).unwrap()["metadata"]["finalizers"]
            .clone()
    };
    assert_eq!(patched(json!({"finalizers": ["b/2", "c/3"]})), json!(["a/1", "b/2", "c/3"]));
    assert_eq!(patched(json!({"$deleteFromPrimitiveList/finalizers": ["a/1"]})), json!(["b/2"]));
    let both = json!({"$setElementOrder/finalizers": ["c/3", "b/2"], "$deleteFromPrimitiveList/finalizers": ["a/1"], "finalizers": ["c/3"]});
    assert_eq!(patched(both), json!(["c/3", "b/2"]));
}
