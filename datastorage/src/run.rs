//! The life of the process: open the database, listen, serve, drain, close.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::options::ServeOptions;
use crate::repository::{OpenError, Repository};
use crate::server::{Service, router};
use crate::telemetry;

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
    /// 1 for the operating system, 2 for the command line, 3 for the database, 4 for the address.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::System { .. } => 1,
            Self::Log(_) => 2,
            Self::Database(_) => 3,
            Self::Listen { .. } => 4,
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
            Self::System { .. } => None,
        }
    }
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(options: ServeOptions) -> Result<(), RunError> {
    telemetry::init(&options.log).map_err(RunError::Log)?;
    let repository = Repository::open(&options.database).await?;
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|source| RunError::Listen { address: options.listen, source })?;
    let address =
        listener.local_addr().map_err(|source| RunError::System { attempt: "read the address", source })?;
    let end = end_signal().map_err(|source| RunError::System { attempt: "handle signals", source })?;

    let service = Arc::new(Service::new(repository, options.limits));
    info!(
        %address,
        database = service.repository.place(),
        version = env!("CARGO_PKG_VERSION"),
        openapi_digest = service.openapi.digest,
        "serving"
    );
    let served = serve(listener, service.clone(), end, options.drain_delay, options.shutdown_timeout).await;
    if timeout(CLOSE_TIMEOUT, service.repository.close()).await.is_err() {
        warn!("the database was left as it is: closing it took too long; nothing accepted is lost");
    }
    info!("stopped");
    served.map_err(|source| RunError::System { attempt: "serve", source })
}

/// Serves until `end`; then reports not ready for `delay`, and cuts off what still runs `budget` after `end`.
pub async fn serve(
    listener: TcpListener,
    service: Arc<Service>,
    end: impl Future<Output = &'static str> + Send + 'static,
    delay: Duration,
    budget: Duration,
) -> io::Result<()> {
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
    let server = axum::serve(listener, router(service)).with_graceful_shutdown(drained);
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
