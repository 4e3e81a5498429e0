//! Every object of every kind that is served, events apart, as metadata. Kinds are found by discovery, so custom ones are here too,
//! for as long as their CustomResourceDefinitions are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::discovery::{ApiCapabilities, ApiResource, Discovery, Scope, verbs};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How often discovery is read again though no definition changed.
const REFRESH: Duration = Duration::from_secs(30);
/// How soon it is read again after it could not be read.
const RETRY: Duration = Duration::from_millis(200);
const DEFINITIONS: (&str, &str) = ("apiextensions.k8s.io", "customresourcedefinitions");

/// A kind whose objects can be listed, watched and deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kind {
    pub resource: ApiResource,
    pub namespaced: bool,
}

impl Kind {
    /// A client for its objects, as metadata, in `namespace`, or for all of them when that is empty.
    pub(crate) fn api(&self, client: &kube::Client, namespace: &str) -> Api<PartialObjectMeta> {
        if namespace.is_empty() {
            Api::all_with(client.clone(), &self.resource)
        } else {
            Api::namespaced_with(client.clone(), namespace, &self.resource)
        }
    }

    /// Events own nothing and are owned by nothing; there are many.
    fn is_event(&self) -> bool {
        [("", "events"), ("events.k8s.io", "events")].iter().any(|name| self.is(*name))
    }

    fn is(&self, (group, plural): (&str, &str)) -> bool {
        self.resource.group == group && self.resource.plural == plural
    }

    /// Name of the definition of a custom kind.
    fn definition(&self) -> String {
        format!("{}.{}", self.resource.plural, self.resource.group)
    }
}

/// What is learned about the objects of a kind.
#[derive(Debug)]
pub(crate) enum Observation {
    /// It is served from now on; a list follows.
    Served(Arc<Kind>),
    /// All of its objects.
    Listed(Arc<Kind>, Vec<ObjectMeta>),
    /// An object is new or has changed.
    Seen(Arc<Kind>, ObjectMeta),
    /// An object is gone.
    Gone(Arc<Kind>, ObjectMeta),
    /// It is not served any more; `removed` when its objects are certainly gone too.
    Unserved { kind: Arc<Kind>, removed: bool },
}

type Handler = Box<dyn Fn(&Observation) + Send + Sync>;

/// See the module.
pub(crate) struct Inventory {
    client: kube::Client,
    handlers: RwLock<Vec<Handler>>,
    kinds: Mutex<BTreeMap<String, Arc<Kind>>>,
    /// Names of the CustomResourceDefinitions that exist.
    definitions: Mutex<BTreeSet<String>>,
    definitions_changed: Notify,
}

impl Inventory {
    /// An inventory of what `client` sees; nothing is asked before `run`.
    pub(crate) fn new(client: kube::Client) -> Arc<Inventory> {
        Arc::new(Inventory {
            client,
            handlers: RwLock::default(),
            kinds: Mutex::default(),
            definitions: Mutex::default(),
            definitions_changed: Notify::new(),
        })
    }

