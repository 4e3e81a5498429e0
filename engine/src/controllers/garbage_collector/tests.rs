//! Ownership as data: objects in, what happens to one of them out.

use std::collections::HashMap;

use kube::discovery::ApiResource;
use serde_json::json;

use super::*;

fn kind(namespaced: bool) -> Arc<Kind> {
    let name = if namespaced { "Thing" } else { "Place" };
    let plural = format!("{}s", name.to_lowercase());
    let resource = ApiResource {
        group: "x.org".into(),
        version: "v1".into(),
        api_version: "x.org/v1".into(),
        kind: name.into(),
        plural,
    };
    Arc::new(Kind { resource, namespaced })
}

/// An object from one line: `name [<owner] [<owner!] [deleting] [+finalizer]`; `!` blocks the owner's deletion. The uid is the name;
/// capital letters are cluster-scoped.
fn object(line: &str) -> (Arc<Kind>, ObjectMeta) {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap();
    let namespaced = |name: &str| !name.starts_with(char::is_uppercase);
    let mut meta =
        json!({"name": name, "uid": name, "resourceVersion": "1", "ownerReferences": [], "finalizers": []});
    if namespaced(name) {
        meta["namespace"] = json!("ns");
    }
    for word in words {
        if let Some(owner) = word.strip_prefix('<') {
            let blocks = owner.ends_with('!');
            let owner = owner.trim_end_matches('!');
            let kind = kind(namespaced(owner));
            meta["ownerReferences"].as_array_mut().unwrap().push(json!({
                "apiVersion": "x.org/v1beta1", "kind": kind.resource.kind, "name": owner, "uid": owner,
                "blockOwnerDeletion": blocks,
            }));
        } else if let Some(finalizer) = word.strip_prefix('+') {
            meta["finalizers"].as_array_mut().unwrap().push(json!(finalizer));
        } else {
            meta["deletionTimestamp"] = json!("2030-01-01T00:00:00Z");
        }
    }
    (kind(namespaced(name)), serde_json::from_value(meta).unwrap())
}

fn graph(lines: &[&str]) -> Graph {
    let mut graph = Graph::default();
    for line in lines {
        let (kind, meta) = object(line);
        graph.observe(&Observation::Seen(kind, meta));
    }
    graph
}

