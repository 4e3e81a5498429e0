//! Nodes, namespaces, events, leases and definitions.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Kind;
use crate::api::read::table::text::{NONE, UNKNOWN, age, items, number, or_none, since, text};

const ADMISSION: &str = "admissionregistration.k8s.io";

pub const KINDS: &[Kind] = &[
    Kind {
        group: "",
        plural: "nodes",
        columns: "Name,Status,Roles,Age,Version,Internal-IP+,External-IP+,OS-Image+,Kernel-Version+,Container-Runtime+",
        cells: node,
    },
    Kind { group: "", plural: "namespaces", columns: "Name,Status,Age", cells: namespace },
    Kind {
        group: "",
        plural: "events",
        columns: "Last Seen,Type,Reason,Object,Subobject+,Source+,Message,First Seen+,Count#+,Name+",
        cells: event,
    },
    Kind {
        group: "events.k8s.io",
        plural: "events",
        columns: "Last Seen,Type,Reason,Object,Subobject+,Source+,Message,First Seen+,Count#+,Name+",
        cells: event,
    },
    Kind { group: "coordination.k8s.io", plural: "leases", columns: "Name,Holder,Age", cells: lease },
    Kind {
        group: "apiextensions.k8s.io",
        plural: "customresourcedefinitions",
        columns: "Name,Created At",
        cells: |object, _| vec![json!(text(object, "/metadata/creationTimestamp"))],
    },
    Kind {
        group: ADMISSION,
        plural: "mutatingwebhookconfigurations",
        columns: "Name,Webhooks#,Age",
        cells: webhooks,
    },
    Kind {
        group: ADMISSION,
        plural: "validatingwebhookconfigurations",
        columns: "Name,Webhooks#,Age",
        cells: webhooks,
    },
    Kind {
        group: "scheduling.k8s.io",
        plural: "priorityclasses",
        columns: "Name,Value#,Global-Default,Age,PreemptionPolicy",
        cells: priority_class,
    },
];

fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = items(object, "/status/conditions").find(|condition| condition["type"] == "Ready");
    let mut status = match ready.map(|condition| text(condition, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if object["spec"]["unschedulable"] == true {
        status.push_str(",SchedulingDisabled");
    }
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    let address = |kind: &str| {
        let found = items(object, "/status/addresses").find(|address| address["type"] == kind);
        or_none(found.map(|address| text(address, "/address")).unwrap_or_default())
    };
    let info = |field: &str| match text(object, &format!("/status/nodeInfo/{field}")) {
        "" => json!(UNKNOWN),
        known => json!(known),
    };
    vec![
        json!(status),
        or_none(roles.join(",")),
        age(object, now),
        json!(text(object, "/status/nodeInfo/kubeletVersion")),
        address("InternalIP"),
        address("ExternalIP"),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

fn namespace(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![json!(text(object, "/status/phase")), age(object, now)]
}

/// Of both versions; what one of them calls otherwise is looked for under both names.
fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let either = |names: [&str; 2]| {
        let found = names.map(|name| text(object, name));
        found.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
    };
    let about = object.get("involvedObject").or_else(|| object.get("regarding")).unwrap_or(&Value::Null);
    let (kind, name) = (text(about, "/kind").to_lowercase(), text(about, "/name"));
    let happened = text(object, "/eventTime");
    let first = either(["/firstTimestamp", "/deprecatedFirstTimestamp"]);
    let first = if first.is_empty() { happened } else { first };
    let last = either(["/series/lastObservedTime", "/lastTimestamp"]);
    let last = if last.is_empty() { text(object, "/deprecatedLastTimestamp") } else { last };
    let last = if last.is_empty() { first } else { last };
    let counts = ["/series/count", "/count", "/deprecatedCount"].map(|count| number(object, count));
    let count = counts.into_iter().find(|count| *count > 0).unwrap_or(1);
    let source = object.get("source").or_else(|| object.get("deprecatedSource")).unwrap_or(&Value::Null);
    let component = match text(source, "/component") {
        "" => either(["/reportingComponent", "/reportingController"]),
        component => component,
    };
    let host = match text(source, "/host") {
        "" => text(object, "/reportingInstance"),
        host => host,
    };
    let source = [component, host].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>();
    vec![
        json!(since(last, now)),
        json!(text(object, "/type")),
        json!(text(object, "/reason")),
        json!(if name.is_empty() { kind } else { format!("{kind}/{name}") }),
        json!(text(about, "/fieldPath")),
        json!(source.join(", ")),
        json!(either(["/message", "/note"]).trim()),
        json!(since(first, now)),
        json!(count),
        object["metadata"]["name"].clone(),
    ]
}

fn lease(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![json!(text(object, "/spec/holderIdentity")), age(object, now)]
}

fn webhooks(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![json!(items(object, "/webhooks").count()), age(object, now)]
}

fn priority_class(object: &Value, now: Timestamp) -> Vec<Value> {
    let policy = match text(object, "/preemptionPolicy") {
        "" => NONE,
        policy => policy,
    };
    let default = object["globalDefault"] == true;
    vec![json!(number(object, "/value")), json!(default.to_string()), age(object, now), json!(policy)]
}
