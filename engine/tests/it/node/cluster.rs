//! An API server and a node, with a registry to pull from; no scheduler: pods of a test are bound from the start.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use engine::isolation::HostSide;
use engine::kubelet::{Kubelet, LogRequest};
use engine::node::{BackOff, Node, Options};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, DeleteParams, ListParams};
use kube::runtime::wait::await_condition;
use rtnetlink::LinkUnspec;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::registry::{self, HOST};
use super::sandbox::in_own_network;
use crate::api::server::{self, NAMESPACE, Server};
use crate::role::ROLE;

/// No condition takes longer, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what cannot be watched.
const PAUSE: Duration = Duration::from_millis(10);

/// See the module.
pub struct Cluster {
    pub server: Server,
    pub pods: Api<Pod>,
    pub node: Arc<Node>,
    pub directory: tempfile::TempDir,
    running: JoinHandle<()>,
    shutdown: CancellationToken,
}

/// Runs a test on a cluster, in a network of its own.
pub fn with_cluster(test: impl AsyncFnOnce(&Cluster)) {
    in_own_network(async || {
        let cluster = Cluster::start().await;
        test(&cluster).await;
        cluster.stop().await;
    });
}

/// A container that runs this binary.
pub fn container(name: &str, commands: &[&str]) -> Value {
    let command: Vec<&str> = ["program", ROLE, "program"].iter().chain(commands).copied().collect();
    json!({
        "name": name,
        "image": format!("{HOST}/app:1"),
        "command": command,
        "volumeMounts": [{"name": "program", "mountPath": "/bin/program"}],
    })
}

/// A specification of one container that is not restarted, with further fields.
pub fn once(commands: &[&str], more: Value) -> Value {
    let mut spec = json!({"restartPolicy": "Never", "containers": [container("main", commands)]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

impl Cluster {
    async fn start() -> Self {
        let (connection, handle, _messages) = rtnetlink::new_connection().unwrap();
        tokio::spawn(connection);
        handle.link().set(LinkUnspec::new_with_name("lo").up().build()).execute().await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let server = server::start().await;
        let path = |name: &str| directory.path().join(name);
        let mut options = Options::new("node-a", path("state"), path("store"), HostSide::current());
        options.registry_mirrors = BTreeMap::from([(HOST.to_owned(), registry::serve().await)]);
        options.back_off = BackOff { base: Duration::from_millis(300), limit: Duration::from_secs(300) };
        let node = Node::start(server.client.clone(), options).await.unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(node.clone().run(shutdown.clone()));
        let pods = Api::namespaced(server.client.clone(), NAMESPACE);
        Self { server, pods, node, directory, running, shutdown }
    }

    /// Ends the node and checks that nothing is left of any pod.
    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.expect("the node ends").unwrap();
        let left: Vec<_> = std::fs::read_dir(self.directory.path().join("state")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(self.directory.path().to_str().unwrap()), "{mounts}");
    }

    /// Creates a pod on the node.
    pub async fn run(&self, name: &str, mut spec: Value) -> Pod {
        spec["nodeName"] = json!("node-a");
        if spec["automountServiceAccountToken"].is_null() {
            spec["automountServiceAccountToken"] = json!(false);
        }
        let program = json!({
            "name": "program",
            "hostPath": {"path": std::env::current_exe().unwrap(), "type": "File"},
        });
        match spec["volumes"].as_array_mut() {
            Some(volumes) => volumes.push(program),
            None => spec["volumes"] = json!([program]),
        }
        let pod = json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec});
        self.server.create(pod).await.unwrap()
    }

    /// Waits until the pod is as wanted.
    pub async fn until(&self, name: &str, wanted: impl Fn(&Pod) -> bool) -> Pod {
        let condition = |pod: Option<&Pod>| pod.is_some_and(&wanted);
        match tokio::time::timeout(PATIENCE, await_condition(self.pods.clone(), name, condition)).await {
            Ok(pod) => pod.unwrap().unwrap(),
            Err(_) => panic!("{name} is {:#}", self.seen(name).await),
        }
    }

    /// Waits until the pod is in the phase.
    pub async fn until_phase(&self, name: &str, phase: &str) -> Pod {
        self.until(name, |pod| pod.status.as_ref().unwrap().phase.as_deref() == Some(phase)).await
    }

    /// Waits until the first container's status, as JSON, is as wanted.
    pub async fn until_container(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let pod = self.until(name, |pod| wanted(&first_container(pod))).await;
        first_container(&pod)
    }

    /// Waits until the log of the pod's container `main` is as wanted. A program that is to be told to end must be
    /// known to listen: the kernel drops a signal that the first process of a container does not handle.
    pub async fn until_logged(&self, name: &str, wanted: &str) {
        self.until_phase(name, "Running").await;
        let logged = async {
            while self.log(name).await != wanted {
                tokio::time::sleep(PAUSE).await;
            }
        };
        if tokio::time::timeout(PATIENCE, logged).await.is_err() {
            panic!("{name} logged {:?}, not {wanted:?}", self.log(name).await);
        }
    }

    /// Deletes a pod; within `grace` seconds if that is given.
    pub async fn delete(&self, name: &str, grace: Option<u32>) {
        let params = DeleteParams { grace_period_seconds: grace, ..DeleteParams::default() };
        self.pods.delete(name, &params).await.unwrap();
    }

    /// Waits until there is no such pod.
    pub async fn until_gone(&self, name: &str) {
        let gone = await_condition(self.pods.clone(), name, |pod: Option<&Pod>| pod.is_none());
        if tokio::time::timeout(PATIENCE, gone).await.is_err() {
            panic!("{name} is still {:#}", self.seen(name).await);
        }
    }

    /// The log of the pod's container `main`.
    pub async fn log(&self, name: &str) -> String {
        self.log_of(LogRequest { pod: name.to_owned(), ..LogRequest::default() }).await
    }

    /// A log of container `main`.
    pub async fn log_of(&self, request: LogRequest) -> String {
        let (namespace, container) = (NAMESPACE.to_owned(), "main".to_owned());
        let stream = self.node.logs(LogRequest { namespace, container, ..request }).await.unwrap();
        let chunks: Vec<_> = stream.try_collect().await.unwrap();
        String::from_utf8(chunks.concat()).unwrap()
    }

    /// Waits for an event about the pod and returns its message.
    pub async fn event(&self, name: &str, reason: &str) -> String {
        let events: Api<Event> = Api::namespaced(self.server.client.clone(), NAMESPACE);
        let about = ListParams::default().fields(&format!("involvedObject.name={name},reason={reason}"));
        let found = async {
            loop {
                if let Some(event) = events.list(&about).await.unwrap().items.into_iter().next() {
                    return event.message.unwrap_or_default();
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, found)
            .await
            .unwrap_or_else(|_| panic!("no event {reason} about {name}"))
    }

    /// What is known of a pod, for the message of a test that fails.
    async fn seen(&self, name: &str) -> Value {
        let events: Api<Event> = Api::namespaced(self.server.client.clone(), NAMESPACE);
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let messages: Vec<_> = events.into_iter().filter_map(|event| event.message).collect();
        let pod = self.pods.get_opt(name).await.unwrap();
        json!({"status": pod.and_then(|pod| pod.status), "events": messages})
    }
}

/// Status of a pod's first container, null when it has none.
fn first_container(pod: &Pod) -> Value {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.map_or(Value::Null, |statuses| as_json(&statuses[0]))
}

/// Anything of the API as JSON.
pub fn as_json(object: &(impl serde::Serialize + Debug)) -> Value {
    serde_json::to_value(object).unwrap()
}
