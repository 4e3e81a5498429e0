//! Admission: what changes a write before it is validated, and what refuses it afterwards.

mod escalation;
mod lifecycle;
mod priority;
mod service_account;
mod services;
mod storage_class;
#[cfg(test)]
mod testing;
mod tolerations;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use rand::seq::IndexedRandom as _;
use serde_json::Value;

use self::services::Allocations;
use self::webhooks::Dispatcher;
use super::Api;
use super::user::User;
use crate::schema::Resource;
use crate::status::Status;
use crate::store::{GroupResource, Key, Store};

pub use webhooks::dial_error;

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `CREATE`
    Create,
    /// `UPDATE`
    Update,
    /// `DELETE`
    Delete,
    /// `CONNECT`
    Connect,
}

/// A write, as admission sees it.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    /// What it does.
    pub operation: Operation,
    /// Of which resource, in the version of the request.
    pub resource: &'a Resource,
    /// And which subresource; empty for the object itself.
    pub subresource: &'a str,
    /// Namespace; empty at cluster scope.
    pub namespace: &'a str,
    /// Name; may be empty for a create with `generateName`.
    pub name: &'a str,
    /// By whom.
    pub user: &'a User,
    /// `CreateOptions`, `UpdateOptions`, `PatchOptions` or `DeleteOptions`, with apiVersion and kind.
    pub options: &'a Value,
    /// Nothing will be stored.
    pub dry_run: bool,
    /// The object before; `None` for a create.
    pub old: Option<&'a Value>,
}

impl Attributes<'_> {
    /// Whether it is a write of objects of this built-in resource themselves.
    fn is(&self, operation: Operation, group: &str, plural: &str) -> bool {
        self.operation == operation
            && self.subresource.is_empty()
            && self.resource.group == group
            && self.resource.plural == plural
    }
}

/// The plugins and webhooks of one server, with what they remember between calls.
#[derive(Default)]
pub struct Admission {
    webhooks: Dispatcher,
    allocations: Allocations,
}

impl Admission {
    /// Lets built-in plugins and mutating webhooks change `object` (`Null` for a deletion). Called before validation; what
    /// is changed is defaulted and pruned again by the caller. Texts in `warnings` go into `Warning` headers.
    pub async fn mutate(
        &self,
        api: &Arc<Api>,
        attributes: &Attributes<'_>,
        object: &mut Value,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let generated = object["metadata"]["generateName"].as_str().unwrap_or_default();
        let name = if attributes.name.is_empty() { generated } else { attributes.name };
        let key = (String::new(), attributes.namespace.to_owned());
        let namespace = api.store.get(&GroupResource::new("", "namespaces"), &key);
        lifecycle::check(attributes, name, namespace.map(|found| found.value()).as_ref())?;
        plugins(api, attributes, object).await?;
        let again = self.webhooks.mutate(api, attributes, object, warnings, None).await?;
        if !again.is_empty() {
            plugins(api, attributes, object).await?;
            self.webhooks.mutate(api, attributes, object, warnings, Some(&again)).await?;
        }
        // Last, so that nothing is given out for a Service that a webhook refuses.
        if attributes.is(Operation::Create, "", "services")
            || attributes.is(Operation::Update, "", "services")
        {
            self.allocations.allocate(&api.store, attributes, object)?;
        }
        Ok(())
    }

    /// Lets built-in plugins and validating webhooks refuse the final state of `object`.
    pub async fn validate(
        &self,
        api: &Arc<Api>,
        attributes: &Attributes<'_>,
        object: &Value,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        escalation::check(api, attributes, object)?;
        self.webhooks.validate(api, attributes, object, warnings).await
    }
}

/// The plugins that change objects. A second run changes nothing that the first has done.
async fn plugins(api: &Api, attributes: &Attributes<'_>, object: &mut Value) -> Result<(), Status> {
    if attributes.is(Operation::Create, "", "pods") {
        if let Some(account) = service_account::account_of(object) {
            let account = account_for(&api.store, attributes, account).await?;
            service_account::inject(object, &account, &suffix());
        }
        let classes = GroupResource::new("scheduling.k8s.io", "priorityclasses");
        let class = |name: &str| {
            api.store.get(&classes, &(String::new(), name.to_owned())).map(|found| found.value())
        };
        let all = all(&api.store, &classes);
        priority::resolve(object, class, all.into_iter().find(|class| class["globalDefault"] == true))?;
        tolerations::add(object);
    }
    if attributes.is(Operation::Create, "", "persistentvolumeclaims") {
        storage_class::default(
            object,
            &all(&api.store, &GroupResource::new("storage.k8s.io", "storageclasses")),
        );
    }
    Ok(())
}

fn all(store: &Store, collection: &GroupResource) -> Vec<Value> {
    store.snapshot(collection).objects.values().map(|object| object.value()).collect()
}

/// How long a pod waits for the account every namespace gets soon after it was made.
const ACCOUNT_PATIENCE: Duration = Duration::from_secs(1);

async fn account_for(store: &Store, attributes: &Attributes<'_>, name: &str) -> Result<Value, Status> {
    let accounts = GroupResource::new("", "serviceaccounts");
    let key: Key = (attributes.namespace.to_owned(), name.to_owned());
    let mut changes = store.subscribe(&accounts);
    let found = async {
        loop {
            changes.mark_unchanged();
            if let Some(found) = store.get(&accounts, &key) {
                return Some(found.value());
            }
            // Only the default account comes by itself.
            if name != service_account::DEFAULT || changes.changed().await.is_err() {
                return None;
            }
        }
    };
    tokio::time::timeout(ACCOUNT_PATIENCE, found).await.ok().flatten().ok_or_else(|| {
        let namespace = attributes.namespace;
        let why =
            format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        Status::forbidden("", "pods", attributes.name, why)
    })
}

/// Five characters nobody reads as a word.
fn suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = rand::rng();
    (0..5).filter_map(|_| LETTERS.choose(&mut random)).map(|letter| char::from(*letter)).collect()
}
