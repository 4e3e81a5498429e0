//! One watch per kind, shared by every controller: keeps the cache and tells the controllers what changed.

use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::cache::{Cache, Change, Key};

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// See the module.
pub(crate) struct Informer<K> {
    api: Api<K>,
    config: watcher::Config,
    cache: Cache<K>,
    handlers: RwLock<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
}

impl<K> Informer<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    /// An informer over what `api` and `config` select; nothing is asked before `run`.
    pub(crate) fn new(api: Api<K>, config: watcher::Config) -> Arc<Informer<K>> {
        Arc::new(Informer {
            api,
            config,
            cache: Cache::new(),
            handlers: RwLock::default(),
            synced: watch::Sender::new(false),
        })
    }

    /// Registers a handler; it must only note what there is to do, not do it.
    pub(crate) fn on_change(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        self.handlers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(handler));
    }

    /// The state known now.
    pub(crate) fn cache(&self) -> &Cache<K> {
        &self.cache
    }

    /// Returns when the first complete list is in the cache.
    pub(crate) async fn synced(&self) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// Takes in the API server's answer to a write of this process.
    pub(crate) fn wrote(&self, object: K) {
        if let Some(change) = self.cache.wrote(object) {
            self.tell(&change);
        }
    }

    /// Takes in that this process removed an object for good.
    pub(crate) fn wrote_deletion(&self, key: &Key, uid: &str) {
        if let Some(change) = self.cache.wrote_deletion(key, uid) {
            self.tell(&change);
        }
    }

    /// Watches until `shutdown`; errors are retried with back-off, an expired watch lists again.
    pub(crate) async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let mut stream = Box::pin(watcher(self.api.clone(), self.config.clone()).default_backoff());
        let mut listed = Vec::new();
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return,
                event = stream.next() => event,
            };
            match event {
                None => return,
                Some(Err(error)) => {
                    tracing::debug!(kind = %std::any::type_name::<K>(), %error, "watch interrupted");
                }
                Some(Ok(watcher::Event::Init)) => {
                    listed.clear();
                    self.cache.list_begins();
                }
                Some(Ok(watcher::Event::InitApply(object))) => listed.push(object),
                Some(Ok(watcher::Event::InitDone)) => {
                    for change in self.cache.listed(std::mem::take(&mut listed)) {
                        self.tell(&change);
                    }
                    self.synced.send_replace(true);
                }
                Some(Ok(watcher::Event::Apply(object))) => {
                    if let Some(change) = self.cache.observed(object) {
                        self.tell(&change);
                    }
                }
                Some(Ok(watcher::Event::Delete(object))) => {
                    if let Some(change) = self.cache.observed_deletion(object) {
                        self.tell(&change);
                    }
                }
            }
        }
    }

    fn tell(&self, change: &Change<K>) {
        for handler in self.handlers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            handler(change);
        }
    }
}
