//! Custom resource schemas: what they refuse, prune, fill in and check.

use serde_json::{Value, json};

use crate::schema::{Registry, SchemaRef};

fn crd(schema: Value) -> Value {
    json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["w"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "additionalPrinterColumns": [{"name": "Phase", "type": "string", "jsonPath": ".status.phase"}],
                "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

/// The schema whose `spec` has these properties.
fn with_spec(properties: Value) -> SchemaRef {
    let schema =
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}});
    let registry = Registry::builtin().with_crd(&crd(schema)).unwrap();
    registry.resource("example.com", "v1", "widgets").unwrap().schema.clone()
}

fn messages(schema: &SchemaRef, spec: Value) -> Vec<String> {
    messages_of_change(schema, spec, None)
}

fn messages_of_change(schema: &SchemaRef, spec: Value, old: Option<Value>) -> Vec<String> {
    let object = |spec: Value| json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec});
    let errors = schema.validate(&object(spec), old.map(object).as_ref());
    errors.into_iter().map(|error| format!("{}: {}", error.path, error.message)).collect()
}

#[test]
fn a_definition_becomes_a_resource_and_goes_away_again() {
    let registry = Registry::builtin().with_crd(&crd(json!({"type": "object"}))).unwrap();
    let widgets = registry.resource("example.com", "v1", "widgets").unwrap();
    assert_eq!((widgets.singular.as_str(), widgets.list_kind.as_str()), ("widget", "WidgetList"));
    assert!(widgets.custom && widgets.namespaced && widgets.subresources.status);
    assert_eq!(widgets.columns[0].json_path, ".status.phase");
    assert_eq!(registry.by_kind("example.com/v1", "Widget").unwrap().short_names, ["w"]);
    assert!(registry.without_crd("widgets.example.com").resource("example.com", "v1", "widgets").is_none());
    assert!(registry.without_crd("pods.").by_kind("v1", "Pod").is_some());
    let document = registry.openapi_v3("example.com", "v1");
    assert!(document["components"]["schemas"]["com.example.v1.Widget"]["properties"]["metadata"].is_object());
}

#[test]
fn schemas_that_are_not_structural_are_refused() {
    for (schema, fault) in [
        (json!({"type": "string"}), "must be object at the root"),
        (json!({"type": "object", "properties": {"a": {}}}), "must not be empty for specified object fields"),
        (json!({"type": "object", "properties": {"a": {"type": "array"}}}), "items: Required value"),
        (
            json!({"type": "object", "properties": {"a": {"$ref": "#/b", "type": "string"}}}),
            "$ref is not supported",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string", "pattern": "("}}}),
            "valid regular expression",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "properties": {"k": {"type": "string"}}}}}}),
            "it must have a default or be a required property",
        ),
        (json!({"type": "object", "x-kubernetes-validations": [{"rule": "self =="}]}), "compilation failed"),
    ] {
        let faults = Registry::builtin().with_crd(&crd(schema.clone())).unwrap_err();
        assert!(faults.iter().any(|found| found.contains(fault)), "{schema}: {faults:?}");
    }
}

#[test]
fn unknown_fields_go_unless_they_are_to_be_kept() {
    let schema = with_spec(json!({
        "a": {"type": "string"},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "half": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"inner": {"type": "object", "properties": {"x": {"type": "string"}}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"x": {"type": "string"}}}},
        "embedded": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
    }));
    let mut object = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a", "zzz": 1}, "extra": 1, "spec": {
        "a": "1", "b": 1, "open": {"z": {"q": 1}}, "half": {"z": 1, "inner": {"x": "1", "z": 1}},
        "map": {"k": {"x": "1", "z": 1}},
        "embedded": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"z": 1}, "z": 1}}});
    let mut unknown = schema.prune(&mut object);
    unknown.sort();
    assert_eq!(
        unknown,
        [
            "extra",
            "metadata.zzz",
            "spec.b",
            "spec.embedded.spec.z",
            "spec.embedded.z",
            "spec.half.inner.z",
            "spec.map.k.z"
        ]
    );
    assert_eq!(
        object["spec"],
        json!({"a": "1", "open": {"z": {"q": 1}}, "half": {"z": 1, "inner": {"x": "1"}}, "map": {"k": {"x": "1"}},
            "embedded": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {}}})
    );
}

