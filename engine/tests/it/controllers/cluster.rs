//! An API server with its first objects and the controllers, and what tests wait with.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use engine::api::admission::Admission;
use engine::api::authenticate::Authenticator;
use engine::api::token::Tokens;
use engine::api::user::User;
use engine::api::{Api as Server, server};
use engine::bootstrap::{Facts, bootstrap};
use engine::controllers;
use engine::pki::{MASTERS, Pki};
use engine::store::Store;
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Far longer than anything here takes; only a test that fails waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

/// One cluster without a node. Ends when it is dropped.
pub struct Cluster {
    /// Acts as administrator.
    pub client: Client,
    /// Where volumes are made.
    pub volumes: TempDir,
    _end: DropGuard,
}

impl Cluster {
    pub async fn start() -> Cluster {
        let pki = Pki::generate().unwrap();
        let (private, public) = pki.token_key();
        let authenticator = Authenticator { tokens: Tokens::new(private, public), fixed: HashMap::new() };
        let server = Arc::new(Server::new(Store::new(1000), authenticator, Admission::default()));
        bootstrap(&server, &Facts::default()).await.unwrap();
        let user = |name: &str, groups: &[&str]| {
            let groups = groups.iter().map(ToString::to_string).collect();
            server::client(&server, User::authenticated(name, groups))
        };
        let volumes = tempfile::tempdir().unwrap();
        let options = controllers::Options { root_ca: pki.ca_pem(), volumes: volumes.path().join("volumes") };
        let end = CancellationToken::new();
        tokio::spawn(controllers::run(user("system:kube-controller-manager", &[]), options, end.clone()));
        Cluster { client: user("admin", &[MASTERS]), volumes, _end: end.drop_guard() }
    }

    /// A cluster with a namespace for the test, complete with what every namespace gets.
    pub async fn with_namespace(name: &str) -> Cluster {
        let cluster = Cluster::start().await;
        let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
        create(&namespaces, json!({"metadata": {"name": name}})).await;
        let accounts: Api<k8s_openapi::api::core::v1::ServiceAccount> = cluster.api(name);
        until(&accounts, |all| all.contains_key("default")).await;
        cluster
    }

    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// Creates an object given as JSON.
pub async fn create<K>(api: &Api<K>, object: Value) -> K
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
}

/// Merges a change into an object.
pub async fn merge<K>(api: &Api<K>, name: &str, change: Value) -> K
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap()
}

/// Watches until the objects, by name, are as wanted, and gives them.
pub async fn until<K>(api: &Api<K>, wanted: impl Fn(&BTreeMap<String, K>) -> bool) -> BTreeMap<String, K>
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
{
    let mut objects = BTreeMap::new();
    let watch = async {
        let mut events = Box::pin(watcher(api.clone(), watcher::Config::default()));
        let mut listed = false;
        while let Some(event) = events.next().await {
            match event.unwrap() {
                watcher::Event::Init => objects.clear(),
                watcher::Event::InitApply(object) => drop(objects.insert(object.name_any(), object)),
                watcher::Event::InitDone => listed = true,
                watcher::Event::Apply(object) => drop(objects.insert(object.name_any(), object)),
                watcher::Event::Delete(object) => drop(objects.remove(&object.name_any())),
            }
            if listed && wanted(&objects) {
                return;
            }
        }
    };
    let waited = tokio::time::timeout(DEADLINE, watch).await;
    let last = |objects: &BTreeMap<String, K>| serde_json::to_string_pretty(objects).unwrap();
    assert!(waited.is_ok(), "in vain; the last state was {}", last(&objects));
    objects
}

/// Watches one object until it is as wanted.
pub async fn until_one<K>(api: &Api<K>, name: &str, wanted: impl Fn(&K) -> bool) -> K
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
{
    until(api, |all| all.get(name).is_some_and(&wanted)).await.remove(name).unwrap()
}

/// Watches until an object is gone.
pub async fn until_gone<K>(api: &Api<K>, name: &str)
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
{
    until(api, |all| !all.contains_key(name)).await;
}

/// What a kubelet would report of a pod: `Running` is ready too.
pub async fn report(pods: &Api<Pod>, name: &str, phase: &str) {
    let ready = if phase == "Running" { "True" } else { "False" };
    let conditions =
        json!([{"type": "Ready", "status": ready, "lastTransitionTime": "2020-01-01T00:00:00Z"}]);
    let status = json!({"status": {"phase": phase, "conditions": conditions}});
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}
