//! One cluster, put together: isolation, keys, API server, first objects, listeners, controllers, service network, node.
//!
//! State is in memory only. The process ends by itself when a part that must run stops.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::api::admission::Admission;
use crate::api::authenticate::Authenticator;
use crate::api::token::Tokens;
use crate::api::user::User;
use crate::api::{Api, paths, server};
use crate::bootstrap::{self, Facts};
use crate::controllers;
use crate::isolation::{self, HostSide, IsolationError};
use crate::kubelet::Kubelet;
use crate::node::{self, Node};
use crate::pki::{MASTERS, Pki, PkiError};
use crate::services::{self, PortMapping};
use crate::status::Status;
use crate::store::Store;

/// How many changes of each collection a watch can catch up on.
const HISTORY: usize = 1000;

/// How long one part may take to end when the cluster does. Whoever started the engine gives it ten seconds in all.
const ENDS_WITHIN: Duration = Duration::from_secs(7);

/// What a cluster is told when it starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Files of pods and persistent volumes.
    pub state_dir: PathBuf,
    /// Images.
    pub store_dir: PathBuf,
    /// Where the kubeconfig is written.
    pub kubeconfig: PathBuf,
    /// Address of the host on which the API is served.
    pub listen: SocketAddr,
    /// Name of the node.
    pub node_name: String,
    /// Registry host → base URL that answers for it.
    pub registry_mirrors: BTreeMap<String, String>,
    /// Ports of the host that lead to node ports.
    pub port_mappings: Vec<PortMapping>,
}

