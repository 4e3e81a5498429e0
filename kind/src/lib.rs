//! A cluster to deploy to, by whichever provider this machine has: the embedded engine, the kind command line, or a context that
//! exists already. One declaration, `kind/cluster.yaml` in kind's own format, serves them all.
//!
//! [`Facts`] are gathered, [`choose`] decides (pure), [`up`] acts. A cluster owns one directory: its state file, kubeconfig and log
//! are there and nowhere else; `~/.kube/config` is never touched. State left by a killed run is recognised and cleaned up.
//!
//! What this crate is not: it deploys nothing, and it builds and pushes no images; it only tells nodes where to pull from.

pub mod choose;
pub mod event;
pub mod facts;
pub mod process;
pub mod provider;
pub mod spec;
pub mod state;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use choose::{Choice, Chosen, Provider, Unavailable, choose};
pub use event::{ClusterEvent, Observer};
pub use facts::Facts;
pub use mistake::Mistake;
pub use provider::ClusterError;
pub use spec::{ClusterSpec, SpecError};
pub use state::{Recorded, Status};

/// Where nodes find the images of a registry host.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RegistryMirror {
    /// The host in image references.
    pub host: String,
    /// Address of the registry on this machine's loopback, as in `http://127.0.0.1:40001`.
    pub endpoint: String,
}

/// Whose life the cluster shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lifetime {
    /// The caller's: when the caller ends, in whatever way, the embedded engine ends with it.
    Tied,
    /// Its own: it stays until `down`.
    Detached,
}

/// Everything `up` needs; nothing is read from the environment after this.
#[derive(Debug, Clone)]
pub struct UpPlan {
    /// The declaration.
    pub spec: ClusterSpec,
    /// The provider, chosen.
    pub provider: Chosen,
    /// The cluster's own directory.
    pub directory: PathBuf,
    /// Where the embedded engine keeps unpacked images; shared between runs.
    pub store: PathBuf,
    /// The `slipway-engine` binary.
    pub engine: PathBuf,
    /// Registries the nodes pull from.
    pub mirrors: Vec<RegistryMirror>,
    /// Whose life the cluster shares.
    pub lifetime: Lifetime,
    /// How long the cluster may take to answer.
    pub deadline: Duration,
}

/// A cluster that answers.
#[derive(Debug)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// Who provides it.
    pub provider: Chosen,
    /// Administrator's kubeconfig, in the cluster's directory.
    pub kubeconfig: PathBuf,
    /// URL of its API server.
    pub server: String,
    /// Architecture of its nodes in OCI's words, as in `amd64`.
    pub node_architecture: String,
    /// Process id of the embedded engine.
    pub pid: Option<u32>,
    /// What has to live as long as the cluster is used: the registry's door for kind's nodes.
    #[expect(dead_code, reason = "held for its Drop")]
    pub(crate) guard: Option<provider::Guard>,
}

/// Brings a cluster up, or finds it up. What an interrupted run left in the directory is cleaned up first.
pub async fn up(plan: &UpPlan, observer: Observer<'_>) -> Result<Cluster, ClusterError> {
    create_directory(&plan.directory)?;
    let _lock = state::lock(&plan.directory)?;
    provider::up(plan, observer).await
}

/// Takes down whatever cluster the directory records, and removes what it left. `None` when there was nothing.
pub async fn down(directory: &Path, observer: Observer<'_>) -> Result<Option<String>, ClusterError> {
    if !directory.is_dir() {
        return Ok(None);
    }
    let _lock = state::lock(directory)?;
    provider::down(directory, observer).await
}

/// What is known about the directory's cluster.
pub async fn status(directory: &Path) -> Result<Status, ClusterError> {
    provider::status(directory).await
}

/// The kubeconfig of the directory's cluster, when one is recorded.
pub fn kubeconfig(directory: &Path) -> Result<PathBuf, ClusterError> {
    let recorded = state::read(directory)?
        .ok_or_else(|| ClusterError::NoCluster { directory: directory.to_path_buf() })?;
    Ok(recorded.kubeconfig)
}

/// Where the cluster's own logs are: the engine's log file, or the folder `kind export logs` has just filled.
pub async fn logs(directory: &Path, observer: Observer<'_>) -> Result<PathBuf, ClusterError> {
    provider::logs(directory, observer).await
}

fn create_directory(directory: &Path) -> Result<(), ClusterError> {
    fs::create_dir_all(directory).map_err(|source| ClusterError::File {
        doing: "create",
        file: directory.to_path_buf(),
        source,
    })
}
