//! The node: a kubelet that runs the pods bound to it as processes in Linux namespaces, an ordinary client of the API.
//!
//! It needs `get`, `list` and `watch` on pods, services, ConfigMaps, Secrets, claims and volumes, `patch` on `pods/status`,
//! `delete` on pods, `create` on `serviceaccounts/token` and events, and to write its own Node and Lease. [`Node::run`] keeps the
//! node registered and gives each pod a worker (`pod`), which makes its ground (`volume`, `sandbox`), starts its containers
//! (`container`, `image`) and watches over them (`probe`, `log`).
//!
//! Not supported: limits of CPU time (and of memory where the machine lends no control groups), ephemeral containers, host
//! ports, changes of a running pod's images, volumes that are no directories.

mod cgroup;
pub(crate) mod container;
mod exec;
pub mod image;
mod log;
mod machine;
mod options;
pub(crate) mod pod;
mod probe;
pub(crate) mod references;
mod register;
pub mod rooted;
mod roster;
pub mod sandbox;
mod volume;

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::runtime::watcher;
use kube::{Api, Resource};
use tokio_util::sync::CancellationToken;

use self::cgroup::Cgroups;
use self::container::field::Placement;
use self::image::Puller;
use self::image::manifest::Platform;
use self::image::store::Store;
use self::log::Logs;
use self::machine::Machine;
pub use self::options::Options;
pub use self::pod::observed::BackOff;
use self::sandbox::network::{NetworkError, PodNetwork};
use crate::controllers::events::{Note, Recorder};
use crate::controllers::informer::Informer;
use crate::kubelet::{Kubelet, LogRequest, LogStream};
use crate::status::Status;

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory of its own cannot be used.
    #[error("using the node's directory {}: {source}", directory.display())]
    Directory {
        /// Which one.
        directory: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// There is no network for pods.
    #[error("making the pod network: {0}")]
    Network(#[from] NetworkError),
}

/// A node.
pub struct Node {
    client: kube::Client,
    options: Options,
    network: PodNetwork,
    images: Puller,
    machine: Machine,
    cgroups: Option<Cgroups>,
    services: Arc<Informer<Service>>,
    events: Recorder,
    logs: Logs,
}

impl Node {
    /// Makes the pod network and opens the image store. The runtime's threads must all be in the node's network namespace.
    ///
    /// # Errors
    /// [`Error`] names what the machine refused.
    pub async fn start(client: kube::Client, options: Options) -> Result<Arc<Self>, Error> {
        let directory = options.state_dir.clone();
        std::fs::create_dir_all(&directory).map_err(|source| Error::Directory { directory, source })?;
        let directory = options.store_dir.clone();
        let store = Store::open(&directory).map_err(|source| Error::Directory { directory, source })?;
        let mirrors = options.registry_mirrors.clone();
        let images = Puller::new(options.host.clone(), mirrors, store, Platform::native());
        let network = PodNetwork::create(options.gateway).await?;
        let machine = Machine::read(&options.state_dir);
        let cgroups = Cgroups::open(&options.state_dir);
        let services = Informer::new(Api::all(client.clone()), watcher::Config::default());
        let (events, logs) = (Recorder::new(client.clone()), Logs::default());
        Ok(Arc::new(Self { client, options, network, images, machine, cgroups, services, events, logs }))
    }

    /// Registers the node and runs its pods until `shutdown`; nothing of them is left when it returns.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let watching = CancellationToken::new();
        let services = tokio::spawn(self.services.clone().run(watching.clone()));
        tokio::join!(register::keep(&self, &shutdown), async {
            self.services.synced().await;
            roster::keep(&self, &shutdown).await;
        });
        if let Some(groups) = &self.cgroups {
            groups.remove();
        }
        watching.cancel();
        if let Err(error) = services.await {
            tracing::warn!(%error, "the watch of services ended by a defect");
        }
    }

    /// The node's own address.
    fn address(&self) -> String {
        self.network.gateway().to_string()
    }

    /// What a pod with this address says about its place.
    fn placement(&self, address: Option<Ipv4Addr>) -> Placement {
        let host_ip = self.address();
        Placement {
            pod_ip: address.map_or_else(|| host_ip.clone(), |address| address.to_string()),
            host_ip,
            allocatable: self.machine.resources(),
        }
    }

    /// Records an event about a pod or one of its containers.
    fn tell(&self, pod: &Pod, container: Option<&str>, note: Note) {
        let mut regarding = pod.object_ref(&());
        regarding.resource_version = pod.metadata.resource_version.clone();
        regarding.field_path = container.map(|name| {
            let spec = pod.spec.as_ref();
            let init = spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
            let list =
                if init.into_iter().any(|init| init.name == name) { "initContainers" } else { "containers" };
            format!("spec.{list}{{{name}}}")
        });
        self.events.record_about("kubelet", regarding, note);
    }
}

impl Kubelet for Node {
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<LogStream, Status>> {
        let found = self.logs.find(&request);
        Box::pin(async move { Ok(log::stream(found?, request)) })
    }
}
