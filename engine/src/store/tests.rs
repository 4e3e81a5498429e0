//! The store's promises: one counter, optimistic writes, ordered history, expiry.

use serde_json::json;

use super::*;

fn configmaps() -> GroupResource {
    GroupResource::new("", "configmaps")
}

fn key(name: &str) -> Key {
    ("default".into(), name.into())
}

fn object(name: &str, data: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": data}})
}

#[test]
fn a_write_at_an_old_revision_is_refused() {
    let store = Store::new(10);
    let first = store.put(&configmaps(), &key("a"), Expect::Absent, object("a", "1")).unwrap();
    let second =
        store.put(&configmaps(), &key("a"), Expect::Revision(first.revision), object("a", "2")).unwrap();
    assert!(second.revision > first.revision);
    let stale = store.put(&configmaps(), &key("a"), Expect::Revision(first.revision), object("a", "3"));
    assert_eq!(stale.unwrap_err(), Refused::Changed);
    let twice = store.put(&configmaps(), &key("a"), Expect::Absent, object("a", "1"));
    assert_eq!(twice.unwrap_err(), Refused::Exists);
    assert_eq!(store.get(&configmaps(), &key("a")).unwrap().value()["data"]["a"], "2");
}

#[test]
fn one_counter_serves_all_collections_and_is_the_resource_version() {
    let store = Store::new(10);
    let secrets = GroupResource::new("", "secrets");
    let first = store.put(&configmaps(), &key("a"), Expect::Absent, object("a", "1")).unwrap();
    let second = store.put(&secrets, &key("a"), Expect::Absent, object("a", "1")).unwrap();
    assert_eq!(second.revision, first.revision + 1);
    assert_eq!(second.value()["metadata"]["resourceVersion"], second.revision.to_string());
    assert_eq!(store.snapshot(&configmaps()).revision, second.revision);
}

#[test]
fn a_snapshot_does_not_see_later_writes() {
    let store = Store::new(10);
    store.put(&configmaps(), &key("a"), Expect::Absent, object("a", "1")).unwrap();
    let snapshot = store.snapshot(&configmaps());
    store.put(&configmaps(), &key("b"), Expect::Absent, object("b", "1")).unwrap();
    assert_eq!(snapshot.objects.len(), 1);
}

#[test]
fn a_collection_is_known_as_it_was_while_history_or_memory_last() {
    let store = Store::new(3);
    let first = store.put(&configmaps(), &key("a"), Expect::Absent, object("a", "1")).unwrap();
    let then = store.snapshot(&configmaps());
    store.put(&configmaps(), &key("a"), Expect::Revision(first.revision), object("a", "2")).unwrap();
    let added = store.put(&configmaps(), &key("b"), Expect::Absent, object("b", "1")).unwrap();
    let gone = Expect::Revision(added.revision);
    store.remove(&configmaps(), &key("b"), gone, object("b", "1")).unwrap();
    let at = |revision| {
        let snapshot = store.snapshot_at(&configmaps(), revision)?;
        let seen = snapshot.objects.values().map(|object| (object.name.clone(), object.revision));
        Some(seen.collect::<Vec<_>>())
    };
    assert_eq!(at(first.revision), Some(vec![("a".to_owned(), first.revision)]));
    assert_eq!(at(added.revision).unwrap().len(), 2);
    assert_eq!(at(store.revision()).unwrap().len(), 1);
    assert_eq!(at(store.revision() + 1), None);
    store.put(&configmaps(), &key("c"), Expect::Absent, object("c", "1")).unwrap();
    assert_eq!(at(first.revision), None);
    store.remember(&configmaps(), &then);
    assert_eq!(at(first.revision).unwrap().len(), 1);
}

#[test]
fn events_after_a_list_have_no_gap_and_old_revisions_expire() {
    let store = Store::new(2);
    store.put(&configmaps(), &key("a"), Expect::Absent, object("a", "1")).unwrap();
    let listed = store.snapshot(&configmaps()).revision;
    let second = store.put(&configmaps(), &key("b"), Expect::Absent, object("b", "1")).unwrap();
    let third =
        store.remove(&configmaps(), &key("b"), Expect::Revision(second.revision), second.value()).unwrap();
    let (events, now) = store.events_after(&configmaps(), listed).unwrap();
    let seen: Vec<_> = events.iter().map(|event| (event.revision, event.change)).collect();
    assert_eq!(seen, [(second.revision, Change::Added), (third.revision, Change::Deleted)]);
    assert_eq!(now, third.revision);
    assert_eq!(events[1].object.value()["metadata"]["resourceVersion"], third.revision.to_string());

    store.put(&configmaps(), &key("c"), Expect::Absent, object("c", "1")).unwrap();
    store.put(&configmaps(), &key("d"), Expect::Absent, object("d", "1")).unwrap();
    assert!(store.events_after(&configmaps(), listed).is_err());
    assert!(store.events_after(&configmaps(), third.revision).is_ok());
    store.compact();
    assert!(store.events_after(&configmaps(), third.revision).is_err());
    assert!(store.events_after(&configmaps(), store.revision()).is_ok());
}
