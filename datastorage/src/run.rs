//! The life of the process: open the database, listen, serve, drain, close.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::options::ServeOptions;
use crate::repository::{Access, OpenError, Repository};
use crate::server::{
    Authorization, KubernetesAuthorizer, Peer, PlainListener, Service, TlsError, TlsFiles, TlsListener,
    make_service,
};
use crate::sign::{KeyError, SigningKey};
use crate::upkeep;

/// How long closing the database may take once nobody is served.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the process could not serve.
#[derive(Debug, Error)]
pub enum RunError {
    /// The log directives cannot be read.
    #[error("cannot read `--log` {0}")]
    Log(String),
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// The operating system's answer.
        source: io::Error,
    },
    /// HTTPS cannot be served.
    #[error("cannot serve HTTPS")]
    Tls(#[from] TlsError),
    /// Exports cannot be signed.
    #[error("cannot sign exports")]
    Signing(#[from] KeyError),
    /// Nothing says where the key is that signs exports.
    #[error("cannot sign exports: no directory for the key is given")]
    NoSigningDirectory,
    /// Callers cannot be authorized.
    #[error("cannot find the API server that authorizes callers")]
    Kubernetes(#[source] Box<kube::Error>),
    /// The operating system failed the process.
    #[error("cannot {attempt}")]
    System {
        /// What was attempted.
        attempt: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
}

impl RunError {
    /// 1 for the operating system, 2 for the command line, 3 for the database, 4 for the address, 5 for keys, certificates
    /// and the API server.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::System { .. } => 1,
            Self::Log(_) => 2,
            Self::Database(_) => 3,
            Self::Listen { .. } => 4,
            Self::Tls(_) | Self::Signing(_) | Self::NoSigningDirectory | Self::Kubernetes(_) => 5,
        }
    }

    /// What to change so that it works.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Log(_) => {
                Some("pass `--log info`, or directives such as `--log info,datastorage=debug`".to_owned())
            }
            Self::Database(error) => Some(error.hint()),
            Self::Listen { .. } => {
                Some("pass a free address, for example `--listen 0.0.0.0:8080`".to_owned())
            }
            Self::Tls(_) => Some("pass PEM files with `--tls-certificate` and `--tls-key`".to_owned()),
            Self::Signing(_) | Self::NoSigningDirectory => Some(
                "pass `--signing-directory`: one with `tls.key` and `tls.crt`, or a writable one where they are made"
                    .to_owned(),
            ),
            Self::Kubernetes(_) => {
                Some("run it in a pod with a service account token, or without `--authorize`".to_owned())
            }
            Self::System { .. } => None,
        }
    }
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(options: ServeOptions) -> Result<(), RunError> {
    let telemetry = telemetry::start("datastorage", &options.log).map_err(RunError::Log)?;
    let served = run_logged(options).await;
    telemetry.finish().await;
    served
}

async fn run_logged(options: ServeOptions) -> Result<(), RunError> {
    let repository = Repository::open_with(&options.database, Access::Service, options.pool.into()).await?;
    let directory = options.signing_directory.clone().or_else(|| repository.directory());
    let signing = SigningKey::open(&directory.ok_or(RunError::NoSigningDirectory)?)?;
    let authorization = authorization(&options).await?;
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|source| RunError::Listen { address: options.listen, source })?;
    let address =
        listener.local_addr().map_err(|source| RunError::System { attempt: "read the address", source })?;
    let end = end_signal().map_err(|source| RunError::System { attempt: "handle signals", source })?;

    let service = Arc::new(Service::new(repository, options.limits, authorization, signing));
    let tls = options.tls_certificate.zip(options.tls_key);
    info!(
        %address,
        database = service.repository.place(),
        https = tls.is_some(),
        authorize = options.authorize,
        version = env!("CARGO_PKG_VERSION"),
        openapi_digest = service.openapi.digest,
        "serving"
    );
    let upkeep = tokio::spawn(upkeep::run(service.clone(), options.retention));
    let (delay, budget) = (options.drain_delay, options.shutdown_timeout);
    let served = match tls {
        Some((certificate, key)) => {
            let listener = TlsListener::new(listener, TlsFiles { certificate, key })?;
            serve(listener, service.clone(), end, delay, budget).await
        }
        None => serve(PlainListener(listener), service.clone(), end, delay, budget).await,
    };
    upkeep.abort();
    if timeout(CLOSE_TIMEOUT, service.repository.close()).await.is_err() {
        warn!("the database was left as it is: closing it took too long; nothing accepted is lost");
    }
    info!("stopped");
    served.map_err(|source| RunError::System { attempt: "serve", source })
}

async fn authorization(options: &ServeOptions) -> Result<Authorization, RunError> {
    if !options.authorize {
        return Ok(Authorization::Open);
    }
    let client = kube::Client::try_default().await;
    let client = client.map_err(|source| RunError::Kubernetes(Box::new(source)))?;
    let authorizer = KubernetesAuthorizer::new(client, options.namespace.clone(), options.service.clone());
    Ok(Authorization::Kubernetes(Box::new(authorizer)))
}

/// Serves until `end`; then reports not ready for `delay`, and cuts off what still runs `budget` after `end`.
pub async fn serve<L: Listener>(
    listener: L,
    service: Arc<Service>,
    end: impl Future<Output = &'static str> + Send + 'static,
    delay: Duration,
    budget: Duration,
) -> io::Result<()>
where
    L::Addr: std::fmt::Debug,
    Peer: for<'a> Connected<IncomingStream<'a, L>>,
{
    let ended = Arc::new(tokio::sync::Notify::new());
    let notify = ended.clone();
    let draining = service.clone();
    let drained = async move {
        let signal = end.await;
        info!(signal, "shutting down");
        draining.draining.store(true, Ordering::Relaxed);
        notify.notify_one();
        tokio::time::sleep(delay.min(budget)).await;
    };
    let server = axum::serve(listener, make_service::<L>(service)).with_graceful_shutdown(drained);
    let overdue = async {
        ended.notified().await;
        tokio::time::sleep(budget).await;
    };
    tokio::select! {
        served = server => served,
        () = overdue => {
            warn!(budget_seconds = budget.as_secs_f64(), "requests were cut off: not done in time");
            Ok(())
        }
    }
}

fn end_signal() -> io::Result<impl Future<Output = &'static str> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}
