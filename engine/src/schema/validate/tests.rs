//! Built-in objects that upstream refuses, with its texts.

use serde_json::{Value, json};

use crate::schema::SchemaRef;

fn messages(ty: &str, mut value: Value) -> Vec<String> {
    let schema = SchemaRef::named(ty);
    schema.apply_defaults(&mut value);
    let errors = schema.validate(&value, None);
    errors.into_iter().map(|error| format!("{}: {}", error.path, error.message)).collect()
}

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": spec})
}

#[test]
fn pods() {
    let container = |extra: Value| {
        let mut container = json!({"name": "a", "image": "i"});
        container.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"containers": [container]})
    };
    let cases = [
        (json!({}), "spec.containers: Required value"),
        (json!({"containers": [{"name": "a"}]}), "spec.containers[0].image: Required value"),
        (
            json!({"containers": [{"name": "a", "image": "i"}, {"name": "a", "image": "i"}]}),
            "spec.containers[1].name: Duplicate value: \"a\"",
        ),
        (
            container(json!({"imagePullPolicy": "Sometimes"})),
            "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ),
        (
            container(json!({"ports": [{"containerPort": 70000}]})),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (
            container(json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]})),
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ),
        (
            container(json!({"readinessProbe": {}})),
            "spec.containers[0].readinessProbe: Required value: must specify a handler type",
        ),
        (
            container(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
        ),
        (
            container(
                json!({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}),
            ),
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(messages("core.v1.Pod", pod(spec)), [expected]);
    }
    let good =
        pod(json!({"containers": [{"name": "a", "image": "i", "resources": {"limits": {"memory": "1Gi"}},
        "livenessProbe": {"httpGet": {"port": "http"}}, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        "volumes": [{"name": "v", "configMap": {"name": "c"}}], "nodeName": "n"}));
    assert_eq!(messages("core.v1.Pod", good), Vec::<String>::new());
}

#[test]
fn workloads() {
    let template =
        json!({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "i"}]}});
    let deployment = |selector: Value| json!({"metadata": {"name": "a"}, "spec": {"selector": selector, "template": template}});
    assert!(messages("apps.v1.Deployment", deployment(json!({"matchLabels": {"app": "a"}}))).is_empty());
    assert_eq!(
        messages("apps.v1.Deployment", deployment(json!({"matchLabels": {"app": "b"}}))),
        [
            "spec.template.metadata.labels: Invalid value: {\"app\":\"a\"}: `selector` does not match template `labels`"
        ]
    );
    assert_eq!(
        messages("apps.v1.Deployment", deployment(json!({}))),
        ["spec.selector: Invalid value: {}: empty selector is invalid"]
    );
    assert_eq!(
        messages("batch.v1.Job", json!({"metadata": {"name": "a"}, "spec": {"template": template}})),
        ["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""]
    );
}

#[test]
fn other_kinds() {
    for (ty, value, expected) in [
        ("core.v1.Service", json!({"spec": {}}), "spec.ports: Required value"),
        (
            "core.v1.ConfigMap",
            json!({"data": {"a b": "c"}}),
            "data[a b]: Invalid value: \"a b\": a valid config key must",
        ),
        (
            "core.v1.ConfigMap",
            json!({"data": {"a": 1}}),
            "data.a: Invalid value: \"integer\": data.a in body must be of type string",
        ),
        ("core.v1.Secret", json!({"data": {"a": "%"}}), "data.a: Invalid value: \"%\": illegal base64 data"),
        (
            "core.v1.ConfigMap",
            json!({"metadata": {"labels": {"a": "b c"}}}),
            "metadata.labels: Invalid value: \"b c\": a valid label must",
        ),
        (
            "rbac.v1.Role",
            json!({"rules": [{"resources": ["pods"], "apiGroups": [""]}]}),
            "rules[0].verbs: Required value",
        ),
        (
            "admissionregistration.v1.ValidatingWebhookConfiguration",
            json!({"webhooks": [{"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"], "clientConfig": {}}]}),
            "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
        ),
    ] {
        let found = messages(ty, value);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
    }
}
