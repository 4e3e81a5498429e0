//! Applies and updates in sequence, and what becomes of the object, its owners and the conflicts.

use serde_json::{Value, json};

use super::{ApplyContext, apply, track_update};
use crate::schema::{Registry, SchemaRef};
use crate::status::Status;

/// One object under the writes of several managers. Each write happens one second after the one before.
struct Scene {
    schema: SchemaRef,
    api_version: &'static str,
    live: Option<Value>,
    clock: u32,
}

impl Scene {
    fn of(schema: SchemaRef, api_version: &'static str) -> Self {
        Self { schema, api_version, live: None, clock: 0 }
    }

    fn config_map() -> Self {
        Self::of(SchemaRef::named("core.v1.ConfigMap"), "v1")
    }

    fn builtin(group: &str, plural: &str, api_version: &'static str) -> Self {
        let resource = Registry::builtin().resource(group, "v1", plural).unwrap();
        Self::of(resource.schema.clone(), api_version)
    }

    fn custom(spec: Value) -> Self {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": spec},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}});
        let crd = json!({"metadata": {"name": "widgets.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema}}]}});
        let registry = Registry::builtin().with_crd(&crd).unwrap();
        Self::of(registry.resource("example.com", "v1", "widgets").unwrap().schema.clone(), "example.com/v1")
    }

    fn context(&mut self, manager: &str) -> ApplyContext {
        self.clock += 1;
        let (manager, subresource) = manager.split_once('/').unwrap_or((manager, ""));
        ApplyContext {
            manager: manager.into(),
            api_version: self.api_version.into(),
            force: false,
            subresource: subresource.into(),
            now: format!("2026-01-01T00:00:{:02}Z", self.clock),
        }
    }

    fn try_apply(&mut self, manager: &str, config: Value, force: bool) -> Result<(), Status> {
        let context = ApplyContext { force, ..self.context(manager) };
        self.live = Some(apply(&self.schema, self.live.as_ref(), &config, &context)?);
        Ok(())
    }

    fn apply(&mut self, manager: &str, config: Value) {
        self.try_apply(manager, config, false).unwrap();
    }

    fn update(&mut self, manager: &str, new: Value) {
        let context = self.context(manager);
        let mut new = new;
        track_update(&self.schema, self.live.as_ref(), &mut new, &context);
        self.live = Some(new);
    }

    /// The object without its managers.
    fn object(&self) -> Value {
        let mut object = self.live.clone().unwrap();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        object
    }

    /// `manager operation: paths` of every entry, in order.
    fn owners(&self) -> Vec<String> {
        let entries =
            self.live.as_ref().unwrap()["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| {
                let set = super::set::Set::from_json(&entry["fieldsV1"]).unwrap();
                format!(
                    "{} {}: {}",
                    entry["manager"].as_str().unwrap(),
                    entry["operation"].as_str().unwrap(),
                    set.paths().join(" ")
                )
            })
            .collect()
    }

    fn times(&self) -> Vec<String> {
        let entries =
            self.live.as_ref().unwrap()["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .map(|entry| {
                entry["time"]
                    .as_str()
                    .unwrap_or("none")
                    .trim_start_matches("2026-01-01T00:00:")
                    .trim_end_matches('Z')
                    .to_owned()
            })
            .collect()
    }
}

fn data(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": data})
}

#[test]
fn a_field_no_longer_applied_is_removed_when_nobody_else_owns_it() {
    let mut scene = Scene::config_map();
    scene.apply("one", data(json!({"a": "1", "b": "1", "c": "1"})));
    scene.apply("two", data(json!({"b": "1"})));
    scene.apply("one", data(json!({"c": "2"})));
    assert_eq!(scene.object()["data"], json!({"b": "1", "c": "2"}));
    assert_eq!(scene.owners(), ["two Apply: .data.b", "one Apply: .data.c"]);
    scene.apply("two", json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}));
    assert_eq!(scene.object()["data"], json!({"c": "2"}));
    assert_eq!(scene.owners(), ["one Apply: .data.c"]);
}

