//! The controllers of a cluster as ordinary clients of any Kubernetes API: they know no private door into this engine's store.

use tokio_util::sync::CancellationToken;

use self::context::Context;
use self::queue::Tasks;

mod deployment;
mod endpoints;
mod job;
mod replicaset;
mod scheduler;

mod pods;
mod selector;

pub(crate) mod cache;
mod context;
mod events;
pub(crate) mod informer;
mod queue;

/// Why the controllers ended before they were told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of the tasks panicked: a defect of ours, never a state of the cluster.
    #[error("a controller stopped unexpectedly")]
    Stopped(#[source] tokio::task::JoinError),
}

/// Runs every controller until `shutdown`. Errors of the API are retried with back-off and never end it.
pub async fn run(client: kube::Client, shutdown: CancellationToken) -> Result<(), Error> {
    let context = Context::new(client);
    let mut tasks = Tasks::new(shutdown.clone());
    deployment::start(&context, &mut tasks);
    replicaset::start(&context, &mut tasks);
    job::start(&context, &mut tasks);
    endpoints::start(&context, &mut tasks);
    scheduler::start(&context, &mut tasks);
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = context.start(&mut tasks) => tasks.caches_are_complete(),
    }
    tasks.join().await.map_err(Error::Stopped)
}
