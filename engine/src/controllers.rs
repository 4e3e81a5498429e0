//! The controllers of a cluster as ordinary clients of any Kubernetes API: they know no private door into this engine's store.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use self::context::Context;
use self::queue::Tasks;

mod aggregation;
mod cron_job;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoints;
mod garbage_collector;
mod job;
mod namespace;
mod namespace_content;
mod node_lifecycle;
mod pod_garbage;
mod replicaset;
mod scheduler;
mod stateful_set;
mod volumes;

mod history;
mod pods;
mod selector;

pub(crate) mod cache;
mod context;
pub(crate) mod events;
pub(crate) mod informer;
mod inventory;
mod queue;

/// Why the controllers ended before they were told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of the tasks panicked: a defect of ours, never a state of the cluster.
    #[error("a controller stopped unexpectedly")]
    Stopped(#[source] tokio::task::JoinError),
}

/// What the controllers cannot learn from the API.
#[derive(Clone, Debug)]
pub struct Options {
    /// Certificate of the cluster's authority, PEM: published in every namespace.
    pub root_ca: String,
    /// Directory of the node under which persistent volumes are made.
    pub volumes: PathBuf,
}

/// Runs every controller until `shutdown`. Errors of the API are retried with back-off and never end it.
pub async fn run(client: kube::Client, options: Options, shutdown: CancellationToken) -> Result<(), Error> {
    let context = Context::new(client, options);
    let mut tasks = Tasks::new(shutdown.clone());
    namespace::start(&context, &mut tasks);
    namespace_content::start(&context, &mut tasks);
    garbage_collector::start(&context, &mut tasks);
    aggregation::start(&context, &mut tasks);
    deployment::start(&context, &mut tasks);
    replicaset::start(&context, &mut tasks);
    stateful_set::start(&context, &mut tasks);
    daemon_set::start(&context, &mut tasks);
    job::start(&context, &mut tasks);
    cron_job::start(&context, &mut tasks);
    disruption::start(&context, &mut tasks);
    endpoints::start(&context, &mut tasks);
    node_lifecycle::start(&context, &mut tasks);
    pod_garbage::start(&context, &mut tasks);
    scheduler::start(&context, &mut tasks);
    volumes::start(&context, &mut tasks);
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = context.start(&mut tasks) => tasks.caches_are_complete(),
    }
    tasks.join().await.map_err(Error::Stopped)
}
