//! Configuration: a ConfigMap, Secret or key that is not there, or content the program does not understand.

use super::{Saying, between, distinct, sayings};
use crate::diagnose::Cause;
use crate::diagnose::snapshot::Snapshot;
use crate::diagnose::view;
use crate::object::text;
use mistake::did_you_mean;
use serde_json::Value;

pub(super) fn missing_store_or_key(snapshot: &Snapshot) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    for saying in sayings(snapshot) {
        let Some((sentence, hint)) = missing(&saying.words, snapshot) else { continue };
        match causes.iter_mut().find(|cause| cause.sentence == sentence) {
            Some(cause) if cause.evidence.len() < 2 => cause.evidence.push(saying.evidence()),
            Some(_) => {}
            None => causes.push(Cause { sentence, evidence: vec![saying.evidence()], hint, weight: 98 }),
        }
    }
    // Seen in events long after it was put right: a cause only while a pod still waits.
    if view::pods(snapshot).iter().flat_map(|pod| view::containers(pod)).all(|container| container.is_ready())
    {
        causes.clear();
    }
    causes
}

/// The kubelet's own words: `configmap "x" not found`, `couldn't find key k in Secret ns/x`, `references non-existent config key: k`.
fn missing(words: &str, snapshot: &Snapshot) -> Option<(String, String)> {
    if let Some(key) = between(&format!("{words} "), "couldn't find key ", " in ") {
        let store = words.split_once(" in ")?.1.trim();
        let (kind, name) = store.split_once(' ')?;
        let name = name.rsplit('/').next()?.trim_end_matches(['.', ',', ';']);
        let known = snapshot
            .stores
            .iter()
            .find(|each| text(each, "/metadata/name") == name && text(each, "/kind") == kind);
        let keys: Vec<&str> = known
            .and_then(|store| store.get("data")?.as_object())
            .into_iter()
            .flat_map(|data| data.keys())
            .map(String::as_str)
            .collect();
        let hint = did_you_mean(key, keys.iter().copied())
            .unwrap_or_else(|| format!("its keys are: {}", keys.join(", ")));
        return Some((format!("{kind} `{name}` has no key `{key}`"), hint));
    }
    if let Some(key) = words.split_once("references non-existent config key: ").map(|(_, key)| key.trim()) {
        return Some((
            format!("a volume wants key `{key}`, which its ConfigMap or Secret does not have"),
            "correct the key under `items`".to_owned(),
        ));
    }
    for (word, kind) in [("configmap", "ConfigMap"), ("secret", "Secret")] {
        let name = between(words, &format!("{word} \""), "\" not found");
        if let Some(name) = name.filter(|name| !name.contains('"')) {
            let of_kind = |store: &&Value| text(store, "/kind") == kind;
            let names = snapshot.stores.iter().filter(of_kind).map(|store| text(store, "/metadata/name"));
            let hint = did_you_mean(name, names).unwrap_or_else(|| format!("declare it, or correct the name; if it is made at run time, see why its maker has not: kubectl get {word}s"));
            return Some((format!("{kind} `{name}` does not exist"), hint));
        }
    }
    None
}

pub(super) fn misread(snapshot: &Snapshot) -> Vec<Cause> {
    let phrases = [
        "unknown field",
        "unknown key",
        "unknown variant",
        "missing field",
        "unexpected argument",
        "unrecognized option",
        "unrecognised option",
        "invalid value for",
        "flag provided but not defined",
        "unknown flag",
    ];
    let mut causes = Vec::new();
    for container in view::all_containers(snapshot).into_iter().filter(|container| !container.is_ready()) {
        let lines = view::logs(snapshot, &container).into_iter().flat_map(|log| &log.lines);
        let mut telling =
            lines.filter(|line| phrases.iter().any(|phrase| line.to_lowercase().contains(phrase)));
        let Some(line) = telling.next_back() else { continue };
        let saying = Saying { place: format!("log of {}", container.place()), words: line.clone() };
        causes.push(Cause {
            sentence: format!(
                "container `{}` does not understand its arguments or configuration: {}",
                container.name(),
                line.trim()
            ),
            evidence: distinct([saying.evidence()], 1),
            hint: "correct the argument, variable or ConfigMap it names".to_owned(),
            weight: 92,
        });
    }
    causes
}
