//! The life of the process: listen, provision, register, serve, drain, send what is left.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use kube::Client;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::audit::{self, SenderOptions};
use crate::certificate::Profile;
use crate::health::{self, Check, Readiness};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::registration::Names;
use crate::server::{self, ServingCertificate, Webhook};
use crate::upkeep::{Memory, Upkeep};

/// Why the process could not serve.
#[derive(Debug, Error)]
pub enum RunError {
    /// The log directives cannot be read.
    #[error("cannot read `--log` {0}")]
    Log(String),
    /// There is no API server to talk to.
    #[error("cannot find the API server")]
    Kubernetes(#[source] Box<kube::Error>),
    /// Audit events cannot be sent or kept.
    #[error(transparent)]
    Audit(#[from] audit::StartError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// The operating system's answer.
        source: io::Error,
    },
    /// TLS cannot be spoken.
    #[error("cannot serve TLS")]
    Tls(#[source] rustls::Error),
    /// The operating system failed the process.
    #[error("cannot handle signals")]
    Signals(#[source] io::Error),
}

impl RunError {
    /// 1 for the operating system, 2 for the command line, 3 for the cluster, 4 for an address.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Audit(_) | Self::Tls(_) | Self::Signals(_) => 1,
            Self::Log(_) => 2,
            Self::Kubernetes(_) => 3,
            Self::Listen { .. } => 4,
        }
    }

    /// What to change so that it works.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Log(_) => Some("pass `--log info`, or directives such as `--log info,authwebhook=debug`"),
            Self::Kubernetes(_) => Some("run it in a pod with a service account token, or set KUBECONFIG"),
            Self::Listen { .. } => Some("pass free addresses with `--listen` and `--health-listen`"),
            Self::Audit(audit::StartError::Journal { .. }) => {
                Some("pass a folder it may write to with `--journal`")
            }
            Self::Audit(audit::StartError::Client(_)) | Self::Tls(_) | Self::Signals(_) => None,
        }
    }
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(options: Options) -> Result<(), RunError> {
    let telemetry = telemetry::start("authwebhook", &options.log).map_err(RunError::Log)?;
    let served = run_logged(options).await;
    telemetry.finish().await;
    served
}

async fn run_logged(options: Options) -> Result<(), RunError> {
    let client = Client::try_default().await.map_err(|source| RunError::Kubernetes(Box::new(source)))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let (listener, address) = bind(options.listen).await?;
    let (health_listener, health_address) = bind(options.health_listen).await?;
    info!(%address, %health_address, version = env!("CARGO_PKG_VERSION"), "listening");
    let end = async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal, "shutting down");
    };
    serve(options, client, listener, address, health_listener, end).await
}

/// Serves on listeners that are bound already, until `end`.
pub async fn serve(
    options: Options,
    client: Client,
    listener: TcpListener,
    address: SocketAddr,
    health_listener: TcpListener,
    end: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let metrics = Arc::new(Metrics::default());
    let readiness = Arc::new(Readiness::default());
    let serving = Arc::new(ServingCertificate::default());
    let to_datastorage =
        SenderOptions { journal: options.journal, ..SenderOptions::new(&options.datastorage_url) };
    let (audit, worker) = audit::start(to_datastorage, metrics.clone())?;

    let upkeep = Upkeep {
        client,
        profile: Profile {
            service: options.service,
            namespace: options.namespace,
            lifetime: options.certificate_lifetime,
            ca_lifetime: options.ca_lifetime,
        },
        source: options.certificate_source,
        secret: options.secret,
        configurations: Names {
            mutating: options.webhook_configuration,
            validating: options.validating_configuration,
        },
        overlap: options.overlap,
        listener: reachable(address),
        serving: serving.clone(),
        readiness: readiness.clone(),
        metrics: metrics.clone(),
        memory: Memory::default(),
    };
    readiness.set(Check::Serving, Ok(()));
    let health = health::router(readiness.clone(), metrics.clone());
    let health = tokio::spawn(async move { axum::serve(health_listener, health).await });
    let upkeep = tokio::spawn(upkeep.run(options.interval));

    let drained = async {
        end.await;
        readiness.set(Check::Serving, Err("shutting down".to_owned()));
        tokio::time::sleep(options.drain_delay).await;
    };
    let router = server::router(Webhook { audit, metrics });
    let served = server::serve(listener, serving, router, drained, options.shutdown_timeout).await;
    upkeep.abort();
    worker.finish(options.shutdown_timeout).await;
    health.abort();
    match &served {
        Ok(()) => info!("stopped"),
        Err(error) => warn!(%error, "stopped"),
    }
    served.map_err(RunError::Tls)
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), RunError> {
    let failed = |source| RunError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// The address by which this process reaches its own listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