fn text(step: Step) -> String {
    let owners = |owners: &[OwnerReference]| {
        let name = |one: &OwnerReference| {
            let mark = if one.block_owner_deletion == Some(true) { "!" } else { "" };
            format!("{}{mark}", one.name)
        };
        owners.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    match step {
        Step::Nothing => "nothing".to_owned(),
        Step::LookUp(owner) => format!("look up {}", owner.name),
        Step::Delete(policy) => format!("delete {policy:?}"),
        Step::SetOwners(left) => format!("owners {}", owners(&left)),
        Step::RemoveFinalizer(finalizer) => format!("remove {finalizer}"),
        Step::Orphan(dependents) => {
            let names: Vec<&str> = dependents.iter().map(|one| one.name.as_str()).collect();
            format!("orphan {}", names.join(" "))
        }
    }
}

/// What happens to the object called `name` among `lines`.
fn check(lines: &[&str], name: &str, expected: &str) {
    assert_eq!(text(graph(lines).decide(name, &HashMap::new())), expected);
}

#[test]
fn an_object_stays_with_its_owner() {
    check(&["a"], "a", "nothing");
    check(&["a", "b <a"], "b", "nothing");
    check(&["A", "b <A"], "b", "nothing");
    check(&["b <a"], "b", "look up a");
    check(&["b <a deleting"], "b", "nothing");
}

#[test]
fn an_object_goes_when_its_last_owner_is_certainly_gone() {
    let mut graph = graph(&["a", "o", "b <a", "c <a <o"]);
    let (kind, meta) = object("a");
    let affected = graph.observe(&Observation::Gone(kind, meta));
    assert_eq!(affected.into_iter().collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(text(graph.decide("b", &HashMap::new())), "delete Background");
    assert_eq!(text(graph.decide("c", &HashMap::new())), "owners o");
}

#[test]
fn what_was_looked_up_decides() {
    for (owner, expected) in [
        (Owner::Solid, "nothing"),
        (Owner::Undecidable, "nothing"),
        (Owner::Absent, "delete Background"),
        (Owner::Waiting, "delete Background"),
    ] {
        let known = HashMap::from([("a".to_owned(), owner)]);
        assert_eq!(text(graph(&["b <a"]).decide("b", &known)), expected, "{owner:?}");
    }
}

#[test]
fn a_reference_into_another_namespace_is_looked_up_at_home() {
    let mut graph = graph(&["b <a"]);
    let (kind, mut meta) = object("a");
    meta.namespace = Some("elsewhere".into());
    graph.observe(&Observation::Seen(kind, meta));
    assert_eq!(text(graph.decide("b", &HashMap::new())), "look up a");
}

#[test]
fn foreground_deletion_waits_for_those_that_block() {
    let owner = "a deleting +foregroundDeletion";
    check(&[owner, "b <a!"], "a", "nothing");
    check(&[owner, "b <a"], "a", "remove foregroundDeletion");
    check(&[owner, "b <a!"], "b", "delete Background");
    check(&[owner, "b <a!", "c <b!"], "b", "delete Foreground");
    check(&[owner, "o", "b <a! <o"], "b", "owners o");
}

#[test]
fn a_circle_is_broken() {
    let circle = ["a <b! deleting +foregroundDeletion", "b <a!"];
    check(&circle, "b", "owners a");
    check(&["a <b! deleting +foregroundDeletion", "b <a"], "b", "delete Foreground");
    check(&["a <b! deleting +foregroundDeletion", "b <a"], "a", "remove foregroundDeletion");
}

#[test]
fn orphans_are_freed_before_their_owner_goes() {
    check(&["a deleting +orphan", "b <a", "c <a"], "a", "orphan b c");
    check(&["a deleting +orphan"], "a", "remove orphan");
}

#[test]
fn beginning_to_wait_and_losing_a_dependent_are_noticed() {
    let mut graph = graph(&["a", "b <a!"]);
    let (kind, meta) = object("a deleting +foregroundDeletion");
    assert_eq!(graph.observe(&Observation::Seen(kind, meta)).into_iter().collect::<Vec<_>>(), ["a", "b"]);
    let (kind, meta) = object("b <a!");
    assert_eq!(graph.observe(&Observation::Gone(kind, meta)).into_iter().collect::<Vec<_>>(), ["a"]);
    assert_eq!(text(graph.decide("a", &HashMap::new())), "remove foregroundDeletion");
}

#[test]
fn nothing_ends_before_every_kind_was_listed() {
    let mut graph = graph(&["a deleting +foregroundDeletion"]);
    graph.observe(&Observation::Served(kind(false)));
    assert_eq!(text(graph.decide("a", &HashMap::new())), "nothing");
    let affected = graph.observe(&Observation::Listed(kind(false), vec![object("B <a!").1]));
    assert!(affected.contains("a"), "{affected:?}");
    assert_eq!(text(graph.decide("a", &HashMap::new())), "nothing");
    graph.observe(&Observation::Listed(kind(false), Vec::new()));
    assert_eq!(text(graph.decide("a", &HashMap::new())), "remove foregroundDeletion");
}

#[test]
fn objects_of_a_kind_that_is_served_no_more_may_still_be_there() {
    let unserved = |removed| Observation::Unserved { kind: kind(false), removed };
    let mut certain = graph(&["A", "b <A"]);
    certain.observe(&unserved(true));
    assert_eq!(text(certain.decide("b", &HashMap::new())), "delete Background");
    let mut uncertain = graph(&["A", "b <A"]);
    uncertain.observe(&unserved(false));
    assert_eq!(text(uncertain.decide("b", &HashMap::new())), "look up A");
}
