//! The WorkflowExecution controller: runs each `WorkflowExecution` as one child object, one at a time per target, and accounts
//! for it by status, Kubernetes events, metrics and audit events.
//!
//! It does not select workflows, does not attribute people's decisions and stores nothing of its own: all its state is in
//! the cluster, so that it may be killed anywhere.

pub mod config;
pub mod leader;

pub mod watch;

pub mod reconcile;

pub mod engines;
pub mod outbox;

pub mod http;
pub mod metrics;
pub mod trace;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::workflow_execution::WorkflowExecution;
use futures::{FutureExt, StreamExt};
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::Instrument;

use config::Config;
use engines::served::Served;
use http::{Readiness, State};
use leader::Election;
use metrics::{Backlog, Metrics};
use reconcile::{Context, Targets};
use watch::Requests;

/// How long what was begun may take to end once the process is told to end.
const FINISH_WITHIN: Duration = Duration::from_secs(4);
/// How long events on their way may take to be acknowledged then. What is not is sent again by the next process.
const DELIVER_WITHIN: Duration = Duration::from_secs(2);

/// Why the controller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Flags contradict each other.
    #[error("{0}")]
    Config(String),
    /// The custom resource is not there, or may not be read.
    #[error(
        "failed to list WorkflowExecutions\n  hint: apply the CRD workflowexecutions.kubernaut.ai and this controller's ClusterRole"
    )]
    Resource(#[source] Box<kube::Error>),
    /// The cluster does not say which engines it has.
    #[error("failed to ask the cluster whether it has Tekton")]
    Engines(#[source] Box<kube::Error>),
    /// A part that should run as long as the controller ended: a defect.
    #[error("a part of the controller stopped unexpectedly")]
    Stopped,
    /// Another replica leads, or the Lease could not be renewed.
    #[error("no longer the leader")]
    Deposed,
    /// No HTTP client for DataStorage.
    #[error("failed to prepare requests to DataStorage")]
    Http(#[source] reqwest::Error),
    /// An address is not free.
    #[error("failed to serve at {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// Runs the controller until an error, or until `told_to_end`. It may be dropped anywhere.
pub async fn run(config: Config, client: Client, told_to_end: impl Future<Output = ()>) -> Result<(), Error> {
    let settings = config.settings().map_err(Error::Config)?;
    let executions = Api::<WorkflowExecution>::all(client.clone());
    executions
        .list_metadata(&ListParams::default().limit(1))
        .await
        .map_err(|error| Error::Resource(Box::new(error)))?;
    let served = Served::look(&client).await.map_err(|error| Error::Engines(Box::new(error)))?;

    let metrics = Metrics::default();
    let readiness = Readiness::default();
    let identity = leader::identity(config.pod_name.as_deref());
    let election = config.election(&identity).map(|options| Election::new(&client, options));
    let (requests, requested) = Requests::new(metrics.clone());
    let (outbox, sender) = outbox::sender::outbox(
        &config.datastorage_url,
        config.datastorage_timeout(),
        metrics.clone(),
        requests.clone(),
    )
    .map_err(Error::Http)?;
    let watches = watch::watches(&client, &config.execution_namespace, &served);
    let context = Arc::new(Context {
        client: client.clone(),
        executions: watches.executions.clone(),
        children: watches.children.clone(),
        served: served.clone(),
        targets: Targets::default(),
        settings,
        place: config.place(),
        outbox,
        requests: requests.clone(),
        metrics: metrics.clone(),
        identity,
    });

    let complete = watches.complete();
    let scraped = {
        let (metrics, executions) = (metrics.clone(), watches.executions.clone());
        move || metrics.text(Backlog::of(&executions.store.state(), Timestamp::now()))
    };
    // Tasks of their own: the more there is to reconcile, the more they are needed. They end when the set is dropped.
    let mut parts = JoinSet::new();
    parts.spawn(watches.run(requests.clone()).map(Ok).instrument(tracing::info_span!("watches")));
    parts.spawn(sender.run().map(Ok).instrument(tracing::info_span!("outbox")));
    parts.spawn(served.keep_looking(client.clone()).map(Ok).instrument(tracing::info_span!("engines")));
    parts.spawn(http::serve(config.health_probe_bind_address, http::health(readiness.clone())));
    parts.spawn(http::serve(config.metrics_bind_address, http::metrics(scraped)));
    let end = Arc::new(Notify::new());
    let lead = async {
        let won = async {
            complete.await;
            readiness.set(State::Ready);
            tracing::info!("every execution and child is known");
            if let Some(election) = &election {
                election.win().await;
            }
        };
        tokio::select! {
            () = won => {}
            () = end.notified() => return Ok(()),
        }
        tracing::info!(identity = context.identity, "leading");
        metrics.leading(true);
        requests.open(&context.executions.store);
        let end = end.clone();
        let requested = requested.take_until(async move { end.notified().await });
        let reconciliations = reconcile::run(context.clone(), requested);
        match &election {
            Some(election) => tokio::select! {
                () = reconciliations => Ok(()),
                () = election.keep() => Err(Error::Deposed),
            },
            None => reconciliations.map(Ok).await,
        }
    };
    let drain = async {
        told_to_end.await;
        tracing::info!("told to end");
        readiness.set(State::Draining);
        end.notify_one();
        tokio::time::sleep(FINISH_WITHIN).await;
    };
    let work = async {
        // The drain ends the work by itself; only work that does not end in time is left where it is.
        let outcome = tokio::select! {
            outcome = lead => outcome,
            () = drain => Ok(()),
        };
        if outcome.is_ok() {
            // Fails only by taking too long.
            let _ = tokio::time::timeout(DELIVER_WITHIN, context.outbox.drained()).await;
            if let Some(election) = &election {
                election.release().await;
            }
            tracing::info!("ended");
        }
        outcome
    };
    tokio::select! {
        outcome = work => outcome,
        ended = parts.join_next() => match ended {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) | None => Err(Error::Stopped),
        },
    }
}

/// An error with its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
