//! What every controller is given: the client, the shared informers, the event recorder.

use std::fmt::Debug;
use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, Service,
    ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::{ClusterResourceScope, NamespaceResourceScope};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Options;
use super::cache::Key;
use super::events::Recorder;
use super::informer::Informer;
use super::inventory::Inventory;
use super::queue::Tasks;

/// Namespace of the leases by which nodes say that they live.
pub(crate) const LEASES: &str = "kube-node-lease";
/// Name of the ConfigMap with the cluster's certificate authority that every namespace has.
pub(crate) const ROOT_CA: &str = "kube-root-ca.crt";

/// See the module.
pub(crate) struct Context {
    pub client: kube::Client,
    pub options: Options,
    pub events: Recorder,
    pub inventory: Arc<Inventory>,
    pub namespaces: Arc<Informer<Namespace>>,
    pub nodes: Arc<Informer<Node>>,
    /// Only those of nodes.
    pub node_leases: Arc<Informer<Lease>>,
    pub pods: Arc<Informer<Pod>>,
    pub services: Arc<Informer<Service>>,
    pub endpoints: Arc<Informer<Endpoints>>,
    pub endpoint_slices: Arc<Informer<EndpointSlice>>,
    pub service_accounts: Arc<Informer<ServiceAccount>>,
    /// Only those called `kube-root-ca.crt`.
    pub root_ca: Arc<Informer<ConfigMap>>,
    pub cluster_roles: Arc<Informer<ClusterRole>>,
    pub claims: Arc<Informer<PersistentVolumeClaim>>,
    pub volumes: Arc<Informer<PersistentVolume>>,
    pub storage_classes: Arc<Informer<StorageClass>>,
    pub deployments: Arc<Informer<Deployment>>,
    pub replica_sets: Arc<Informer<ReplicaSet>>,
    pub stateful_sets: Arc<Informer<StatefulSet>>,
    pub daemon_sets: Arc<Informer<DaemonSet>>,
    pub revisions: Arc<Informer<ControllerRevision>>,
    pub cron_jobs: Arc<Informer<CronJob>>,
    pub budgets: Arc<Informer<PodDisruptionBudget>>,
    pub jobs: Arc<Informer<Job>>,
}

impl Context {
    /// A context whose informers do not run yet.
    pub(crate) fn new(client: kube::Client, options: Options) -> Arc<Context> {
        let named = watcher::Config::default().fields(&format!("metadata.name={ROOT_CA}"));
        Arc::new(Context {
            events: Recorder::new(client.clone()),
            inventory: Inventory::new(client.clone()),
            namespaces: informer(&client),
            nodes: informer(&client),
            node_leases: Informer::new(Api::namespaced(client.clone(), LEASES), watcher::Config::default()),
            pods: informer(&client),
            services: informer(&client),
            endpoints: informer(&client),
            endpoint_slices: informer(&client),
            service_accounts: informer(&client),
            root_ca: Informer::new(Api::all(client.clone()), named),
            cluster_roles: informer(&client),
            claims: informer(&client),
            volumes: informer(&client),
            storage_classes: informer(&client),
            deployments: informer(&client),
            replica_sets: informer(&client),
            stateful_sets: informer(&client),
            daemon_sets: informer(&client),
            revisions: informer(&client),
            cron_jobs: informer(&client),
            budgets: informer(&client),
            jobs: informer(&client),
            client,
            options,
        })
    }

    /// Starts every informer and returns when each has its first complete list.
    pub(crate) async fn start(&self, tasks: &mut Tasks) {
        let Context {
            client: _,
            options: _,
            events: _,
            inventory,
            namespaces,
            nodes,
            node_leases,
            pods,
            services,
            endpoints,
            endpoint_slices,
            service_accounts,
            root_ca,
            cluster_roles,
            claims,
            volumes,
            storage_classes,
            deployments,
            replica_sets,
            stateful_sets,
            daemon_sets,
            revisions,
            cron_jobs,
            budgets,
            jobs,
        } = self;
        tasks.spawn(inventory.clone().run(tasks.shutdown().clone()));
        macro_rules! start {
            ($($informer:ident),+) => {{
                let shutdown = tasks.shutdown().clone();
                $( tasks.spawn($informer.clone().run(shutdown.clone())); )+
                tokio::join!($( $informer.synced() ),+);
            }};
        }
        start!(
            namespaces,
            nodes,
            node_leases,
            pods,
            services,
            endpoints,
            endpoint_slices,
            service_accounts,
            root_ca,
            cluster_roles,
            claims,
            volumes,
            storage_classes,
            deployments,
            replica_sets,
            stateful_sets,
            daemon_sets,
            revisions,
            cron_jobs,
            budgets,
            jobs
        );
    }

