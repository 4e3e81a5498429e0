//! The way from what changed to what is reconciled. It is open while this replica leads.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use api::workflow_execution::WorkflowExecution;
use futures::stream::{self, Stream};
use kube::runtime::controller::ReconcileRequest;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc;

use crate::metrics::Metrics;

/// Where requests are put in; cheap to clone.
#[derive(Clone)]
pub struct Requests {
    queue: mpsc::UnboundedSender<ObjectRef<WorkflowExecution>>,
    waiting: Arc<Mutex<HashMap<ObjectRef<WorkflowExecution>, Instant>>>,
    open: Arc<AtomicBool>,
    metrics: Metrics,
}

impl Requests {
    /// A closed way, and its other end.
    pub fn new(
        metrics: Metrics,
    ) -> (Self, impl Stream<Item = Result<ReconcileRequest<WorkflowExecution>, std::convert::Infallible>>)
    {
        let (queue, mut requests) = mpsc::unbounded_channel();
        let requests = stream::poll_fn(move |context| {
            requests
                .poll_recv(context)
                .map(|request| request.map(|execution: ObjectRef<_>| Ok(execution.into())))
        });
        (Self { queue, waiting: Arc::default(), open: Arc::default(), metrics }, requests)
    }

    /// Opens the way, and asks for every execution known: what changed before was not passed on.
    pub fn open(&self, executions: &Store<WorkflowExecution>) {
        self.open.store(true, Ordering::SeqCst);
        for execution in executions.state() {
            self.push(ObjectRef::from_obj(execution.as_ref()));
        }
    }

    /// Asks for `execution` to be looked at. Asking again before that is done changes nothing.
    pub fn push(&self, execution: ObjectRef<WorkflowExecution>) {
        if !self.open.load(Ordering::SeqCst) {
            return;
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.contains_key(&execution) {
            return;
        }
        waiting.insert(execution.clone(), Instant::now());
        self.metrics.requested(waiting.len());
        // Fails only at the end of the process.
        let _ = self.queue.send(execution);
    }

    /// `execution` is looked at now.
    pub fn taken(&self, execution: &ObjectRef<WorkflowExecution>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // A request of a timer was never put in here.
        if let Some(since) = waiting.remove(execution) {
            self.metrics.taken(waiting.len(), since.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};
    use kube::runtime::{reflector, watcher};
    use serde_json::json;

    use super::*;
    use crate::metrics::Backlog;

    fn execution(name: &str) -> WorkflowExecution {
        serde_json::from_value(json!({
            "apiVersion": "kubernaut.ai/v1alpha1", "kind": "WorkflowExecution",
            "metadata": {"name": name, "namespace": "ops"},
            "spec": {
                "remediationRequestRef": {},
                "workflowRef": {"workflowId": "w", "version": "1", "containerImage": "i"},
                "targetResource": "prod/deployment/web",
            },
        }))
        .unwrap()
    }

    #[test]
    fn only_a_leader_gets_requests_and_each_execution_waits_once() {
        let metrics = Metrics::default();
        let (requests, mut requested) = Requests::new(metrics.clone());
        let mut next =
            || requested.next().now_or_never().flatten().map(|request| request.unwrap().obj_ref.name);
        let reference = |name: &str| ObjectRef::from_obj(&execution(name));
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&watcher::Event::Apply(execution("known")));

        requests.push(reference("early"));
        assert_eq!(next(), None, "a standby has nothing to do");
        requests.open(&store);
        assert_eq!(next().as_deref(), Some("known"), "what changed before is in what is known");
        requests.push(reference("known"));
        assert_eq!(next(), None, "it has not been looked at since");
        assert!(metrics.text(Backlog::default()).contains("workflowexecution_workqueue_depth 1"));
        requests.taken(&reference("known"));
        requests.push(reference("known"));
        assert_eq!(next().as_deref(), Some("known"), "it changed while it was looked at");
    }
}
