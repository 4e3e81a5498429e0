//! The RBAC authorizer: roles and bindings as they are in the store, decided on request attributes.

mod cover;
mod policy;

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

pub use cover::missing;
pub use policy::{Policy, Rule, rules};

use super::request::RequestInfo;
use super::user::User;
use crate::pki::MASTERS;
use crate::status::Status;
use crate::store::{GroupResource, Store};

/// Group of the RBAC kinds.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// What someone wants to do.
#[derive(Debug, Clone, Default)]
pub struct Attributes<'a> {
    /// Verb.
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// Plural; with the subresource after a slash.
    pub resource: String,
    /// Namespace; empty for cluster scope or all namespaces.
    pub namespace: &'a str,
    /// Name; empty for collections.
    pub name: &'a str,
    /// For paths that are no resources.
    pub path: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    /// Those of a request.
    pub fn of(info: &'a RequestInfo) -> Self {
        Self {
            verb: info.verb,
            group: &info.group,
            resource: info.resource_path(),
            namespace: &info.namespace,
            name: &info.name,
            path: (!info.resource_request).then_some(info.path.as_str()),
        }
    }
}

/// Decides, with the policy read again only after a role or binding was written.
pub struct Authorizer {
    sources: Vec<watch::Receiver<u64>>,
    cached: Mutex<(Vec<u64>, Arc<Policy>)>,
}

/// The collections a policy is read from.
const SOURCES: [&str; 4] = ["roles", "clusterroles", "rolebindings", "clusterrolebindings"];

impl Authorizer {
    /// An authorizer over the roles and bindings of `store`.
    pub fn new(store: &Store) -> Self {
        let sources = SOURCES.iter().map(|name| store.subscribe(&GroupResource::new(GROUP, *name)));
        Self { sources: sources.collect(), cached: Mutex::default() }
    }

    /// The policy as of now.
    pub fn policy(&self, store: &Store) -> Arc<Policy> {
        let stamp: Vec<u64> = self.sources.iter().map(|source| *source.borrow()).collect();
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.0 != stamp {
            let [roles, cluster_roles, bindings, cluster_bindings] =
                SOURCES.map(|name| store.snapshot(&GroupResource::new(GROUP, name)));
            let policy = Policy::read(&cached.1, &roles, &cluster_roles, &bindings, &cluster_bindings);
            *cached = (stamp, Arc::new(policy));
        }
        cached.1.clone()
    }

    /// Whether `user` may.
    pub fn allows(&self, store: &Store, user: &User, attributes: &Attributes<'_>) -> bool {
        user.groups.iter().any(|group| group == MASTERS) || self.policy(store).allows(user, attributes)
    }

    /// Refuses with the text upstream uses.
    pub fn authorize(&self, store: &Store, user: &User, attributes: &Attributes<'_>) -> Result<(), Status> {
        if self.allows(store, user, attributes) { Ok(()) } else { Err(refusal(user, attributes)) }
    }
}

fn refusal(user: &User, attributes: &Attributes<'_>) -> Status {
    let Attributes { verb, group, resource, namespace, name, path } = attributes;
    let who = format!("User {:?} cannot {verb}", user.name);
    if let Some(path) = path {
        return Status::forbidden("", "", "", format!("{who} path {path:?}"));
    }
    let scope = match *namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let plural = resource.split('/').next().unwrap_or_default();
    let why = format!("{who} resource {resource:?} in API group {group:?} {scope}");
    Status::forbidden(group, plural, name, why)
}

#[cfg(test)]
mod tests;