#[test]
fn another_managers_value_is_a_conflict_with_the_texts_of_upstream() {
    let mut scene = Scene::config_map();
    scene.apply("one", data(json!({"a": "1"})));
    let status = scene.try_apply("two", data(json!({"a": "2"})), false).unwrap_err();
    assert_eq!(status.message(), r#"Apply failed with 1 conflict: conflict with "one": .data.a"#);
    assert_eq!((status.code(), status.reason()), (409, "Conflict"));
    assert_eq!(
        status.to_json()["details"]["causes"],
        json!([{"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.a"}])
    );
    let mut new = scene.object();
    new["data"] = json!({"a": "1", "b": "1"});
    scene.update("three", new);
    let status = scene.try_apply("two", data(json!({"b": "2"})), false).unwrap_err();
    assert_eq!(status.message(), r#"Apply failed with 1 conflict: conflict with "three" using v1: .data.b"#);
    let status = scene.try_apply("two", data(json!({"a": "2", "b": "2"})), false).unwrap_err();
    assert_eq!(
        status.message(),
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.a\nconflicts with \"three\" using v1:\n- .data.b"
    );
}

#[test]
fn force_takes_fields_and_the_same_value_shares_them() {
    let mut scene = Scene::config_map();
    scene.apply("one", data(json!({"a": "1", "b": "1"})));
    scene.apply("two", data(json!({"a": "1"})));
    assert_eq!(scene.owners(), ["one Apply: .data.a .data.b", "two Apply: .data.a"]);
    scene.try_apply("two", data(json!({"a": "2"})), true).unwrap();
    assert_eq!(scene.owners(), ["one Apply: .data.b", "two Apply: .data.a"]);
    assert_eq!(scene.object()["data"], json!({"a": "2", "b": "1"}));
}

#[test]
fn the_time_of_an_entry_moves_only_with_the_entry() {
    let mut scene = Scene::config_map();
    scene.apply("one", data(json!({"a": "1"})));
    scene.apply("one", data(json!({"a": "1"})));
    assert_eq!(scene.times(), ["01"]);
    let before = scene.live.clone();
    scene.apply("one", data(json!({"a": "1"})));
    assert_eq!(scene.live, before);
    scene.apply("two", data(json!({"a": "1", "b": "1"})));
    assert_eq!(scene.times(), ["01", "04"]);
    scene.apply("one", data(json!({"a": "1", "b": "1"})));
    assert_eq!(scene.times(), ["04", "05"]);
    scene.update("three", scene.live.clone().unwrap());
    assert_eq!(scene.times(), ["04", "05"]);
}

#[test]
fn updates_own_what_they_change_and_take_it_from_appliers() {
    let mut scene = Scene::config_map();
    scene.apply("one", data(json!({"a": "1", "b": "1"})));
    let mut new = scene.live.clone().unwrap();
    new["data"] = json!({"a": "2", "c": "1"});
    new["metadata"]["labels"] = json!({"x": "y"});
    new["metadata"]["resourceVersion"] = json!("7");
    scene.update("two", new);
    assert_eq!(scene.owners(), ["two Update: .data.a .data.c .metadata.labels .metadata.labels.x"]);
    let mut fewer = scene.object();
    fewer["data"] = json!({"c": "1"});
    scene.update("three", fewer);
    assert_eq!(scene.owners(), ["two Update: .data.c .metadata.labels .metadata.labels.x"]);
}

#[test]
fn clients_that_know_nothing_of_managers_lose_none_and_can_clear_all() {
    let mut scene = Scene::config_map();
    scene.update("one", data(json!({"a": "1"})));
    assert_eq!(scene.owners(), ["one Update: .data .data.a"]);
    scene.update("one", data(json!({"a": "1", "b": "1"})));
    assert_eq!(scene.owners(), ["one Update: .data .data.a .data.b"]);
    let mut cleared = data(json!({"a": "1"}));
    cleared["metadata"]["managedFields"] = json!([{}]);
    cleared["metadata"]["uid"] = json!("u");
    scene.update("two", cleared);
    assert_eq!(scene.live.as_ref().unwrap()["metadata"].get("managedFields"), None);
    scene.apply("three", data(json!({"a": "1"})));
    assert_eq!(scene.owners(), ["three Apply: .data.a", "before-first-apply Update: .data .data.a"]);
}

#[test]
fn elements_of_keyed_lists_have_their_own_owners() {
    let deployment = |containers: Value| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
            "spec": {"template": {"spec": {"containers": containers}}}})
    };
    let mut scene = Scene::builtin("apps", "deployments", "apps/v1");
    scene.apply("one", deployment(json!([{"name": "a", "image": "1", "ports": [{"containerPort": 80}]}])));
    scene.apply("two", deployment(json!([{"name": "b", "image": "1"}])));
    let containers = |scene: &Scene| scene.object()["spec"]["template"]["spec"]["containers"].clone();
    assert_eq!(
        containers(&scene),
        json!([{"name": "a", "image": "1", "ports": [{"containerPort": 80}]}, {"name": "b", "image": "1"}])
    );
    let list = ".spec.template.spec.containers";
    assert_eq!(
        scene.owners()[1],
        format!(r#"two Apply: {list}[name="b"] {list}[name="b"].image {list}[name="b"].name"#)
    );
    assert!(
        scene.owners()[0].contains(r#".ports[containerPort=80,protocol="TCP"].containerPort"#),
        "{:?}",
        scene.owners()
    );
    scene.apply("one", deployment(json!([{"name": "a", "image": "2"}])));
    assert_eq!(containers(&scene), json!([{"name": "a", "image": "2"}, {"name": "b", "image": "1"}]));
    let status = scene.try_apply("two", deployment(json!([{"name": "a", "image": "3"}])), false).unwrap_err();
    assert_eq!(
        status.message(),
        format!(r#"Apply failed with 1 conflict: conflict with "one": {list}[name="a"].image"#)
    );
    scene.apply("two", deployment(json!([{"name": "a", "image": "2"}])));
    assert_eq!(containers(&scene), json!([{"name": "a", "image": "2"}]));
}

#[test]
fn sets_atomic_lists_and_free_form_fields() {
    let mut scene = Scene::custom(json!({
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "atomic": {"type": "array", "items": {"type": "string"}},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }));
    let widget = |spec: Value| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec});
    scene.apply(
        "one",
        widget(json!({"set": ["a", "b"], "atomic": ["x"], "whole": {"k": "v"}, "free": {"n": {"m": [1]}}})),
    );
    assert_eq!(
        scene.owners(),
        [
            r#"one Apply: .spec.atomic .spec.whole .spec.free.n .spec.free.n.m .spec.set[="a"] .spec.set[="b"]"#
        ]
    );
    scene.apply("two", widget(json!({"set": ["c"], "free": {"o": 1}})));
    assert_eq!(scene.object()["spec"]["set"], json!(["a", "b", "c"]));
    scene.apply("one", widget(json!({"set": ["b"], "atomic": ["y", "z"]})));
    assert_eq!(scene.object()["spec"], json!({"set": ["b", "c"], "atomic": ["y", "z"], "free": {"o": 1}}));
    assert!(scene.try_apply("two", widget(json!({"atomic": ["x"]})), false).is_err());
}

