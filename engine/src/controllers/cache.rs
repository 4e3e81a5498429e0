//! The last known state of every object of one kind, in which a controller sees its own writes at once.
//!
//! A plain reflector lags behind the writes of its own process, so a controller that counts objects would create a replica twice.
//! Here each answer of the API server to a write goes into the cache as well; revisions decide which of two states is newer, so the
//! order in which answers and watch events arrive does not matter.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::{Resource, ResourceExt};

/// Namespace (empty for cluster-scoped objects) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    /// Namespace, empty for cluster-scoped objects.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

impl Key {
    /// A key from its two parts.
    pub(crate) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object.
    pub(crate) fn of<K: Resource>(object: &K) -> Key {
        Key::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// One object before and after; at least one side is there.
#[derive(Debug)]
pub(crate) struct Change<K> {
    /// State before, `None` when the object is new.
    pub old: Option<Arc<K>>,
    /// State after, `None` when the object is gone.
    pub new: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// Both states that exist, the newer one first.
    pub(crate) fn states(&self) -> impl Iterator<Item = &Arc<K>> {
        self.new.iter().chain(self.old.iter())
    }

    /// The newer of the two states.
    pub(crate) fn latest(&self) -> Option<&Arc<K>> {
        self.states().next()
    }
}

/// See the module.
pub(crate) struct Cache<K> {
    state: Mutex<State<K>>,
}

struct State<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// Keys by the uid of the controlling owner; the empty string holds those without one.
    owned: HashMap<String, BTreeSet<Key>>,
    /// Newest revision the watch delivered.
    delivered: u64,
    /// Objects this process removed and whose DELETED event is still to come.
    removed: HashSet<String>,
    /// Keys this process wrote since the list in progress began.
    written: Option<HashSet<Key>>,
}

impl<K: Resource> Cache<K> {
    /// An empty cache.
    pub(crate) fn new() -> Cache<K> {
        let state = State {
            objects: BTreeMap::new(),
            owned: HashMap::new(),
            delivered: 0,
            removed: HashSet::new(),
            written: None,
        };
        Cache { state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One object.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.state().objects.get(key).cloned()
    }

    /// Every object, in key order.
    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.state().objects.values().cloned().collect()
    }

    /// Every object of one namespace, in name order.
    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.state();
        let from = Key::new(namespace, "");
        state
            .objects
            .range(from..)
            .take_while(|(key, _)| key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Objects whose controlling owner has this uid.
    pub(crate) fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        let state = self.state();
        let keys = state.owned.get(uid).into_iter().flatten();
        keys.filter_map(|key| state.objects.get(key).cloned()).collect()
    }

    /// Objects of one namespace without a controlling owner.
    pub(crate) fn orphans(&self, namespace: &str) -> Vec<Arc<K>> {
        let state = self.state();
        let keys = state.owned.get("").into_iter().flatten();
        keys.filter(|key| key.namespace == namespace)
            .filter_map(|key| state.objects.get(key).cloned())
            .collect()
    }

    /// A state delivered by the watch.
    pub(crate) fn observed(&self, object: K) -> Option<Change<K>> {
        let mut state = self.state();
        state.delivered = state.delivered.max(revision(&object));
        state.insert(object)
    }

    /// A deletion delivered by the watch; `object` is the last state.
    pub(crate) fn observed_deletion(&self, object: K) -> Option<Change<K>> {
        let mut state = self.state();
        state.delivered = state.delivered.max(revision(&object));
        let uid = object.uid().unwrap_or_default();
        if state.removed.remove(&uid) {
            return None;
        }
        let key = Key::of(&object);
        match state.objects.get(&key) {
            Some(cached) if cached.uid() == object.uid() => state.remove(&key),
            // A later object of the same name is already here.
            _ => Some(Change { old: Some(Arc::new(object)), new: None }),
        }
    }

    /// A complete list is about to be read.
    pub(crate) fn list_begins(&self) {
        self.state().written = Some(HashSet::new());
    }

    /// A complete list was read: what is not in it is gone, except what this process wrote meanwhile.
    pub(crate) fn listed(&self, objects: Vec<K>) -> Vec<Change<K>> {
        let mut state = self.state();
        let mut keep = state.written.take().unwrap_or_default();
        state.removed.clear();
        let mut changes = Vec::new();
        for object in objects {
            keep.insert(Key::of(&object));
            state.delivered = state.delivered.max(revision(&object));
            changes.extend(state.insert(object));
        }
        let gone: Vec<Key> = state.objects.keys().filter(|key| !keep.contains(key)).cloned().collect();
        changes.extend(gone.iter().filter_map(|key| state.remove(key)));
        changes
    }

    /// The API server's answer to a write of this process.
    pub(crate) fn wrote(&self, object: K) -> Option<Change<K>> {
        let mut state = self.state();
        let key = Key::of(&object);
        // The watch is past this write and the object is not there: it was deleted since.
        if revision(&object) <= state.delivered && !state.objects.contains_key(&key) {
            return None;
        }
        if let Some(written) = &mut state.written {
            written.insert(key);
        }
        state.insert(object)
    }

