//! Sends due events to DataStorage until each is acknowledged, and remembers what was acknowledged since the start.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::audit::AuditEventRequest;
use api::workflow_execution::WorkflowExecution;
use datastorage_client::{BackOff, Client, Settle, StoreError, deliver};
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use crate::chain;
use crate::metrics::Metrics;
use crate::reconcile::observed::Acknowledgement;
use crate::trace;
use crate::watch::Requests;

/// Most events in one request.
const BATCH: usize = 200;
/// Most events that wait here. More of them wait where they are safe: in the status of their executions.
pub const CAPACITY: usize = 2000;
/// Between failed requests.
const BACK_OFF: BackOff = BackOff { first: Duration::from_millis(250), longest: Duration::from_secs(5) };
/// A refused event may be offered again after this time.
const REJECTED_AGAIN: Duration = Duration::from_secs(280);

/// An event and the execution to look at again once it is acknowledged.
#[derive(Debug)]
struct Due {
    execution: ObjectRef<WorkflowExecution>,
    event: AuditEventRequest,
}

impl AsRef<AuditEventRequest> for Due {
    fn as_ref(&self) -> &AuditEventRequest {
        &self.event
    }
}

/// What is known about an offered event.
#[derive(Clone, Debug)]
enum State {
    Queued,
    Stored,
    Rejected(String, Instant),
}

/// The front of the outbox: reconciliations offer events and ask what became of them.
#[derive(Clone)]
pub struct Outbox {
    queue: mpsc::Sender<Due>,
    states: Arc<Mutex<HashMap<Uuid, State>>>,
    settled: Arc<Notify>,
    metrics: Metrics,
}

/// The back of the outbox: run it with [`Sender::run`].
pub struct Sender {
    queue: mpsc::Receiver<Due>,
    client: Client,
    desk: Desk,
}

/// Where settled events are written down.
struct Desk {
    requests: Requests,
    outbox: Outbox,
}

/// An outbox for the DataStorage at `url`. Executions whose events were acknowledged are put into `requests`.
pub fn outbox(
    url: &str,
    timeout: Duration,
    metrics: Metrics,
    requests: Requests,
) -> Result<(Outbox, Sender), reqwest::Error> {
    let (queue_in, queue) = mpsc::channel(CAPACITY);
    let client = Client::new(url, timeout)?;
    let outbox = Outbox { queue: queue_in, states: Arc::default(), settled: Arc::default(), metrics };
    Ok((outbox.clone(), Sender { queue, client, desk: Desk { requests, outbox } }))
}

impl Outbox {
    /// Takes an event over unless it is already under way. False if there is no room for it now.
    pub fn offer(&self, execution: &ObjectRef<WorkflowExecution>, event: AuditEventRequest) -> bool {
        let Some(id) = event.event_id else { return true };
        let mut states = self.states();
        match states.get(&id) {
            Some(State::Queued | State::Stored) => return true,
            Some(State::Rejected(_, at)) if at.elapsed() < REJECTED_AGAIN => return true,
            Some(State::Rejected(..)) | None => {}
        }
        match self.queue.try_send(Due { execution: execution.clone(), event }) {
            Ok(()) => {
                states.insert(id, State::Queued);
                self.metrics.audit_buffered(1);
                true
            }
            Err(TrySendError::Full(_)) => {
                self.metrics.audit_deferred();
                false
            }
            // The sender is gone: the process ends, and the event is sent by the next one.
            Err(TrySendError::Closed(_)) => true,
        }
    }

    /// Waits until nothing is under way any more.
    pub async fn drained(&self) {
        loop {
            let settled = self.settled.notified();
            if !self.states().values().any(|state| matches!(state, State::Queued)) {
                return;
            }
            settled.await;
        }
    }

    /// What became of these events.
    pub fn acknowledgements(&self, ids: impl IntoIterator<Item = Uuid>) -> BTreeMap<Uuid, Acknowledgement> {
        let states = self.states();
        let known = ids.into_iter().filter_map(|id| match states.get(&id)? {
            State::Queued => None,
            State::Stored => Some((id, Acknowledgement::Stored)),
            State::Rejected(reason, _) => Some((id, Acknowledgement::Rejected(reason.clone()))),
        });
        known.collect()
    }

    /// Forgets events whose acknowledgement is in their execution's status.
    pub fn forget(&self, ids: impl IntoIterator<Item = Uuid>) {
        let mut states = self.states();
        for id in ids {
            states.remove(&id);
        }
    }

    fn states(&self) -> MutexGuard<'_, HashMap<Uuid, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sender {
    /// Sends what is offered, in batches, until every [`Outbox`] is dropped. While DataStorage is away a batch stays as it is; what
    /// is offered meanwhile waits behind it.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        while self.queue.recv_many(&mut batch, BATCH).await > 0 {
            deliver(&self.client, std::mem::take(&mut batch), BACK_OFF, &mut self.desk).await;
        }
    }
}

impl Settle<Due> for Desk {
    fn traceparent(&self, events: &[Due]) -> Option<String> {
        let of_its_own = || Uuid::new_v4().to_string();
        Some(trace::parent(&uid_of(events).map_or_else(of_its_own, str::to_owned)))
    }

    fn stored(&mut self, events: Vec<Due>, took: Duration) {
        self.outbox.metrics.audit_written(events.len(), took);
        self.settle(events, &State::Stored);
    }

    fn refused(&mut self, due: Due, error: &StoreError) {
        let event = serde_json::to_string(&due.event).unwrap_or_default();
        tracing::error!(error = %chain(error), event, "DataStorage refuses an audit event");
        self.outbox.metrics.audit_dropped();
        self.settle([due], &State::Rejected(error.to_string(), Instant::now()));
    }

    fn waits(&mut self, events: &[Due], error: &StoreError, pause: Duration) {
        self.outbox.metrics.audit_batch_failed();
        tracing::warn!(error = %chain(error), events = events.len(), again_in = ?pause, "audit events wait");
    }
}

impl Desk {
    fn settle(&self, events: impl IntoIterator<Item = Due>, state: &State) {
        let mut settled = 0;
        for Due { execution, event } in events {
            if let Some(id) = event.event_id {
                self.outbox.states().insert(id, state.clone());
            }
            settled += 1;
            self.requests.push(execution);
        }
        self.outbox.metrics.audit_settled(settled);
        self.outbox.settled.notify_waiters();
    }
}

/// Whose trace a request belongs to: its execution's, or its own if it is about several.
fn uid_of(batch: &[Due]) -> Option<&str> {
    let mut uids = batch.iter().map(|due| due.execution.extra.uid.as_deref().unwrap_or_default());
    let first = uids.next()?;
    uids.all(|uid| uid == first).then_some(first)
}

#[cfg(test)]
mod tests;