#[test]
fn the_status_belongs_to_its_subresource() {
    let widget = |spec: Value, status: Value| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "labels": {"l": "1"}}, "spec": spec, "status": status});
    let mut scene = Scene::custom(json!({"a": {"type": "string"}}));
    scene.apply("one", widget(json!({"a": "1"}), json!({"phase": "x"})));
    assert_eq!(scene.owners(), ["one Apply: .metadata.labels.l .spec.a"]);
    scene.apply("one/status", widget(json!({"a": "2"}), json!({"phase": "y"})));
    assert_eq!(scene.owners(), ["one Apply: .metadata.labels.l .spec.a", "one Apply: .status.phase"]);
    let entries = scene.live.as_ref().unwrap()["metadata"]["managedFields"].clone();
    assert_eq!(entries[1]["subresource"], "status");
    let status = scene.try_apply("two/status", widget(json!({}), json!({"phase": "z"})), false).unwrap_err();
    assert_eq!(
        status.message(),
        r#"Apply failed with 1 conflict: conflict with "one" with subresource "status": .status.phase"#
    );
}

#[test]
fn configurations_that_do_not_fit_are_refused() {
    let deployment = |spec: Value| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}, "spec": spec});
    let mut scene = Scene::builtin("apps", "deployments", "apps/v1");
    for (spec, fault) in [
        (json!({"extra": 1}), ".spec.extra: field not declared in schema"),
        (json!({"replicas": "x"}), ".spec.replicas: expected numeric (int or float), got \"x\""),
        (
            json!({"template": {"spec": {"containers": [{"name": "a"}, {"name": "a"}]}}}),
            ".spec.template.spec.containers: duplicate entries for key [name=\"a\"]",
        ),
    ] {
        let status = scene.try_apply("one", deployment(spec), false).unwrap_err();
        let expected =
            format!("failed to create typed patch object (n/d; apps/v1, Kind=Deployment): {fault}");
        assert_eq!(status.message(), expected);
    }
}

#[test]
fn a_null_owns_a_field_and_leaves_it_empty() {
    let mut scene = Scene::builtin("apps", "deployments", "apps/v1");
    let config = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"template": {"metadata": {"creationTimestamp": null, "labels": {"a": "b"}}}}});
    scene.apply("one", config);
    assert_eq!(scene.object()["spec"], json!({"template": {"metadata": {"labels": {"a": "b"}}}}));
}

#[test]
fn many_updaters_are_folded_into_one() {
    let mut scene = Scene::config_map();
    for index in 0..14 {
        let mut object = scene.live.clone().unwrap_or_else(|| data(json!({})));
        object["data"][format!("k{index:02}")] = json!("v");
        scene.update(&format!("m{index:02}"), object);
    }
    let owners = scene.owners();
    assert_eq!(owners.len(), 10, "{owners:?}");
    assert!(owners[0].starts_with("ancient-changes Update: .data"), "{owners:?}");
    assert_eq!(scene.object()["data"].as_object().unwrap().len(), 14);
}

#[test]
fn lists_keep_the_order_of_the_live_object_and_take_that_of_the_configuration() {
    let list = json!({"l": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}});
    for (live, config, expected) in [
        ("abc", "c", "abc"),
        ("abc", "ca", "bca"),
        ("ab", "xb", "axb"),
        ("abcd", "dxa", "bcdxa"),
        ("", "ba", "ba"),
    ] {
        let items = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        let widget = |text: &str| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"l": items(text)}});
        let mut scene = Scene::custom(list.clone());
        scene.apply("one", widget(live));
        scene.apply("two", widget(config));
        assert_eq!(scene.object()["spec"]["l"], json!(items(expected)), "{live} {config}");
    }
}
