//! The API server: one chain for every request, over one store.
//!
//! `server` accepts connections and knows who is at the other end; `handle` authenticates, authorizes and finds the resource;
//! then a [`Call`] is answered by `read` (get, list, watch), `write` (everything that changes an object, through
//! `admission`), `review` (questions that store nothing) or `connect` (streams to pods and services).

pub mod handle;
pub mod server;

pub mod authenticate;
mod impersonate;
pub mod rbac;
pub mod request;
pub mod token;
pub mod user;

pub mod connect;
pub mod event_versions;
pub mod read;
pub mod review;
pub mod selector;
pub mod subresource;
pub mod write;

pub mod answer;
pub mod negotiate;

mod discovery;
mod openapi;
pub(crate) mod paths;

pub mod admission;

use std::sync::{Arc, OnceLock};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::kubelet::Kubelet;
use crate::schema::{Registry, Resource};
use crate::store::{GroupResource, Store};
use admission::Admission;
use authenticate::Authenticator;
use rbac::Authorizer;
use request::RequestInfo;
use user::User;

/// What is sent back.
pub type Answer = Response<Body>;

/// One API server. Shared by reference; its state is in the store and the registry.
pub struct Api {
    /// Every object.
    pub store: Store,
    /// Who may come in, and the tokens it issues.
    pub authenticator: Authenticator,
    /// Who may do what.
    pub authorizer: Authorizer,
    /// What changes and refuses writes.
    pub admission: Admission,
    /// The node, for what is asked of it directly; set once when it runs.
    pub kubelet: OnceLock<Arc<dyn Kubelet>>,
    /// Cancelled when the server ends: watches end then, and no more connections are accepted.
    pub closing: CancellationToken,
    registry: watch::Sender<Registry>,
}

/// A request whose sender is known and may make it, for a resource that is served.
pub struct Call {
    /// Who makes it.
    pub user: User,
    /// HTTP method.
    pub method: Method,
    /// What it asks for.
    pub info: RequestInfo,
    /// Headers as sent.
    pub headers: HeaderMap,
    /// The body, read completely within the limit.
    pub body: Bytes,
    /// The resource it names, in the version it names.
    pub resource: Arc<Resource>,
}

impl Api {
    /// A server over an empty store.
    pub fn new(store: Store, authenticator: Authenticator, admission: Admission) -> Self {
        let authorizer = Authorizer::new(&store);
        Self {
            store,
            authenticator,
            authorizer,
            admission,
            kubelet: OnceLock::new(),
            closing: CancellationToken::new(),
            registry: watch::Sender::new(Registry::builtin()),
        }
    }

    /// The resources served now.
    pub fn registry(&self) -> Registry {
        self.registry.borrow().clone()
    }

    /// Serves other resources from now on: a CustomResourceDefinition came, changed or went.
    pub fn serve(&self, change: impl FnOnce(&Registry) -> Registry) {
        self.registry.send_modify(|registry| *registry = change(registry));
    }

    /// A receiver that changes with the resources served.
    pub fn served(&self) -> watch::Receiver<Registry> {
        self.registry.subscribe()
    }
}

/// The collection that holds a resource's objects. Events of both groups are one collection.
pub fn collection(resource: &Resource) -> GroupResource {
    match (resource.group.as_str(), resource.plural.as_str()) {
        ("events.k8s.io", "events") => GroupResource::new("", "events"),
        (group, plural) => GroupResource::new(group, plural),
    }
}
