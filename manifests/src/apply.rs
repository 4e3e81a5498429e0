//! Sends rendered objects to a cluster: one server-side apply per object, in dependency order, nothing patched afterwards.
//!
//! Definitions are established before the first object that needs them. Webhook configurations are held back until the
//! pods behind them answer (see [`crate::ready`]), so that there is no window in which they refuse everybody's writes. What an earlier
//! run applied and the declaration no longer names is deleted through an inventory kept in the cluster.

pub mod discovery;
pub mod inventory;
mod send;

pub(crate) use send::error_text;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;

use crate::event::{DeployEvent, Observer};
use crate::object::{Object, ObjectId};
use crate::order::{self, Step};
use crate::render::{Rendered, RenderedComponent};
use discovery::Directory;
use inventory::Inventory;

/// Components whose objects are in the cluster.
#[derive(Clone)]
pub struct Applied {
    pub(crate) components: Vec<AppliedComponent>,
    pub(crate) directory: Arc<Directory>,
}

/// One component whose objects are in the cluster.
#[derive(Clone, Debug)]
pub struct AppliedComponent {
    /// As it was rendered.
    pub rendered: RenderedComponent,
    /// Webhook configurations to be applied when the component answers.
    pub held_back: Vec<Object>,
}

/// Why objects could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server refused an object.
    #[error("apply {object} of component `{component}` ({place}): {source}{}", hint_line(.hint))]
    Refused {
        /// Its component.
        component: String,
        /// The object.
        object: Box<ObjectId>,
        /// Where it is declared.
        place: String,
        /// What the API server said.
        #[source]
        source: Box<kube::Error>,
        /// The likely fix.
        hint: Option<String>,
    },
    /// The API server does not know a kind.
    #[error(
        "apply {object} of component `{component}` ({place}): the cluster has no kind `{kind}` in `{api_version}`\n  = hint: add its CustomResourceDefinition to a component that `{component}` needs"
    )]
    UnknownKind {
        /// Its component.
        component: String,
        /// The object.
        object: Box<ObjectId>,
        /// Where it is declared.
        place: String,
        /// Its kind.
        kind: String,
        /// Its version.
        api_version: String,
    },
    /// A definition was accepted and never served.
    #[error("definition `{name}` of component `{component}` was not established within {}s: {message}", .after.as_secs())]
    NotEstablished {
        /// Its component.
        component: String,
        /// Name of the definition.
        name: String,
        /// How long was waited.
        after: Duration,
        /// What its conditions say.
        message: String,
    },
    /// The inventory could not be read or written.
    #[error("{doing} the inventory of component `{component}`: {source}")]
    Inventory {
        /// Read or write.
        doing: &'static str,
        /// The component.
        component: String,
        /// What the API server said.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object that left the declaration could not be deleted.
    #[error("delete {object}, which is no longer declared: {source}")]
    Prune {
        /// The object.
        object: Box<ObjectId>,
        /// What the API server said.
        #[source]
        source: Box<kube::Error>,
    },
}

fn hint_line(hint: &Option<String>) -> String {
    hint.as_ref().map(|hint| format!("\n  = hint: {hint}")).unwrap_or_default()
}

/// Applies everything and prunes what is no longer declared. Can be repeated at any time, also after having been killed.
pub async fn apply(
    client: &Client,
    rendered: &Rendered,
    observer: Observer<'_>,
) -> Result<Applied, ApplyError> {
    let directory = Arc::new(Directory::new(client.clone()));
    let mut components = Vec::new();
    for component in &rendered.components {
        components.push(apply_component(&directory, component, observer).await?);
    }
    let declared: BTreeSet<ObjectId> = rendered.objects().map(Object::id).collect();
    prune(&directory, rendered, &declared, observer).await?;
    Ok(Applied { components, directory })
}

async fn apply_component(
    directory: &Directory,
    component: &RenderedComponent,
    observer: Observer<'_>,
) -> Result<AppliedComponent, ApplyError> {
    observer(DeployEvent::Applying { component: component.name.clone(), objects: component.objects.len() });
    // Written before the first object: whatever a killed run has created is known to the next one.
    inventory::remember(directory.client(), &component.name, &inventory_of(component)).await?;
    let is_held_back = |object: &&Object| order::step(object.group(), object.kind()) == Step::Webhook;
    for object in component.objects.iter().filter(|object| !is_held_back(object)) {
        send::object(directory, component, object, observer).await?;
        if order::step(object.group(), object.kind()) == Step::Definition {
            send::established(directory, component, object).await?;
        }
    }
    let held_back = component.objects.iter().filter(is_held_back).cloned().collect();
    Ok(AppliedComponent { rendered: component.clone(), held_back })
}

/// Applies a held back object of a component.
pub(crate) async fn apply_held_back(
    applied: &Applied,
    component: &AppliedComponent,
    object: &Object,
    observer: Observer<'_>,
) -> Result<(), ApplyError> {
    send::object(&applied.directory, &component.rendered, object, observer).await
}

async fn prune(
    directory: &Directory,
    rendered: &Rendered,
    declared: &BTreeSet<ObjectId>,
    observer: Observer<'_>,
) -> Result<(), ApplyError> {
    for (component, remembered) in inventory::read_all(directory.client()).await? {
        let kept = rendered.get(&component);
        let mut gone: Vec<ObjectId> = remembered.objects.difference(declared).cloned().collect();
        gone.sort_by_key(|id| std::cmp::Reverse(order::step(&id.group, &id.kind)));
        for id in &gone {
            if send::delete_ours(directory, id).await? {
                observer(DeployEvent::Pruned { component: component.clone(), object: id.clone() });
            }
        }
        match kept {
            Some(kept) if !gone.is_empty() => {
                inventory::replace(directory.client(), &component, &inventory_of(kept)).await?;
            }
            Some(_) => {}
            None => {
                for id in made_at_run_time(&remembered) {
                    if send::delete(directory, &id).await? {
                        observer(DeployEvent::Pruned { component: component.clone(), object: id });
                    }
                }
                inventory::forget(directory.client(), &component).await?;
            }
        }
    }
    Ok(())
}

fn inventory_of(component: &RenderedComponent) -> Inventory {
    Inventory {
        objects: component.objects.iter().map(Object::id).collect(),
        provides: component.provides.clone(),
    }
}

/// What a component that is gone has made itself: its webhooks would go on refusing writes, its Secrets would be found by the next.
fn made_at_run_time(remembered: &Inventory) -> Vec<ObjectId> {
    let namespaces: BTreeSet<&String> =
        remembered.objects.iter().filter_map(|id| id.namespace.as_ref()).collect();
    let mut found = Vec::new();
    for (kind, name) in remembered.provides.iter().filter_map(|provided| provided.split_once('/')) {
        let id = |group: &str, namespace: Option<&String>| ObjectId {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.cloned(),
            name: name.to_owned(),
        };
        match kind {
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration" => {
                found.push(id("admissionregistration.k8s.io", None));
            }
            "Secret" | "ConfigMap" => {
                found.extend(namespaces.iter().map(|namespace| id("", Some(namespace))))
            }
            _ => {}
        }
    }
    found
}

impl std::fmt::Debug for Applied {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Applied").field("components", &self.components).finish_non_exhaustive()
    }
}