#[test]
fn defaults_fill_what_is_absent_or_null_where_null_is_not_allowed() {
    let schema = with_spec(json!({
        "a": {"type": "string", "default": "x"},
        "n": {"type": "string", "default": "x", "nullable": true},
        "o": {"type": "object", "default": {}, "properties": {"deep": {"type": "integer", "default": 3}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"k": {"type": "boolean", "default": true}}}},
    }));
    let mut object = json!({"spec": {"a": null, "n": null, "list": [{}, {"k": false}]}});
    schema.apply_defaults(&mut object);
    assert_eq!(
        object["spec"],
        json!({"a": "x", "n": null, "list": [{"k": true}, {"k": false}], "o": {"deep": 3}})
    );
}

#[test]
fn values_are_checked_with_the_texts_of_upstream() {
    let cases = [
        (
            json!({"type": "integer"}),
            json!("x"),
            "spec.v: Invalid value: \"string\": spec.v in body must be of type integer: \"string\"",
        ),
        (
            json!({"type": "string"}),
            json!(null),
            "spec.v: Invalid value: \"null\": spec.v in body must be of type string: \"null\"",
        ),
        (
            json!({"type": "string", "enum": ["a", "b"]}),
            json!("c"),
            "spec.v: Unsupported value: \"c\": supported values: \"a\", \"b\"",
        ),
        (
            json!({"type": "string", "pattern": "^a$"}),
            json!("b"),
            "spec.v: Invalid value: \"b\": spec.v in body should match '^a$'",
        ),
        (
            json!({"type": "string", "minLength": 2}),
            json!("b"),
            "spec.v: Invalid value: \"b\": spec.v in body should be at least 2 chars long",
        ),
        (
            json!({"type": "string", "maxLength": 1}),
            json!("bb"),
            "spec.v: Too long: may not be more than 1 bytes",
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("x"),
            "spec.v: Invalid value: \"x\": spec.v in body must be of type date-time: \"x\"",
        ),
        (
            json!({"type": "integer", "minimum": 1}),
            json!(0),
            "spec.v: Invalid value: 0: spec.v in body should be greater than or equal to 1",
        ),
        (
            json!({"type": "integer", "maximum": 1, "exclusiveMaximum": true}),
            json!(1),
            "spec.v: Invalid value: 1: spec.v in body should be less than 1",
        ),
        (
            json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}),
            json!(["a", "b"]),
            "spec.v: Too many: 2: must have at most 1 items",
        ),
        (
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
            json!(["a", "a"]),
            "spec.v[1]: Duplicate value: \"a\"",
        ),
        (
            json!({"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}),
            json!({}),
            "spec.v.k: Required value",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            "spec.v: Invalid value: \"boolean\": spec.v in body must be of type integer,string: \"boolean\"",
        ),
        (
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "not": {"required": ["a"]}}),
            json!({"a": 1}),
            "spec.v: Invalid value: null: \"spec.v\" must not validate the schema (not)",
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({"a": "", "b": ""}),
            "spec.v: Invalid value: null: \"spec.v\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
        ),
    ];
    for (node, value, expected) in cases {
        let schema = with_spec(json!({"v": node}));
        assert_eq!(messages(&schema, json!({"v": value})), [expected]);
    }
}

#[test]
fn valid_values_pass() {
    let schema = with_spec(json!({
        "port": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": true},
        "maybe": {"type": "string", "nullable": true, "enum": ["a"]},
        "number": {"type": "number", "minimum": 0, "maximum": 1},
        "whole": {"type": "integer", "format": "int32"},
    }));
    for spec in [
        json!({"port": 80}),
        json!({"port": "http"}),
        json!({"maybe": null}),
        json!({"number": 1}),
        json!({"number": 0.5, "whole": 3}),
    ] {
        assert_eq!(messages(&schema, spec.clone()), Vec::<String>::new(), "{spec}");
    }
}

#[test]
fn a_rule_on_changes_holds_only_where_there_was_a_value() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
        "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "spec is immutable"}]}}});
    let registry = Registry::builtin().with_crd(&crd(schema)).unwrap();
    let schema = registry.resource("example.com", "v1", "widgets").unwrap().schema.clone();
    assert!(messages(&schema, json!({"a": "1"})).is_empty());
    assert!(messages_of_change(&schema, json!({"a": "1"}), Some(json!({"a": "1"}))).is_empty());
    assert_eq!(
        messages_of_change(&schema, json!({"a": "2"}), Some(json!({"a": "1"}))),
        ["spec: Invalid value: \"object\": spec is immutable"]
    );
    let broken = messages_of_change(&schema, json!({"b": "x"}), Some(json!({"a": "1"})));
    assert!(
        broken.iter().any(|message| message.contains("some validation rules were not checked")),
        "{broken:?}"
    );
}
