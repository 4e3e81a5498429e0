//! The WorkflowExecution controller: runs each `WorkflowExecution` as one child object, one at a time per target, and accounts
//! for it by status, Kubernetes events, metrics and audit events.
//!
//! It does not select workflows, does not attribute people's decisions and stores nothing of its own: all its state is in
//! the cluster, so that it may be killed anywhere.

pub mod config;

pub mod watch;

pub mod reconcile;

pub mod engines;
pub mod outbox;

pub mod http;
pub mod metrics;

use std::net::SocketAddr;
use std::sync::Arc;

use api::workflow_execution::WorkflowExecution;
use kube::api::ListParams;
use kube::runtime::events::{Recorder, Reporter};
use kube::{Api, Client};
use tokio::sync::mpsc;

use config::Config;
use http::Readiness;
use metrics::Metrics;
use reconcile::Context;

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

/// Runs the controller until an error; it may be dropped anywhere.
pub async fn run(config: Config, client: Client) -> Result<(), Error> {
    let settings = config.settings().map_err(Error::Config)?;
    let executions = Api::<WorkflowExecution>::all(client.clone());
    executions
        .list_metadata(&ListParams::default().limit(1))
        .await
        .map_err(|error| Error::Resource(Box::new(error)))?;

    let metrics = Metrics::default();
    let readiness = Readiness::default();
    let (acknowledged_in, acknowledged) = mpsc::unbounded_channel();
    let timeout = config.datastorage_timeout();
    let (outbox, sender) =
        outbox::sender::outbox(&config.datastorage_url, timeout, metrics.clone(), acknowledged_in)
            .map_err(Error::Http)?;
    let watches = watch::watches(&client, &config.execution_namespace, acknowledged);
    let (known_executions, known_jobs, known_pods) =
        (watches.executions.clone(), watches.jobs.clone(), watches.pods.clone());
    let ready = {
        let readiness = readiness.clone();
        async move {
            let (executions, jobs, pods) = tokio::join!(
                known_executions.wait_until_ready(),
                known_jobs.wait_until_ready(),
                known_pods.wait_until_ready()
            );
            if executions.is_ok() && jobs.is_ok() && pods.is_ok() {
                readiness.set();
                tracing::info!("ready");
            }
            std::future::pending::<()>().await;
        }
    };
    let reporter = Reporter { controller: outbox::event::ACTOR.to_owned(), instance: None };
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        executions: watches.executions.clone(),
        jobs: watches.jobs.clone(),
        pods: watches.pods.clone(),
        settings,
        place: config.place(),
        outbox,
        metrics: metrics.clone(),
    });
    tokio::select! {
        outcome = http::serve(config.health_probe_bind_address, http::health(readiness)) => outcome,
        outcome = http::serve(config.metrics_bind_address, http::metrics(metrics)) => outcome,
        () = sender.run() => Ok(()),
        () = watches.run(context) => Ok(()),
        () = ready => Ok(()),
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
