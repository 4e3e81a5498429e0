//! The namespaces the containers of a pod share: network, IPC and host name.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::sched::{CloneFlags, unshare};
use tokio::sync::oneshot;

use super::network::{Lease, NetworkError, PodNetwork, this_namespace};
use crate::isolation::loopback_up;

/// A pod's namespaces could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel refused a namespace or its first settings.
    #[error("{step}: {errno}")]
    Namespace {
        /// What was attempted.
        step: &'static str,
        /// The cause.
        errno: nix::errno::Errno,
    },
    /// The pod could not be connected.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The thread that makes the namespaces could not run.
    #[error("starting a thread for the pod's namespaces: {0}")]
    Thread(#[from] std::io::Error),
}

/// The namespaces of one pod. The kernel removes them, with the pod's interface, when this is dropped and no process of the
/// pod runs any more.
pub struct PodSandbox {
    network: Option<(OwnedFd, Lease)>,
    ipc: OwnedFd,
    uts: OwnedFd,
}

impl PodSandbox {
    /// Makes the namespaces of a pod with the given host name; `None` for `network` is a pod in the node's own network.
    ///
    /// # Errors
    /// [`SandboxError`] names what was refused.
    pub async fn create(hostname: String, network: Option<PodNetwork>) -> Result<Self, SandboxError> {
        let (sender, receiver) = oneshot::channel();
        // Namespaces belong to a thread: this one makes them, opens them and ends.
        std::thread::Builder::new().name("pod-sandbox".to_owned()).spawn(move || {
            // The receiver is gone when the pod was given up meanwhile; the namespaces then go at once.
            let _ = sender.send(make(&hostname, network.as_ref()));
        })?;
        let vanished = || SandboxError::Thread(std::io::Error::other("the thread ended early"));
        receiver.await.map_err(|_| vanished())?
    }

    /// The pod's own address; `None` in the node's network.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.network.as_ref().map(|(_, lease)| lease.address())
    }

    /// Paths a child of the engine can open, to join the namespaces.
    pub fn paths(&self) -> Vec<PathBuf> {
        let engine = std::process::id();
        let network = self.network.iter().map(|(namespace, _)| namespace);
        network
            .chain([&self.ipc, &self.uts])
            .map(|namespace| PathBuf::from(format!("/proc/{engine}/fd/{}", namespace.as_raw_fd())))
            .collect()
    }

    /// The pod's network namespace, for probes that connect from inside; `None` in the node's network.
    pub fn network(&self) -> Option<&OwnedFd> {
        self.network.as_ref().map(|(namespace, _)| namespace)
    }
}

fn make(hostname: &str, network: Option<&PodNetwork>) -> Result<PodSandbox, SandboxError> {
    let refused = |step| move |errno| SandboxError::Namespace { step, errno };
    let mut flags = CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
    if network.is_some() {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    unshare(flags).map_err(refused("creating the pod's namespaces"))?;
    nix::unistd::sethostname(hostname).map_err(refused("setting the pod's host name"))?;
    let network = match network {
        None => None,
        Some(network) => {
            loopback_up().map_err(refused("bringing the pod's loopback interface up"))?;
            let lease = network.lease()?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(network.attach(&lease))?;
            Some((this_namespace("net")?, lease))
        }
    };
    Ok(PodSandbox { network, ipc: this_namespace("ipc")?, uts: this_namespace("uts")? })
}
