//! The store: every object, one revision counter, and a bounded history from which watches are fed.
//!
//! Collections are persistent maps: a snapshot is a pointer copy, so listing never copies or blocks the store. Objects are
//! kept as the JSON text that is sent, with the few fields selection needs beside it.

mod history;
mod object;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use imbl::OrdMap;
use serde_json::Value;
use tokio::sync::watch;

pub use history::{Change, Event, Expired};
pub use object::{Object, labels_of};

use history::History;

/// A collection's identity: API group and plural resource name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural name, e.g. `configmaps`.
    pub resource: String,
}

impl GroupResource {
    /// The collection of `resource` in `group`.
    pub fn new(group: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { group: group.into(), resource: resource.into() }
    }
}

/// Namespace (empty for cluster-scoped objects) and name; the order of lists.
pub type Key = (String, String);

/// Objects of one collection at one revision.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Revision of the whole store when the snapshot was taken.
    pub revision: u64,
    /// The objects by key.
    pub objects: OrdMap<Key, Arc<Object>>,
}

/// Why a write was not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The object to create is there already.
    Exists,
    /// The object is gone, or is no longer at the expected revision.
    Changed,
}

/// What a write needs the object to be at the moment of the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Not there.
    Absent,
    /// There, last written at this revision.
    Revision(u64),
}

struct Collection {
    objects: OrdMap<Key, Arc<Object>>,
    history: History,
    latest: watch::Sender<u64>,
}

struct State {
    revision: u64,
    collections: HashMap<GroupResource, Collection>,
    /// Snapshots that continue tokens refer to, oldest first.
    paged: VecDeque<(GroupResource, Snapshot)>,
}

/// All state of the API server. Shared by reference; every method is short and never waits.
pub struct Store {
    state: Mutex<State>,
    history_limit: usize,
}

/// How many unfinished paged lists are remembered.
const PAGED_SNAPSHOTS: usize = 32;

impl Store {
    /// An empty store that remembers `history_limit` changes per collection.
    pub fn new(history_limit: usize) -> Self {
        let state = State { revision: 1, collections: HashMap::new(), paged: VecDeque::new() };
        Self { state: Mutex::new(state), history_limit }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code path leaves the state half changed, so a poisoned lock is still good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The revision of the last write.
    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// The object at `key`.
    pub fn get(&self, collection: &GroupResource, key: &Key) -> Option<Arc<Object>> {
        self.lock().collections.get(collection)?.objects.get(key).cloned()
    }

    /// The collection as it is now.
    pub fn snapshot(&self, collection: &GroupResource) -> Snapshot {
        let state = self.lock();
        let objects =
            state.collections.get(collection).map(|found| found.objects.clone()).unwrap_or_default();
        Snapshot { revision: state.revision, objects }
    }

    /// Keeps a snapshot so that a later page of the same list can be served from it.
    pub fn remember(&self, collection: &GroupResource, snapshot: &Snapshot) {
        let mut state = self.lock();
        let known =
            state.paged.iter().any(|(of, kept)| of == collection && kept.revision == snapshot.revision);
        if known {
            return;
        }
        if state.paged.len() == PAGED_SNAPSHOTS {
            state.paged.pop_front();
        }
        state.paged.push_back((collection.clone(), snapshot.clone()));
    }

    /// The collection as it was at `revision`, if that was remembered or the history reaches back to it.
    pub fn snapshot_at(&self, collection: &GroupResource, revision: u64) -> Option<Snapshot> {
        let state = self.lock();
        if revision > state.revision {
            return None;
        }
        let kept =
            state.paged.iter().find(|(of, snapshot)| of == collection && snapshot.revision == revision);
        if let Some((_, snapshot)) = kept {
            return Some(snapshot.clone());
        }
        let mut objects = OrdMap::new();
        if let Some(found) = state.collections.get(collection) {
            objects = found.objects.clone();
            for Event { object, previous, .. } in found.history.after(revision).ok()?.into_iter().rev() {
                let key = (object.namespace.clone(), object.name.clone());
                match previous {
                    Some(previous) => objects.insert(key, previous),
                    None => objects.remove(&key),
                };
            }
        }
        Some(Snapshot { revision, objects })
    }

    /// Writes `value` (its `resourceVersion` is set here), or removes the object when `value` is the last state of a
    /// removed one (see [`Store::remove`]).
    pub fn put(
        &self,
        collection: &GroupResource,
        key: &Key,
        expect: Expect,
        value: Value,
    ) -> Result<Arc<Object>, Refused> {
        self.write(collection, key, expect, value, false)
    }

    /// Removes the object; `last` is the state its `DELETED` event shows.
    pub fn remove(
        &self,
        collection: &GroupResource,
        key: &Key,
        expect: Expect,
        last: Value,
    ) -> Result<Arc<Object>, Refused> {
        self.write(collection, key, expect, last, true)
    }

    fn write(
        &self,
        collection: &GroupResource,
        key: &Key,
        expect: Expect,
        value: Value,
        remove: bool,
    ) -> Result<Arc<Object>, Refused> {
        let mut state = self.lock();
        let revision = state.revision + 1;
        let limit = self.history_limit;
        let entry = state.collections.entry(collection.clone()).or_insert_with(|| Collection::new(limit));
        let previous = entry.objects.get(key).cloned();
        match (expect, &previous) {
            (Expect::Absent, Some(_)) => return Err(Refused::Exists),
            (Expect::Revision(_), None) => return Err(Refused::Changed),
            (Expect::Revision(expected), Some(found)) if found.revision != expected => {
                return Err(Refused::Changed);
            }
            _ => {}
        }
        let object = Arc::new(Object::new(key, revision, value));
        let change = match (&previous, remove) {
            (_, true) => Change::Deleted,
            (Some(_), false) => Change::Modified,
            (None, false) => Change::Added,
        };
        if remove {
            entry.objects.remove(key);
        } else {
            entry.objects.insert(key.clone(), object.clone());
        }
        entry.history.push(Event { revision, change, object: object.clone(), previous });
        entry.latest.send_replace(revision);
        state.revision = revision;
        Ok(object)
    }

    /// A receiver that changes with every write to the collection.
    pub fn subscribe(&self, collection: &GroupResource) -> watch::Receiver<u64> {
        let mut state = self.lock();
        let limit = self.history_limit;
        let entry = state.collections.entry(collection.clone()).or_insert_with(|| Collection::new(limit));
        entry.latest.subscribe()
    }

    /// Changes made after `revision`, oldest first, and the store's revision they lead to.
    pub fn events_after(
        &self,
        collection: &GroupResource,
        revision: u64,
    ) -> Result<(Vec<Event>, u64), Expired> {
        let state = self.lock();
        let now = state.revision;
        match state.collections.get(collection) {
            Some(found) => Ok((found.history.after(revision)?, now)),
            None => Ok((Vec::new(), now)),
        }
    }

    /// Forgets all history and remembered pages, so that every older revision is expired.
    pub fn compact(&self) {
        let mut state = self.lock();
        let revision = state.revision;
        state.paged.clear();
        for collection in state.collections.values_mut() {
            collection.history.compact(revision);
        }
    }
}

impl Collection {
    fn new(history_limit: usize) -> Self {
        Self { objects: OrdMap::new(), history: History::new(history_limit), latest: watch::Sender::new(0) }
    }
}

#[cfg(test)]
mod tests;
