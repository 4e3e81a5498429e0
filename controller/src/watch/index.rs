//! Finds what is about a target without looking at everything there is.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;

/// Names of objects by the target they are about.
type Names<K> = HashMap<String, HashSet<ObjectRef<K>>>;

/// A store that is also searched by target. Cheap to clone.
pub struct ByTarget<K: Resource<DynamicType = ()> + 'static> {
    /// The objects.
    pub store: Store<K>,
    names: Arc<Mutex<Both<K>>>,
    target: fn(&K) -> Option<&str>,
}

/// What is known, and what a list that is under way has shown so far.
struct Both<K: Resource<DynamicType = ()>> {
    known: Names<K>,
    listed: Names<K>,
}

impl<K> ByTarget<K>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
    ObjectRef<K>: Hash + Eq,
{
    /// Of the objects in `store`, each about what `target` says.
    pub fn new(store: Store<K>, target: fn(&K) -> Option<&str>) -> Self {
        let names = Arc::new(Mutex::new(Both { known: HashMap::new(), listed: HashMap::new() }));
        Self { store, names, target }
    }

    /// Notes a change. It has to be told before the store is, which holds what counts.
    pub fn note(&self, event: &Event<K>) {
        let mut both = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let Both { known, listed } = &mut *both;
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(object) => {
                self.insert(listed, object);
                self.insert(known, object);
            }
            Event::InitDone => *known = std::mem::take(listed),
            Event::Apply(object) => self.insert(known, object),
            // The store tells what is gone; a name that comes back later is still right.
            Event::Delete(object) => {
                if let Some(target) = (self.target)(object)
                    && let Some(names) = known.get_mut(target)
                {
                    names.remove(&ObjectRef::from_obj(object));
                    if names.is_empty() {
                        known.remove(target);
                    }
                }
            }
        }
    }

    fn insert(&self, names: &mut Names<K>, object: &K) {
        if let Some(target) = (self.target)(object) {
            names.entry(target.to_owned()).or_default().insert(ObjectRef::from_obj(object));
        }
    }

    /// The objects about `target`, as they are now.
    pub fn about(&self, target: &str) -> Vec<Arc<K>> {
        let both = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let names = both.known.get(target).into_iter().flatten();
        names.filter_map(|name| self.store.get(name)).collect()
    }
}

impl<K: Resource<DynamicType = ()> + 'static> Clone for ByTarget<K> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), names: self.names.clone(), target: self.target }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use kube::ResourceExt;
    use kube::runtime::reflector;
    use serde_json::json;

    use super::*;

    fn pod(name: &str, target: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": name, "namespace": "n", "labels": {"t": target}}}))
            .unwrap()
    }

    #[test]
    fn objects_are_found_by_target_through_changes_and_lists() {
        let (store, mut writer) = reflector::store();
        let index = ByTarget::new(store, |pod: &Pod| pod.labels().get("t").map(String::as_str));
        let mut tell = |event: Event<Pod>| {
            index.note(&event);
            writer.apply_watcher_event(&event);
        };
        let about = |target: &str| {
            let mut names: Vec<String> = index.about(target).iter().map(|pod| pod.name_any()).collect();
            names.sort();
            names
        };
        [Event::Init, Event::InitApply(pod("a", "x")), Event::InitApply(pod("b", "y")), Event::InitDone]
            .into_iter()
            .for_each(&mut tell);
        tell(Event::Apply(pod("c", "x")));
        assert_eq!((about("x"), about("y")), (vec!["a".into(), "c".into()], vec!["b".into()]));
        tell(Event::Delete(pod("a", "x")));
        assert_eq!(about("x"), ["c"]);
        // A list after a gap: what is not in it is gone, although nobody said so.
        tell(Event::Init);
        tell(Event::InitApply(pod("d", "x")));
        assert_eq!(about("x"), ["c"], "until the list is complete");
        tell(Event::InitDone);
        assert_eq!((about("x"), about("y")), (vec!["d".into()], vec![]));
    }
}
