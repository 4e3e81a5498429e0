//! The part of the cluster a wait looks at, kept current by watches.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{BoxStream, SelectAll};
use futures::{StreamExt, stream};
use kube::api::{Api, DynamicObject, TypeMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Error};
use serde_json::Value;

use crate::apply::Applied;
use crate::object::{ObjectId, id_of, items, text};
use crate::order::{Step, step};

/// Something a watch saw, with the number of the watch.
pub(super) type Change = (usize, Result<Event<DynamicObject>, watcher::Error>);

/// Everything seen so far.
#[derive(Default)]
pub(super) struct Live {
    objects: BTreeMap<ObjectId, Value>,
    seen_by: BTreeMap<ObjectId, usize>,
    unsynced: BTreeSet<usize>,
    /// The last thing that went wrong with a watch.
    pub(super) watch_error: Option<String>,
}

impl Live {
    /// Starts one watch per kind and namespace that the rules of `applied` need.
    pub(super) async fn watch(
        _client: &Client,
        applied: &Applied,
    ) -> Result<(Live, SelectAll<BoxStream<'static, Change>>), Error> {
        let mut wanted: BTreeSet<(String, String, Option<String>)> = BTreeSet::new();
        let objects = applied.components.iter().flat_map(|component| &component.rendered.objects);
        for object in objects.filter(|object| is_awaited(object.group(), object.kind())) {
            let namespace = object.namespace().map(str::to_owned);
            wanted.insert((object.api_version().to_owned(), object.kind().to_owned(), namespace.clone()));
            let related: &[(&str, &str)] = match step(object.group(), object.kind()) {
                Step::Workload => &[("apps/v1", "ReplicaSet"), ("v1", "Pod")],
                Step::Service => &[("discovery.k8s.io/v1", "EndpointSlice")],
                _ => &[],
            };
            for (api_version, kind) in related {
                wanted.insert(((*api_version).to_owned(), (*kind).to_owned(), namespace.clone()));
            }
        }
        let mut live = Live::default();
        let mut changes = stream::select_all(Vec::<BoxStream<'static, Change>>::new());
        for (number, (api_version, kind, namespace)) in wanted.into_iter().enumerate() {
            let api: Option<Api<DynamicObject>> =
                applied.directory.api(&api_version, &kind, namespace.as_deref()).await?;
            let Some(api) = api else { continue };
            live.unsynced.insert(number);
            let types = TypeMeta { api_version, kind };
            let watch = watcher(api, watcher::Config::default()).default_backoff();
            changes.push(watch.map(move |seen| (number, seen.map(|event| typed(event, &types)))).boxed());
        }
        Ok((live, changes))
    }

    /// Takes in what a watch saw.
    pub(super) fn take(&mut self, (watch, event): Change) {
        match event {
            Ok(Event::Init) => {
                self.unsynced.insert(watch);
                let old: Vec<ObjectId> =
                    self.seen_by.iter().filter(|(_, by)| **by == watch).map(|(id, _)| id.clone()).collect();
                for id in old {
                    self.objects.remove(&id);
                    self.seen_by.remove(&id);
                }
            }
            Ok(Event::InitDone) => {
                self.unsynced.remove(&watch);
                self.watch_error = None;
            }
            Ok(Event::InitApply(object) | Event::Apply(object)) => {
                if let Ok(value) = serde_json::to_value(&object) {
                    let id = id_of(&value);
                    self.seen_by.insert(id.clone(), watch);
                    self.objects.insert(id, value);
                }
            }
            Ok(Event::Delete(object)) => {
                if let Ok(value) = serde_json::to_value(&object) {
                    self.objects.remove(&id_of(&value));
                }
            }
            Err(error) => self.watch_error = Some(error.to_string()),
        }
    }

    /// Whether every watch has listed what exists.
    pub(super) fn is_synced(&self) -> bool {
        self.unsynced.is_empty()
    }

    /// A live object. One declared without a namespace is found in `default`.
    pub(super) fn get(&self, id: &ObjectId) -> Option<&Value> {
        self.objects.get(id).or_else(|| {
            let namespace = Some(id.namespace.clone().unwrap_or_else(|| "default".to_owned()));
            self.objects.get(&ObjectId { namespace, ..id.clone() })
        })
    }

    /// Objects of a kind whose controller or owner is `owner`.
    pub(super) fn owned_by<'a>(&'a self, kind: &'a str, owner: &'a Value) -> impl Iterator<Item = &'a Value> {
        let uid = text(owner, "/metadata/uid");
        let is_owned = move |value: &&Value| {
            items(value, "/metadata/ownerReferences").iter().any(|owner| text(owner, "/uid") == uid)
        };
        self.of_kind(kind).filter(is_owned)
    }

    /// Objects of a kind.
    pub(super) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |(id, _)| id.kind == kind).map(|(_, value)| value)
    }

    /// A cluster made by hand.
    #[cfg(test)]
    pub(super) fn of(objects: &[Value]) -> Live {
        let objects = objects.iter().map(|value| (id_of(value), value.clone())).collect();
        Live { objects, ..Live::default() }
    }
}

/// Items of a list do not repeat what they are, except those of custom kinds.
fn typed(mut event: Event<DynamicObject>, types: &TypeMeta) -> Event<DynamicObject> {
    if let Event::Apply(object) | Event::Delete(object) | Event::InitApply(object) = &mut event {
        object.types.get_or_insert_with(|| types.clone());
    }
    event
}

/// Kinds that are current as soon as they exist have been proven by the apply; the others are watched.
pub(super) fn is_awaited(group: &str, kind: &str) -> bool {
    match step(group, kind) {
        Step::Definition | Step::Service | Step::Workload | Step::Custom => true,
        Step::Storage => kind == "PersistentVolumeClaim",
        Step::Namespace | Step::Access | Step::Config | Step::Webhook => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A real API server leaves `apiVersion` and `kind` out of the items of a list.
    #[test]
    fn an_object_that_was_listed_is_found_although_it_does_not_say_its_kind() {
        let item = json!({"metadata": {"name": "web", "namespace": "prod"}, "spec": {}});
        let types = TypeMeta { api_version: "v1".to_owned(), kind: "Service".to_owned() };
        let object = serde_json::from_value(item).unwrap();
        let mut live = Live::default();
        live.take((0, Ok(typed(Event::InitApply(object), &types))));
        let id = |kind: &str| ObjectId {
            group: String::new(),
            kind: kind.to_owned(),
            namespace: Some("prod".to_owned()),
            name: "web".to_owned(),
        };
        assert!(live.get(&id("Service")).is_some() && live.get(&id("Pod")).is_none());
    }
}
