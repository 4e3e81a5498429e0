//! An API server in this process with the product's definitions, namespaces and rights; the engine's controllers; no node.

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::names::{EXECUTION_NAMESPACE, SYSTEM_NAMESPACE};
use api::workflow_execution::{Phase, WorkflowExecution, WorkflowExecutionStatus};
use engine::api::admission::Admission;
use engine::api::authenticate::Authenticator;
use engine::api::token::Tokens;
use engine::api::user::User;
use engine::api::{Api as Server, server};
use engine::bootstrap::{Facts, bootstrap};
use engine::pki::{MASTERS, Pki};
use engine::store::Store;
use futures::{StreamExt, TryStreamExt, future};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Where the tests create executions.
pub const NAMESPACE: &str = "ops";

/// Far longer than anything here takes; only a test that fails waits for it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// One cluster. Ends when it is dropped.
pub struct Cluster {
    /// The server itself.
    pub server: Arc<Server>,
    pki: Pki,
    /// Acts as administrator.
    pub client: Client,
    _end: DropGuard,
}

impl Cluster {
    /// A cluster with everything but the controller.
    pub async fn start() -> Self {
        // Fails only if another test of this process was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // `RUST_LOG=controller=debug` shows what the controller does.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_test_writer().with_env_filter(filter).try_init();
        let pki = Pki::generate().unwrap();
        let (private, public) = pki.token_key();
        let authenticator = Authenticator { tokens: Tokens::new(private, public), fixed: HashMap::new() };
        let server = Arc::new(Server::new(Store::new(1000), authenticator, Admission::default()));
        bootstrap(&server, &Facts::default()).await.unwrap();
        let user = |name: &str, groups: &[&str]| {
            let groups = groups.iter().map(ToString::to_string).collect();
            server::client(&server, User::authenticated(name, groups))
        };
        let volumes = std::env::temp_dir().join("no-volumes");
        let options = engine::controllers::Options { root_ca: pki.ca_pem(), volumes };
        let end = CancellationToken::new();
        let manager = user("system:kube-controller-manager", &[]);
        tokio::spawn(engine::controllers::run(manager, options, end.clone()));
        let client = user("admin", &[MASTERS]);
        let cluster = Self { server, pki, client, _end: end.drop_guard() };
        cluster.apply_manifests().await;
        cluster
    }

    async fn apply_manifests(&self) {
        self.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})).await;
        self.apply_files(&[
            "namespaces/namespaces.yaml",
            "crds/workflowexecutions.kubernaut.ai.yaml",
            "controller/rbac.yaml",
            "controller/runner.yaml",
        ])
        .await;
    }

    /// Creates everything in these files of `manifests/`.
    pub async fn apply_files(&self, files: &[&str]) {
        let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests");
        for file in files {
            let text = std::fs::read_to_string(manifests.join(file)).unwrap();
            for document in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
                self.apply(&document).await;
            }
        }
    }

    /// Creates any object.
    pub async fn apply(&self, object: &Value) {
        let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
        let types = object.types.clone().unwrap();
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&types).unwrap());
        let api = match object.namespace() {
            Some(namespace) => Api::namespaced_with(self.client.clone(), &namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    /// A client with the rights of the controller's ServiceAccount, as the manifests give them.
    pub fn as_controller(&self) -> Client {
        let user = User::service_account(SYSTEM_NAMESPACE, "workflowexecution-controller", "u-controller");
        server::client(&self.server, user)
    }

    /// Serves the API over TLS, and gives a kubeconfig with the rights of the controller's ServiceAccount.
    pub async fn serve(&self) -> Value {
        self.serve_as("workflowexecution-controller").await
    }

    /// The same with the rights of another ServiceAccount of the product.
    pub async fn serve_as(&self, account: &str) -> Value {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        tokio::spawn(server::serve(self.server.clone(), listener, self.pki.server_config().unwrap()));
        let user = format!("system:serviceaccount:{SYSTEM_NAMESPACE}:{account}");
        self.pki.kubeconfig(&url, "test", &self.pki.client(&user, None).unwrap())
    }

    /// The executions of the tests.
    pub fn executions(&self) -> Api<WorkflowExecution> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Children of any kind.
    pub fn children<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), EXECUTION_NAMESPACE)
    }

    /// Creates an execution on a target of its own; `spec` is laid over the usual specification.
    pub async fn execute(&self, name: &str, spec: Value) -> WorkflowExecution {
        self.executions().create(&PostParams::default(), &execution(name, spec)).await.unwrap()
    }

    /// Waits until an execution's status is as wanted.
    pub async fn until(
        &self,
        name: &str,
        wanted: impl Fn(&WorkflowExecutionStatus) -> bool,
    ) -> WorkflowExecutionStatus {
        let is = |execution: &WorkflowExecution| execution.status.as_ref().is_some_and(&wanted);
        until_one(&self.executions(), name, is).await.status.unwrap()
    }

    /// Waits until an execution is in a phase.
    pub async fn until_phase(&self, name: &str, phase: Phase) -> WorkflowExecutionStatus {
        self.until(name, |status| status.phase == Some(phase)).await
    }

    /// Waits until a condition of an execution is so.
    pub async fn until_condition(&self, name: &str, kind: &str, reason: &str) -> WorkflowExecutionStatus {
        let is = |status: &WorkflowExecutionStatus| {
            status.conditions.iter().any(|condition| condition.type_ == kind && condition.reason == reason)
        };
        self.until(name, is).await
    }

    /// Plays the kubelet: every pod of a Job runs and then ends well, until the task is dropped.
    pub fn kubelet(&self) -> impl Future<Output = ()> + use<> {
        let pods = self.children::<Pod>();
        let changes = watcher(pods.clone(), watcher::Config::default()).default_backoff().applied_objects();
        changes.filter_map(|pod| future::ready(pod.ok())).for_each_concurrent(64, move |pod| {
            let pods = pods.clone();
            async move {
                let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
                let next = match phase.as_str() {
                    "" | "Pending" => json!({"phase": "Running", "containerStatuses": [container(json!({"running": {}}))]}),
                    "Running" => json!({"phase": "Succeeded", "containerStatuses": [container(json!({"terminated": {"exitCode": 0}}))]}),
                    _ => return,
                };
                report(&pods, &pod.name_any(), next).await;
            }
        })
    }
}

