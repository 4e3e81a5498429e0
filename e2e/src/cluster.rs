//! The cluster the scenarios run against.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use crate::wait::{Seen, until};

/// Namespace in which the scenarios create executions.
pub const NAMESPACE: &str = "kubernaut-e2e";
/// Environment variable with the image that executions run.
pub const WORKFLOW_IMAGE: &str = "E2E_WORKFLOW_IMAGE";
/// How long one look at a service may take. A request that was under way when the service's pod went is never answered.
const SERVICE_PATIENCE: Duration = Duration::from_secs(5);

/// A cluster with the product deployed.
#[derive(Clone)]
pub struct Cluster {
    /// Client with the rights of the kubeconfig.
    pub client: Client,
    /// How to reach the API server, for clients of other identities.
    pub config: Config,
    /// Image of the sample workflow.
    pub workflow_image: String,
}

impl Cluster {
    /// Connects by `KUBECONFIG` and makes sure that there is a namespace to work in.
    pub async fn connect() -> Result<Self> {
        // Fails only if another scenario of this process was first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let Some(path) = std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty()) else {
            bail!(
                "these scenarios need a cluster\n  hint: set KUBECONFIG to its kubeconfig, or run `cargo xtask e2e`"
            );
        };
        let kubeconfig = Kubeconfig::read_from(Path::new(&path))
            .with_context(|| format!("failed to read the kubeconfig {}", Path::new(&path).display()))?;
        let Ok(workflow_image) = std::env::var(WORKFLOW_IMAGE) else {
            bail!(
                "these scenarios run a workflow image\n  hint: set {WORKFLOW_IMAGE} to the image of sample-workflow"
            );
        };
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let client = Client::try_from(config.clone())?;
        let cluster = Self { client, config, workflow_image };
        cluster.ensure_namespace().await?;
        Ok(cluster)
    }

    async fn ensure_namespace(&self) -> Result<()> {
        let namespaces = Api::<Namespace>::all(self.client.clone());
        // Webhooks that attribute people's decisions may select namespaces by this label.
        let labels = [("kubernaut.ai/audit-enabled".to_owned(), "true".to_owned())].into();
        let metadata =
            ObjectMeta { name: Some(NAMESPACE.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
        let namespace = Namespace { metadata, ..Namespace::default() };
        until(&format!("namespace {NAMESPACE} exists"), 30, async || {
            match namespaces.create(&PostParams::default(), &namespace).await {
                Ok(_) => Ok(Seen::Yes(())),
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(Seen::Yes(())),
                Err(error) => Ok(Seen::NotYet(error.to_string())),
            }
        })
        .await
    }

    /// GET of `path` at port `port` of a service, through the API server.
    pub async fn service_get(&self, namespace: &str, service: &str, port: u16, path: &str) -> Result<String> {
        let uri = format!("/api/v1/namespaces/{namespace}/services/http:{service}:{port}/proxy{path}");
        let request = http::Request::get(&uri).body(Vec::new())?;
        let answer = tokio::time::timeout(SERVICE_PATIENCE, self.client.request_text(request)).await;
        let answer = answer.with_context(|| format!("GET {uri} took longer than {SERVICE_PATIENCE:?}"))?;
        answer.with_context(|| format!("failed to GET {uri}"))
    }
}

/// A name no other scenario or run has.
pub fn unique(prefix: &str) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("{prefix}-{}", &id[..8])
}
