//! Workloads: what makes pods.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Kind;
use crate::api::read::scale::selector_text;
use crate::api::read::table::text::{NONE, age, duration, items, number, or_none, pairs, since, text};

const APPS: &str = "apps";
const BATCH: &str = "batch";

pub const KINDS: &[Kind] = &[
    Kind {
        group: APPS,
        plural: "deployments",
        columns: "Name,Ready,Up-to-date#,Available#,Age,Containers+,Images+,Selector+",
        cells: deployment,
    },
    Kind {
        group: APPS,
        plural: "replicasets",
        columns: "Name,Desired#,Current#,Ready#,Age,Containers+,Images+,Selector+",
        cells: replica_set,
    },
    Kind {
        group: "",
        plural: "replicationcontrollers",
        columns: "Name,Desired#,Current#,Ready#,Age,Containers+,Images+,Selector+",
        cells: replica_set,
    },
    Kind {
        group: APPS,
        plural: "statefulsets",
        columns: "Name,Ready,Age,Containers+,Images+",
        cells: stateful_set,
    },
    Kind {
        group: APPS,
        plural: "daemonsets",
        columns: "Name,Desired#,Current#,Ready#,Up-to-date#,Available#,Node Selector,Age,Containers+,Images+,Selector+",
        cells: daemon_set,
    },
    Kind {
        group: BATCH,
        plural: "jobs",
        columns: "Name,Status,Completions,Duration,Age,Containers+,Images+,Selector+",
        cells: job,
    },
    Kind {
        group: BATCH,
        plural: "cronjobs",
        columns: "Name,Schedule,Timezone,Suspend,Active#,Last Schedule,Age,Containers+,Images+,Selector+",
        cells: cron_job,
    },
];

/// Names and images of the containers of a pod template.
fn containers(object: &Value, pod_spec: &str) -> [Value; 2] {
    ["/name", "/image"].map(|field| {
        let all: Vec<&str> = items(object, &format!("{pod_spec}/containers"))
            .map(|container| text(container, field))
            .collect();
        json!(all.join(","))
    })
}

fn selector(object: &Value) -> Value {
    or_none(object.pointer("/spec/selector").map(selector_text).unwrap_or_default())
}

const TEMPLATE: &str = "/spec/template/spec";

fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas"));
    let [names, images] = containers(object, TEMPLATE);
    vec![
        json!(ready),
        json!(number(object, "/status/updatedReplicas")),
        json!(number(object, "/status/availableReplicas")),
        age(object, now),
        names,
        images,
        selector(object),
    ]
}

fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let counts = ["/spec/replicas", "/status/replicas", "/status/readyReplicas"];
    let [names, images] = containers(object, TEMPLATE);
    let counts = counts.map(|count| json!(number(object, count)));
    counts.into_iter().chain([age(object, now), names, images, selector(object)]).collect()
}

fn stateful_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let ready = format!("{}/{}", number(object, "/status/readyReplicas"), number(object, "/spec/replicas"));
    let [names, images] = containers(object, TEMPLATE);
    vec![json!(ready), age(object, now), names, images]
}

fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let counts = [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    ];
    let counts = counts.map(|count| json!(number(object, &format!("/status/{count}"))));
    let [names, images] = containers(object, TEMPLATE);
    let nodes = or_none(pairs(object.pointer("/spec/template/spec/nodeSelector")));
    counts.into_iter().chain([nodes, age(object, now), names, images, selector(object)]).collect()
}

fn job(object: &Value, now: Timestamp) -> Vec<Value> {
    let holds = |kind: &str| {
        items(object, "/status/conditions")
            .any(|condition| condition["type"] == kind && condition["status"] == "True")
    };
    let status = if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if object["metadata"]["deletionTimestamp"].is_string() {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else if holds("FailureTarget") {
        "FailureTarget"
    } else if holds("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    let succeeded = number(object, "/status/succeeded");
    let wanted = object.pointer("/spec/completions").and_then(Value::as_i64);
    let completions = match (wanted, number(object, "/spec/parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let moment = |pointer: &str| text(object, pointer).parse::<Timestamp>().ok();
    let took = match (moment("/status/startTime"), moment("/status/completionTime")) {
        (Some(start), Some(end)) => duration(end.as_second() - start.as_second()),
        (Some(start), None) => duration(now.as_second() - start.as_second()),
        (None, _) => String::new(),
    };
    let [names, images] = containers(object, TEMPLATE);
    vec![json!(status), json!(completions), json!(took), age(object, now), names, images, selector(object)]
}

fn cron_job(object: &Value, now: Timestamp) -> Vec<Value> {
    let last = match text(object, "/status/lastScheduleTime") {
        "" => NONE.to_owned(),
        moment => since(moment, now),
    };
    let suspended = if object["spec"]["suspend"] == true { "True" } else { "False" };
    let [names, images] = containers(object, "/spec/jobTemplate/spec/template/spec");
    let selector = object.pointer("/spec/jobTemplate/spec/selector").map(selector_text);
    vec![
        json!(text(object, "/spec/schedule")),
        or_none(text(object, "/spec/timeZone")),
        json!(suspended),
        json!(items(object, "/status/active").count()),
        json!(last),
        age(object, now),
        names,
        images,
        or_none(selector.unwrap_or_default()),
    ]
}