/// Why a cluster cannot start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine does not let us isolate ourselves.
    #[error(transparent)]
    Isolation(#[from] IsolationError),
    /// A thread or signal handler was refused.
    #[error("cannot start the runtime")]
    Runtime(#[source] io::Error),
    /// Keys and certificates.
    #[error("cannot make the cluster's keys")]
    Pki(#[from] PkiError),
    /// A directory or file of ours.
    #[error("cannot write {}", file.display())]
    File {
        /// Which one.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The API has nowhere to listen.
    #[error(
        "cannot serve the API on {address}\nhint: another process may use the port; port 0 takes a free one"
    )]
    Listen {
        /// Where it should.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The first objects were refused.
    #[error("cannot create the first objects of the cluster")]
    Bootstrap(#[from] Status),
    /// The service network.
    #[error("cannot serve the service network")]
    Services(#[from] services::Error),
    /// A controller.
    #[error("the controllers ended")]
    Controllers(#[from] controllers::Error),
    /// The node.
    #[error("cannot start the node")]
    Node(#[from] node::Error),
    /// A part that should run as long as the cluster ended without saying why.
    #[error("{part} stopped unexpectedly")]
    Stopped {
        /// Which one.
        part: &'static str,
    },
}

/// Runs a cluster until SIGTERM or SIGINT. `ready` is told the API's URL as soon as it answers. Must be called before the process
/// has a second thread.
pub fn run(options: Options, ready: impl FnOnce(&str)) -> Result<(), Error> {
    let host = isolation::enter()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Error::Runtime)?;
    let outcome = runtime.block_on(cluster(options, host, ready));
    // What still blocks a thread then (a name lookup, a file) is not waited for.
    runtime.shutdown_background();
    outcome
}

async fn cluster(mut options: Options, host: HostSide, ready: impl FnOnce(&str)) -> Result<(), Error> {
    // Before anything slow: a signal during the start ends the cluster as one after it does.
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Runtime)?;
    // Fails only if a provider was chosen before, which then serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    for directory in [&mut options.state_dir, &mut options.store_dir] {
        // Volumes are found by these names from other working directories.
        let made = std::path::absolute(&*directory).and_then(|absolute| {
            std::fs::create_dir_all(&absolute)?;
            Ok(absolute)
        });
        let file = directory.clone();
        *directory = made.map_err(|source| Error::File { file, source })?;
    }
    let control_plane = ControlPlane::start(&options, &host, ready).await?;
    let mut parts = Parts::start(&options, host, &control_plane);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        error = parts.first_failure() => return Err(error),
    }
    tracing::info!("ending");
    parts.stop().await;
    control_plane.stop().await;
    Ok(())
}

/// The API server with its listeners.
struct ControlPlane {
    api: Arc<Api>,
    pki: Pki,
    listeners: JoinSet<()>,
}

impl ControlPlane {
    async fn start(options: &Options, host: &HostSide, ready: impl FnOnce(&str)) -> Result<Self, Error> {
        let pki = Pki::generate()?;
        let facts = Facts::default();
        services::prepare(&service_options(options)).await?;
        let inside = SocketAddr::from(facts.api_server);
        let inside =
            TcpListener::bind(inside).await.map_err(|source| Error::Listen { address: inside, source })?;
        let address = options.listen;
        let outside = server::bind_on_host(host, address).await;
        let outside = outside.map_err(|source| Error::Listen { address, source })?;
        let address = outside.local_addr().map_err(|source| Error::Listen { address, source })?;

        let (private, public) = pki.token_key();
        let authenticator = Authenticator { tokens: Tokens::new(private, public), fixed: HashMap::new() };
        let api = Arc::new(Api::new(Store::new(HISTORY), authenticator, Admission::default()));
        bootstrap::bootstrap(&api, &facts).await?;

        let tls = pki.server_config()?;
        let mut listeners = JoinSet::new();
        for listener in [inside, outside] {
            listeners.spawn(server::serve(api.clone(), listener, tls.clone()));
        }
        let server = format!("https://{address}");
        let admin = pki.client("kubernetes-admin", Some(MASTERS))?;
        let kubeconfig = pki.kubeconfig(&server, &options.node_name, &admin);
        write_private(&options.kubeconfig, &format!("{kubeconfig:#}\n"))?;
        tracing::info!(%server, "the API is served");
        ready(&server);
        Ok(Self { api, pki, listeners })
    }

    async fn stop(self) {
        self.api.closing.cancel();
        self.listeners.join_all().await;
    }
}

/// What runs beside the API, as its clients.
struct Parts {
    controllers: Part,
    services: Part,
    node: Part,
}

impl Parts {
    fn start(options: &Options, host: HostSide, control_plane: &ControlPlane) -> Self {
        let ControlPlane { api, pki, listeners: _ } = control_plane;
        // Each may do what the default roles say, and no more.
        let client = |name: &str, groups: &[&str]| {
            let groups = groups.iter().map(ToString::to_string).collect();
            server::client(api, User::authenticated(name, groups))
        };
        let settings =
            controllers::Options { root_ca: pki.ca_pem(), volumes: options.state_dir.join("volumes") };
        let user = client("system:kube-controller-manager", &[]);
        let controllers =
            Part::start("controllers", |end| async move { Ok(controllers::run(user, settings, end).await?) });
        let (user, settings, side) =
            (client("system:kube-proxy", &[]), service_options(options), host.clone());
        let services = Part::start("the service network", |end| async move {
            Ok(services::run(user, side, settings, end).await?)
        });
        let pods = options.state_dir.join("pods");
        let mut settings = node::Options::new(&options.node_name, pods, options.store_dir.clone(), host);
        settings.registry_mirrors = options.registry_mirrors.clone();
        settings.version = paths::VERSION.to_owned();
        let (user, api) =
            (client(&format!("system:node:{}", options.node_name), &["system:nodes"]), api.clone());
        let node = Part::start("the node", |end| async move {
            let node = Node::start(user, settings).await?;
            let kubelet: Arc<dyn Kubelet> = node.clone();
            // Set once, here.
            let _ = api.kubelet.set(kubelet);
            node.run(end).await;
            Ok(())
        });
        Self { controllers, services, node }
    }

    /// Waits for a part to end that should not.
    async fn first_failure(&mut self) -> Error {
        let Self { controllers, services, node } = self;
        tokio::select! {
            error = controllers.failure() => error,
            error = services.failure() => error,
            error = node.failure() => error,
        }
    }

    /// Ends them in the order in which nothing is made again that was just removed.
    async fn stop(self) {
        let Self { controllers, services, node } = self;
        controllers.stop().await;
        node.stop().await;
        services.stop().await;
    }
}

/// One task with an end of its own.
struct Part {
    name: &'static str,
    end: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
}

impl Part {
    fn start<F>(name: &'static str, run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let end = CancellationToken::new();
        let task = tokio::spawn(run(end.clone()).instrument(tracing::info_span!("part", name)));
        Self { name, end, task }
    }

    async fn failure(&mut self) -> Error {
        match (&mut self.task).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) | Err(_) => Error::Stopped { part: self.name },
        }
    }

    async fn stop(mut self) {
        self.end.cancel();
        match tokio::time::timeout(ENDS_WITHIN, &mut self.task).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(part = self.name, %error, "ended with an error"),
            Ok(Err(error)) => tracing::warn!(part = self.name, %error, "ended by a defect"),
            // The kernel ends what is left when this process ends.
            Err(_) => tracing::warn!(part = self.name, "did not end in time"),
        }
    }
}

/// Replaces a file in one step, for its owner's eyes only.
fn write_private(file: &Path, content: &str) -> Result<(), Error> {
    let failed = |source| Error::File { file: file.to_path_buf(), source };
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = file.with_file_name(name);
    let mut open = std::fs::OpenOptions::new();
    let mut writer = open.write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(failed)?;
    // The mode above is for a new file only; one of an earlier run may have another.
    writer.set_permissions(PermissionsExt::from_mode(0o600)).map_err(failed)?;
    writer.write_all(content.as_bytes()).map_err(failed)?;
    std::fs::rename(&new, file).map_err(failed)
}

fn service_options(options: &Options) -> services::Options {
    services::Options {
        resolver: resolver(),
        port_mappings: options.port_mappings.clone(),
        ..services::Options::default()
    }
}

/// The host's name server.
fn resolver() -> Option<SocketAddr> {
    let configuration = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let mut servers = configuration.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let address = servers.find_map(|server| server.trim().parse::<IpAddr>().ok())?;
    Some(SocketAddr::new(address, 53))
}
