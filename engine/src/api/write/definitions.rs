//! The life of a CustomResourceDefinition: what it defines is served before anybody sees that it is established, and goes
//! after its objects have gone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::deletion::DeleteOptions;
use super::options::Options;
use super::strategy::definitions::{FINALIZER, is_established, name_conflict, settled};
use super::{SERVER, Write, metadata};
use crate::api::Api;
use crate::api::user::User;
use crate::schema::Resource;
use crate::store::{Expect, GroupResource, Key};

/// Definitions are followed one at a time, so that a later state is never overtaken by an earlier one.
static TURN: Mutex<()> = Mutex::new(());

/// How long to wait before objects that could not be deleted are tried again.
const RETRY: Duration = Duration::from_secs(1);

fn definitions() -> GroupResource {
    GroupResource::new("apiextensions.k8s.io", "customresourcedefinitions")
}

fn key_of(name: &str) -> Key {
    (String::new(), name.to_owned())
}

/// Brings what is served in line with the definition `name`, which was written or removed.
pub fn follow(api: &Arc<Api>, name: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if settle(api, name) {
        return;
    }
    // Names are free again; whoever waited for them may have them.
    let snapshot = api.store.snapshot(&definitions());
    for waiting in snapshot.objects.values().filter(|definition| !is_established(&definition.value())) {
        settle(api, &waiting.name);
    }
}

/// Serves one definition and says so in its status. False when it is gone.
fn settle(api: &Arc<Api>, name: &str) -> bool {
    loop {
        let Some(found) = api.store.get(&definitions(), &key_of(name)) else {
            api.serve(|registry| registry.without_crd(name));
            return false;
        };
        let definition = found.value();
        let conflict = name_conflict(&api.registry(), &definition);
        let accepted = conflict.is_none();
        let next = settled(&definition, conflict, &metadata::now());
        if accepted {
            // It was validated when it was written, so its schemas are good.
            api.serve(|registry| registry.with_crd(&next).unwrap_or_else(|_| registry.clone()));
        }
        let expect = Expect::Revision(found.revision);
        if next != definition && api.store.put(&definitions(), &key_of(name), expect, next.clone()).is_err() {
            continue;
        }
        if metadata::is_terminating(&next) && metadata::finalizers(&next).any(|known| known == FINALIZER) {
            tokio::spawn(clean_up(Arc::clone(api), next));
        }
        return true;
    }
}

/// Deletes the objects of a definition that is being deleted, waits until they are gone, and lets the definition go.
async fn clean_up(api: Arc<Api>, definition: Value) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let spec = &definition["spec"];
    let (group, plural) = (text(&spec["group"]), text(&spec["names"]["plural"]));
    let collection = GroupResource::new(&group, &plural);
    let mut changes = api.store.subscribe(&collection);
    loop {
        changes.mark_unchanged();
        let served = api.registry();
        let resource =
            served.resources().find(|resource| resource.group == group && resource.plural == plural);
        let empty = match resource {
            Some(resource) => delete_all(&api, resource, &collection).await,
            None => true,
        };
        if empty {
            break;
        }
        // A time-out tries again what a webhook or another writer prevented.
        drop(tokio::time::timeout(RETRY, changes.changed()).await);
    }
    let name = metadata::text(&definition, "name");
    while let Some(found) = api.store.get(&definitions(), &key_of(name)) {
        let mut next = found.value();
        let others: Vec<String> =
            metadata::finalizers(&next).filter(|known| *known != FINALIZER).map(String::from).collect();
        metadata::set(&mut next, "finalizers", if others.is_empty() { Value::Null } else { json!(others) });
        let (key, expect) = (key_of(name), Expect::Revision(found.revision));
        let done = if others.is_empty() {
            api.store.remove(&definitions(), &key, expect, next)
        } else {
            api.store.put(&definitions(), &key, expect, next)
        };
        if done.is_ok() {
            break;
        }
    }
    follow(&api, name);
}

/// Deletes what is not being deleted yet. True when nothing is left.
async fn delete_all(api: &Arc<Api>, resource: &Arc<Resource>, collection: &GroupResource) -> bool {
    let user = User::authenticated("system:apiserver", vec!["system:masters".to_owned()]);
    for object in api.store.snapshot(collection).objects.values() {
        let options = Options::internal("DeleteOptions", SERVER);
        let (namespace, name) = (object.namespace.as_str(), object.name.as_str());
        let write = Write { api, user: &user, resource, subresource: "", namespace, name, options };
        if metadata::is_terminating(&object.value()) {
            continue;
        }
        if let Err(status) = write.delete_one(name, &DeleteOptions::default(), &mut Vec::new()).await {
            tracing::debug!(%status, namespace, name, "object of a deleted definition stays for now");
        }
    }
    api.store.snapshot(collection).objects.is_empty()
}
