//! Defaults that depend on other fields in a way the table cannot say.

use serde_json::{Map, Value, json};

/// A rule, applied to one object of its type.
pub type Rule = fn(&mut Map<String, Value>);

/// The rule called `name` in the table.
pub fn rule(name: &str) -> Option<Rule> {
    Some(match name {
        "allocatable" => allocatable,
        "crd-names" => crd_names,
        "empty-dir" => empty_dir,
        "host-network-ports" => host_network_ports,
        "image-pull-policy" => image_pull_policy,
        "labels-from-template" => labels_from_template,
        "policy-types" => policy_types,
        "requests-from-limits" => requests_from_limits,
        "selector-from-template" => selector_from_template,
        "service-account" => service_account,
        "target-port" => target_port,
        _ => return None,
    })
}

/// `latest`, written or implied, is always pulled.
fn image_pull_policy(container: &mut Map<String, Value>) {
    if container.get("imagePullPolicy").and_then(Value::as_str).is_some_and(|policy| !policy.is_empty()) {
        return;
    }
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let last = image.rsplit('/').next().unwrap_or_default();
    let latest = if image.contains('@') {
        last.split('@').next().is_some_and(|name| name.ends_with(":latest"))
    } else {
        !last.contains(':') || last.ends_with(":latest")
    };
    let policy = if latest { "Always" } else { "IfNotPresent" };
    container.insert("imagePullPolicy".into(), json!(policy));
}

/// A volume without a source is an empty directory.
fn empty_dir(volume: &mut Map<String, Value>) {
    if volume.iter().all(|(field, value)| field == "name" || value.is_null()) {
        volume.insert("emptyDir".into(), json!({}));
    }
}

/// `serviceAccount` is an older name of `serviceAccountName`; both are shown.
fn service_account(spec: &mut Map<String, Value>) {
    let named = |field: &str| spec.get(field).and_then(Value::as_str).filter(|name| !name.is_empty());
    let Some(name) = named("serviceAccountName").or(named("serviceAccount")).map(String::from) else {
        return;
    };
    spec.insert("serviceAccountName".into(), json!(name));
    spec.insert("serviceAccount".into(), json!(name));
}

fn containers(pod: &mut Map<String, Value>) -> impl Iterator<Item = &mut Map<String, Value>> {
    let spec = pod.get_mut("spec").and_then(Value::as_object_mut).into_iter();
    spec.flat_map(|spec| spec.iter_mut())
        .filter(|(field, _)| ["containers", "initContainers"].contains(&field.as_str()))
        .filter_map(|(_, list)| list.as_array_mut())
        .flatten()
        .filter_map(Value::as_object_mut)
}

/// What is limited is also requested. On pods only, so that templates stay as written.
fn requests_from_limits(pod: &mut Map<String, Value>) {
    for container in containers(pod) {
        let Some(resources) = container.get_mut("resources").and_then(Value::as_object_mut) else { continue };
        let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { continue };
        let requests = resources.entry("requests").or_insert_with(|| json!({}));
        if let Some(requests) = requests.as_object_mut() {
            for (name, limit) in limits {
                requests.entry(name).or_insert(limit);
            }
        }
    }
}

fn host_network_ports(pod: &mut Map<String, Value>) {
    let spec = pod.get("spec").and_then(Value::as_object);
    if spec.and_then(|spec| spec.get("hostNetwork")) != Some(&Value::Bool(true)) {
        return;
    }
    for container in containers(pod) {
        let ports = container.get_mut("ports").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten().filter_map(Value::as_object_mut) {
            if let Some(number) = port.get("containerPort").cloned() {
                port.entry("hostPort").or_insert(number);
            }
        }
    }
}

/// A service port leads to the same number on the pod.
fn target_port(port: &mut Map<String, Value>) {
    let absent = match port.get("targetPort") {
        None | Some(Value::Null) => true,
        Some(Value::String(name)) => name.is_empty(),
        Some(number) => number.as_i64() == Some(0),
    };
    if absent && let Some(number) = port.get("port").cloned() {
        port.insert("targetPort".into(), number);
    }
}

fn allocatable(node: &mut Map<String, Value>) {
    let Some(status) = node.get_mut("status").and_then(Value::as_object_mut) else { return };
    if let Some(capacity) = status.get("capacity").cloned() {
        status.entry("allocatable").or_insert(capacity);
    }
}

fn template_labels(object: &Map<String, Value>) -> Option<Value> {
    object.get("spec")?.pointer("/template/metadata/labels").filter(|labels| labels.is_object()).cloned()
}

/// A Job without labels gets those of its pods.
fn labels_from_template(job: &mut Map<String, Value>) {
    let Some(labels) = template_labels(job) else { return };
    let Some(metadata) = job.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let empty = metadata.get("labels").and_then(Value::as_object).is_none_or(Map::is_empty);
    if empty {
        metadata.insert("labels".into(), labels);
    }
}

fn selector_from_template(controller: &mut Map<String, Value>) {
    let Some(labels) = template_labels(controller) else { return };
    if let Some(spec) = controller.get_mut("spec").and_then(Value::as_object_mut) {
        spec.entry("selector").or_insert(labels);
    }
}

fn policy_types(spec: &mut Map<String, Value>) {
    let given = |field: &str| spec.get(field).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if given("policyTypes") {
        return;
    }
    let types = if given("egress") { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    spec.insert("policyTypes".into(), types);
}

fn crd_names(spec: &mut Map<String, Value>) {
    let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) else { return };
    let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
    let absent = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().is_empty();
    if absent(names.get("singular")) {
        names.insert("singular".into(), json!(kind.to_lowercase()));
    }
    if absent(names.get("listKind")) && !kind.is_empty() {
        names.insert("listKind".into(), json!(format!("{kind}List")));
    }
}
