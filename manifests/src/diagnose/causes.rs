//! Every cause that is recognised: one function each, from a snapshot to what it found. They do not know each other; the weight of
//! what they find decides the order.

mod access;
mod config;
mod crash;
mod image;
mod network;
mod node;
mod probe;
mod rollout;
mod storage;
mod webhook;

use serde_json::Value;

use super::Cause;
use super::snapshot::Snapshot;
use super::view;
use crate::object::{number, text};

/// A recogniser.
pub(super) type Recognise = fn(&Snapshot) -> Vec<Cause>;

/// All of them.
pub(super) const ALL: &[Recognise] = &[
    image::cannot_be_pulled,
    image::wrong_architecture,
    config::missing_store_or_key,
    config::misread,
    access::forbidden,
    access::account_or_quota,
    webhook::failing,
    webhook::mistrusted,
    webhook::without_authority,
    storage::read_only,
    storage::claim_pending,
    probe::readiness,
    probe::liveness,
    network::no_endpoints,
    node::not_ready,
    node::unschedulable,
    crash::out_of_memory,
    crash::loops,
    rollout::older_revision,
];

/// What somebody said and who: an event, a log line, or the wait's last word.
struct Saying {
    place: String,
    words: String,
}

impl Saying {
    fn evidence(&self) -> String {
        format!("{}: {}", self.place, self.words)
    }
}

/// Everything said about or by the component's workloads and pods.
fn sayings(snapshot: &Snapshot) -> Vec<Saying> {
    let mut all: Vec<Saying> = snapshot
        .notes
        .iter()
        .map(|note| Saying { place: "the wait for readiness".to_owned(), words: note.clone() })
        .collect();
    let pods = view::pods(snapshot);
    let sets = view::workloads(snapshot).flat_map(|workload| view::replica_sets(snapshot, workload));
    let about = view::workloads(snapshot).chain(sets).chain(pods.iter().copied());
    for object in about.chain(snapshot.claims.iter()) {
        for event in view::events(snapshot, object) {
            let kind = text(object, "/kind").to_lowercase();
            let name = text(object, "/metadata/name");
            let place = format!("event {} of {kind} {name}", text(event, "/reason"));
            all.push(Saying { place, words: text(event, "/message").to_owned() });
        }
    }
    for container in view::all_containers(snapshot) {
        for (what, message) in [("waiting", container.waiting_message()), ("end", end_message(&container))] {
            if !message.is_empty() {
                all.push(Saying {
                    place: format!("{} ({what})", container.place()),
                    words: message.to_owned(),
                });
            }
        }
        for log in view::logs(snapshot, &container) {
            let place = format!("log of {}", container.place());
            all.extend(log.lines.iter().map(|line| Saying { place: place.clone(), words: line.clone() }));
        }
    }
    all
}

fn end_message<'a>(container: &view::Container<'a>) -> &'a str {
    container.ended().map(|ended| text(ended, "/message").trim()).unwrap_or_default()
}

/// The first `limit` different pieces of evidence.
fn distinct(evidence: impl IntoIterator<Item = String>, limit: usize) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for each in evidence {
        if kept.len() < limit && !kept.contains(&each) {
            kept.push(each);
        }
    }
    kept
}

/// The text between `before` and the next `after`.
fn between<'a>(words: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let rest = words.split_once(before)?.1;
    rest.split_once(after).map(|(inside, _)| inside).filter(|inside| !inside.is_empty())
}

fn exit_code(container: &view::Container<'_>) -> Option<i64> {
    number(container.ended()?, "/exitCode")
}

/// `kubectl <words> -n <namespace of the object>`.
fn kubectl(words: &str, object: &Value) -> String {
    format!("kubectl {words} -n {}", text(object, "/metadata/namespace"))
}