    /// This process removed the object of this key and uid.
    pub(crate) fn wrote_deletion(&self, key: &Key, uid: &str) -> Option<Change<K>> {
        let mut state = self.state();
        match state.objects.get(key) {
            Some(cached) if cached.meta().uid.as_deref() == Some(uid) => {
                state.removed.insert(uid.to_owned());
                state.remove(key)
            }
            _ => None,
        }
    }
}

impl<K: Resource> State<K> {
    fn insert(&mut self, mut object: K) -> Option<Change<K>> {
        if self.removed.contains(object.meta().uid.as_deref().unwrap_or_default()) {
            return None;
        }
        let key = Key::of(&object);
        let known = self.objects.get(&key);
        if known.is_some_and(|known| revision(&**known) >= revision(&object) && revision(&object) != 0) {
            return None;
        }
        // The largest part of most objects, and of no use to a controller.
        object.meta_mut().managed_fields = None;
        let object = Arc::new(object);
        if let Some(known) = known {
            let owner = controller_uid(&**known).to_owned();
            self.disown(&owner, &key);
        }
        self.owned.entry(controller_uid(&*object).to_owned()).or_default().insert(key.clone());
        let old = self.objects.insert(key, object.clone());
        Some(Change { old, new: Some(object) })
    }

    fn remove(&mut self, key: &Key) -> Option<Change<K>> {
        let old = self.objects.remove(key)?;
        self.disown(controller_uid(&*old), key);
        Some(Change { old: Some(old), new: None })
    }

    fn disown(&mut self, owner: &str, key: &Key) {
        if let Some(keys) = self.owned.get_mut(owner) {
            keys.remove(key);
            if keys.is_empty() {
                self.owned.remove(owner);
            }
        }
    }
}

/// Revisions of one kind are ordered numbers; 0 when the server's are not numbers, and then every state counts as new.
fn revision<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn controller_uid<K: Resource>(object: &K) -> &str {
    let owners = object.meta().owner_references.iter().flatten();
    owners.into_iter().find(|owner| owner.controller == Some(true)).map_or("", |owner| owner.uid.as_str())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn object(name: &str, uid: &str, revision: u64) -> ConfigMap {
        serde_json::from_value(json!({
            "metadata": {"namespace": "ns", "name": name, "uid": uid, "resourceVersion": revision.to_string()}
        }))
        .unwrap()
    }

    fn names(cache: &Cache<ConfigMap>) -> Vec<String> {
        cache
            .all()
            .iter()
            .map(|object| format!("{}@{}", object.name_any(), object.resource_version().unwrap()))
            .collect()
    }

    #[test]
    fn own_write_is_seen_before_its_event_and_reported_once() {
        let cache = Cache::new();
        assert!(cache.wrote(object("a", "u1", 5)).is_some());
        assert!(cache.observed(object("a", "u1", 5)).is_none());
        assert_eq!(names(&cache), ["a@5"]);
    }

    #[test]
    fn late_answer_does_not_bring_back_a_deleted_object() {
        let cache = Cache::new();
        cache.observed(object("a", "u1", 5));
        cache.observed_deletion(object("a", "u1", 7));
        assert!(cache.wrote(object("a", "u1", 5)).is_none());
        assert!(names(&cache).is_empty());
    }

    #[test]
    fn stale_events_do_not_bring_back_what_this_process_removed() {
        let cache = Cache::new();
        cache.observed(object("a", "u1", 5));
        assert!(cache.wrote_deletion(&Key::new("ns", "a"), "u1").is_some());
        assert!(cache.observed(object("a", "u1", 6)).is_none());
        assert!(cache.observed_deletion(object("a", "u1", 8)).is_none());
        assert!(names(&cache).is_empty());
        assert!(cache.observed(object("a", "u2", 9)).is_some());
    }

    #[test]
    fn list_replaces_everything_but_writes_made_meanwhile() {
        let cache = Cache::new();
        cache.observed(object("a", "u1", 5));
        cache.observed(object("b", "u2", 6));
        cache.list_begins();
        cache.wrote(object("c", "u3", 9));
        let changes = cache.listed(vec![object("b", "u2", 7)]);
        assert_eq!(names(&cache), ["b@7", "c@9"]);
        assert_eq!(changes.len(), 2);
    }

    #[test]
    fn objects_are_found_by_their_controlling_owner() {
        let cache = Cache::new();
        let mut owned = object("a", "u1", 5);
        owned.metadata.owner_references = Some(vec![
            serde_json::from_value(
                json!({"apiVersion": "v1", "kind": "X", "name": "x", "uid": "o", "controller": true}),
            )
            .unwrap(),
        ]);
        cache.observed(owned);
        cache.observed(object("b", "u2", 6));
        assert_eq!(cache.owned_by("o").len(), 1);
        assert_eq!(cache.orphans("ns").len(), 1);
        cache.observed(object("a", "u1", 7));
        assert_eq!((cache.owned_by("o").len(), cache.orphans("ns").len()), (0, 2));
    }
}