    /// Registers a handler; it must only note what there is to do, not do it.
    pub(crate) fn on_observation(&self, handler: impl Fn(&Observation) + Send + Sync + 'static) {
        self.handlers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(handler));
    }

    /// The kind that objects with this `apiVersion` and `kind` are of, in the version that is watched.
    pub(crate) fn kind(&self, api_version: &str, kind: &str) -> Option<Arc<Kind>> {
        let group = group_of(api_version);
        let kinds = lock(&self.kinds);
        kinds.values().find(|one| one.resource.group == group && one.resource.kind == kind).cloned()
    }

    /// Watches until `shutdown`.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut watches: JoinSet<()> = JoinSet::new();
        let mut stops: BTreeMap<String, CancellationToken> = BTreeMap::new();
        loop {
            let wait = match discover(&self.client).await {
                Ok(kinds) => {
                    self.follow(kinds, &mut stops, &mut watches, &shutdown);
                    REFRESH
                }
                Err(error) => {
                    tracing::debug!(%error, "discovery failed");
                    RETRY
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.definitions_changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        watches.join_all().await;
    }

    /// Starts and stops watches so that exactly `kinds` are watched.
    fn follow(
        self: &Arc<Self>,
        kinds: Vec<Kind>,
        stops: &mut BTreeMap<String, CancellationToken>,
        watches: &mut JoinSet<()>,
        shutdown: &CancellationToken,
    ) {
        while watches.try_join_next().is_some() {}
        let kinds = kinds.into_iter().filter(|kind| !kind.is_event());
        let served: BTreeMap<String, Arc<Kind>> = kinds.map(|kind| (id(&kind), Arc::new(kind))).collect();
        let before = std::mem::replace(&mut *lock(&self.kinds), served.clone());
        for (id, kind) in before.into_iter().filter(|(id, _)| !served.contains_key(id)) {
            stops.remove(&id).iter().for_each(CancellationToken::cancel);
            let removed = !lock(&self.definitions).contains(&kind.definition());
            self.tell(&Observation::Unserved { kind, removed });
        }
        for (id, kind) in served {
            if let std::collections::btree_map::Entry::Vacant(entry) = stops.entry(id) {
                let stop = entry.insert(shutdown.child_token()).clone();
                self.tell(&Observation::Served(kind.clone()));
                watches.spawn(self.clone().watch(kind, stop));
            }
        }
    }

    async fn watch(self: Arc<Self>, kind: Arc<Kind>, stop: CancellationToken) {
        let api = kind.api(&self.client, "");
        let mut stream = Box::pin(watcher(api, watcher::Config::default()).default_backoff());
        let mut listed = Vec::new();
        loop {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                event = stream.next() => event,
            };
            match event {
                None => return,
                Some(Err(error)) => {
                    tracing::debug!(kind = %kind.resource.plural, %error, "watch interrupted");
                }
                Some(Ok(watcher::Event::Init)) => listed.clear(),
                Some(Ok(watcher::Event::InitApply(object))) => listed.push(object.metadata),
                Some(Ok(watcher::Event::InitDone)) => {
                    self.take(Observation::Listed(kind.clone(), std::mem::take(&mut listed)));
                }
                Some(Ok(watcher::Event::Apply(object))) => {
                    self.take(Observation::Seen(kind.clone(), object.metadata));
                }
                Some(Ok(watcher::Event::Delete(object))) => {
                    self.take(Observation::Gone(kind.clone(), object.metadata));
                }
            }
        }
    }

    fn take(&self, observation: Observation) {
        let name = |object: &ObjectMeta| object.name.clone().unwrap_or_default();
        let changed = match &observation {
            Observation::Listed(kind, objects) if kind.is(DEFINITIONS) => {
                *lock(&self.definitions) = objects.iter().map(name).collect();
                true
            }
            Observation::Seen(kind, object) if kind.is(DEFINITIONS) => {
                lock(&self.definitions).insert(name(object));
                true
            }
            Observation::Gone(kind, object) if kind.is(DEFINITIONS) => {
                lock(&self.definitions).remove(&name(object));
                true
            }
            _ => false,
        };
        self.tell(&observation);
        if changed {
            self.definitions_changed.notify_one();
        }
    }

    fn tell(&self, observation: &Observation) {
        for handler in self.handlers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            handler(observation);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn id(kind: &Kind) -> String {
    format!("{}/{}", kind.resource.api_version, kind.resource.plural)
}

/// The group of an `apiVersion`.
pub(crate) fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// Every kind, once, in its most stable version.
pub(crate) async fn discover(client: &kube::Client) -> Result<Vec<Kind>, kube::Error> {
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    let resources = discovery.groups().flat_map(|group| group.resources_by_stability());
    Ok(resources.filter_map(|(resource, capabilities)| kind(resource, &capabilities)).collect())
}

fn kind(resource: ApiResource, capabilities: &ApiCapabilities) -> Option<Kind> {
    let needed = [verbs::LIST, verbs::WATCH, verbs::DELETE, verbs::DELETE_COLLECTION];
    let complete = needed.iter().all(|verb| capabilities.supports_operation(verb));
    let namespaced = capabilities.scope == Scope::Namespaced;
    complete.then_some(Kind { resource, namespaced })
}