/// The execution `name`, which acts on a target of its own unless `spec` says otherwise.
pub fn execution(name: &str, spec: Value) -> WorkflowExecution {
    let mut object = json!({
        "apiVersion": "kubernaut.ai/v1alpha1",
        "kind": "WorkflowExecution",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "remediationRequestRef": {"name": format!("rr-{name}")},
            "workflowRef": {"workflowId": "restart", "version": "1", "containerImage": "example/restart:1"},
            "targetResource": format!("prod/deployment/{name}"),
        },
    });
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(object).unwrap()
}

/// The status of container `workflow` in this state.
pub fn container(state: Value) -> Value {
    json!({"name": "workflow", "image": "i", "imageID": "i", "ready": false, "restartCount": 0, "state": state})
}

/// What a kubelet would report of a pod. One that is gone meanwhile is not reported.
pub async fn report(pods: &Api<Pod>, name: &str, status: Value) {
    let patch = Patch::Merge(json!({"status": status}));
    match pods.patch_status(name, &PatchParams::default(), &patch).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => panic!("{name}: {error}"),
    }
}

/// Waits for the pod of a Job.
pub async fn pod_of(cluster: &Cluster, job: &str) -> String {
    let label = format!("batch.kubernetes.io/job-name={job}");
    let pods = cluster.children::<Pod>();
    let mut changes = Box::pin(watcher(pods, watcher::Config::default().labels(&label)).applied_objects());
    let pod = tokio::time::timeout(DEADLINE, changes.try_next()).await;
    pod.unwrap_or_else(|_| panic!("{job} has no pod")).unwrap().unwrap().name_any()
}

/// Reports the end of the Job on `target` with an exit code and last words.
pub async fn end_job(cluster: &Cluster, job: &str, exit_code: i32, message: &str) {
    let pod = pod_of(cluster, job).await;
    let reason = if exit_code == 0 { "Completed" } else { "Error" };
    let ended = json!({"terminated": {"exitCode": exit_code, "reason": reason, "message": message}});
    let phase = if exit_code == 0 { "Succeeded" } else { "Failed" };
    let status =
        json!({"phase": phase, "startTime": "2026-01-10T12:00:00Z", "containerStatuses": [container(ended)]});
    report(&cluster.children::<Pod>(), &pod, status).await;
}

/// Deletes an object; that it is gone already does not matter.
pub async fn delete<K>(api: &Api<K>, name: &str)
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        Err(error) => panic!("{name}: {error}"),
    }
}

/// Watches one object until it is as wanted.
pub async fn until_one<K>(api: &Api<K>, name: &str, wanted: impl Fn(&K) -> bool) -> K
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned + Send + 'static,
{
    let mut last = None;
    let found = async {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let mut changes = Box::pin(watcher(api.clone(), config).default_backoff().applied_objects());
        while let Some(object) = changes.try_next().await.unwrap() {
            if wanted(&object) {
                return object;
            }
            last = Some(object);
        }
        panic!("the watch on {name} ended");
    };
    match tokio::time::timeout(DEADLINE, found).await {
        Ok(object) => object,
        Err(_) => panic!("in vain; {name} was last {}", serde_json::to_string_pretty(&last).unwrap()),
    }
}

/// Waits until an object is gone.
pub async fn until_gone<K>(api: &Api<K>, name: &str)
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let gone = kube::runtime::wait::await_condition(api.clone(), name, |object: Option<&K>| object.is_none());
    let waited = tokio::time::timeout(DEADLINE, gone).await;
    assert!(waited.is_ok(), "{name} is still there: {:?}", api.get_opt(name).await);
}

/// Waits until the Job of an execution exists, and gives its name.
pub async fn job_of(cluster: &Cluster, execution: &str) -> String {
    let status = cluster.until(execution, |status| status.execution_ref.is_some()).await;
    let name = status.execution_ref.unwrap().name;
    assert!(cluster.children::<Job>().get_opt(&name).await.unwrap().is_some());
    name
}
