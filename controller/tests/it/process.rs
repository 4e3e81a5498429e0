//! The controller's program as a process of its own, against the API over TLS.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::cluster::{Cluster, DEADLINE};
use crate::service::{free_address, until_answer};
use crate::storage::Storage;

/// A running program. Dropping it kills it.
pub struct Process {
    /// Where it serves `/healthz` and `/readyz`.
    pub health: SocketAddr,
    /// Where it serves `/metrics`.
    pub metrics: SocketAddr,
    child: Child,
    directory: TempDir,
}

impl Process {
    /// Starts it.
    pub async fn start(cluster: &Cluster, storage: &Storage, flags: &[&str]) -> Self {
        Self::start_in(&[], cluster, storage, flags).await
    }

    /// The same with further variables in its environment.
    pub async fn start_in(
        environment: &[(&str, &str)],
        cluster: &Cluster,
        storage: &Storage,
        flags: &[&str],
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let kubeconfig = directory.path().join("kubeconfig");
        std::fs::write(&kubeconfig, cluster.serve().await.to_string()).unwrap();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let (health, metrics) = (free_address(), free_address());
        let child = Command::new(env!("CARGO_BIN_EXE_workflowexecution-controller"))
            .env("KUBECONFIG", kubeconfig)
            .envs(environment.iter().copied())
            .arg(format!("--datastorage-url={}", storage.url))
            .arg(format!("--health-probe-bind-address={health}"))
            .arg(format!("--metrics-bind-address={metrics}"))
            .args(flags)
            .stdout(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { health, metrics, child, directory }
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Waits until it is ready.
    pub async fn until_ready(&self) {
        until_answer(self.health, "/readyz", |status, _| status == 200).await;
    }

    /// What it has logged, a line each.
    pub fn log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.log_file()).unwrap();
        text.lines().map(ToOwned::to_owned).collect()
    }

    fn log_file(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    /// Tells it to end.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM).await
    }

    /// Sends a signal that ends it, and waits for that.
    pub async fn signal(&mut self, signal: Signal) -> ExitStatus {
        kill(Pid::from_raw(i32::try_from(self.id()).unwrap()), signal).unwrap();
        tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("it ends").unwrap()
    }
}