    /// A typed client for one namespace; cluster-scoped kinds have none and ignore it.
    pub(crate) fn api<K: Object>(&self, namespace: &str) -> Api<K> {
        K::Scope::api(self.client.clone(), namespace)
    }

    /// Creates an object and lets the cache know.
    pub(crate) async fn create<K: Object>(
        &self,
        informer: &Informer<K>,
        object: &K,
    ) -> Result<K, kube::Error> {
        let api: Api<K> = self.api(&object.namespace().unwrap_or_default());
        let created = api.create(&PostParams::default(), object).await?;
        informer.wrote(created.clone());
        Ok(created)
    }

    /// Replaces an object and lets the cache know; its resourceVersion guards against a newer state.
    pub(crate) async fn replace<K: Object>(
        &self,
        informer: &Informer<K>,
        object: &K,
    ) -> Result<(), kube::Error> {
        let api: Api<K> = self.api(&object.namespace().unwrap_or_default());
        informer.wrote(api.replace(&object.name_any(), &PostParams::default(), object).await?);
        Ok(())
    }

    /// Replaces the status of an object and lets the cache know.
    pub(crate) async fn replace_status<K: Object>(
        &self,
        informer: &Informer<K>,
        object: &K,
    ) -> Result<(), kube::Error> {
        let api: Api<K> = self.api(&object.namespace().unwrap_or_default());
        informer.wrote(api.replace_status(&object.name_any(), &PostParams::default(), object).await?);
        Ok(())
    }

    /// Merges `change` into exactly this object (not a later one of its name) and lets the cache know.
    pub(crate) async fn merge<K: Object>(
        &self,
        informer: &Informer<K>,
        object: &K,
        mut change: Value,
    ) -> Result<K, kube::Error> {
        change["metadata"]["uid"] = json!(object.uid());
        let api: Api<K> = self.api(&object.namespace().unwrap_or_default());
        let merged = api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(change)).await?;
        informer.wrote(merged.clone());
        Ok(merged)
    }

    /// Deletes exactly this object (not a later one of its name); that it is gone already is success.
    pub(crate) async fn delete<K: Object>(
        &self,
        informer: &Informer<K>,
        object: &K,
    ) -> Result<(), kube::Error> {
        self.delete_with(informer, object, DeleteParams::background()).await
    }

    /// As `delete`, with a propagation policy or grace period.
    pub(crate) async fn delete_with<K: Object>(
        &self,
        informer: &Informer<K>,
        object: &K,
        params: DeleteParams,
    ) -> Result<(), kube::Error> {
        let key = Key::of(object);
        let uid = object.uid().unwrap_or_default();
        let api: Api<K> = self.api(&key.namespace);
        let params =
            params.preconditions(Preconditions { uid: Some(uid.clone()), ..Preconditions::default() });
        let answer = match api.delete(&key.name, &params).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            other => other?,
        };
        match answer.left().filter(|object| object.meta().deletion_timestamp.is_some()) {
            Some(terminating) => informer.wrote(terminating),
            None => informer.wrote_deletion(&key, &uid),
        }
        Ok(())
    }
}

/// Kinds the controllers write.
pub(crate) trait Object:
    Resource<DynamicType = (), Scope: Scope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope: Scope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

/// Where the objects of a kind live.
pub(crate) trait Scope: Sized {
    /// A client for the objects in `namespace`, or for those of the cluster.
    fn api<K: Resource<DynamicType = (), Scope = Self>>(client: kube::Client, namespace: &str) -> Api<K>;
}

impl Scope for NamespaceResourceScope {
    fn api<K: Resource<DynamicType = (), Scope = Self>>(client: kube::Client, namespace: &str) -> Api<K> {
        Api::namespaced(client, namespace)
    }
}

impl Scope for ClusterResourceScope {
    fn api<K: Resource<DynamicType = (), Scope = Self>>(client: kube::Client, _: &str) -> Api<K> {
        Api::all(client)
    }
}

fn informer<K>(client: &kube::Client) -> Arc<Informer<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    Informer::new(Api::all(client.clone()), watcher::Config::default())
}

/// Runs `action` on each item, in growing batches so that one systematic failure does not repeat a hundred times; the first error
/// ends it.
pub(crate) async fn in_growing_batches<T, R>(
    items: Vec<T>,
    action: impl Fn(T) -> R,
) -> Result<(), kube::Error>
where
    R: Future<Output = Result<(), kube::Error>>,
{
    let mut items = items.into_iter();
    let mut size = 1;
    loop {
        let batch: Vec<T> = items.by_ref().take(size).collect();
        if batch.is_empty() {
            return Ok(());
        }
        for result in join_all(batch.into_iter().map(&action)).await {
            result?;
        }
        size = (size * 2).min(16);
    }
}
