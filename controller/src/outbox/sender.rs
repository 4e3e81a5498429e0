//! Sends due events to DataStorage until each is acknowledged, and remembers what was acknowledged since the start.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use api::audit::{AuditEventRequest, BATCH_PATH};
use api::problem::Problem;
use api::workflow_execution::WorkflowExecution;
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
/// Back-off between failed requests.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// A refused event may be offered again after this time.
const REJECTED_AGAIN: Duration = Duration::from_secs(280);
/// Where Kubernetes puts the token of the pod's ServiceAccount.
const TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// An event and the execution to look at again once it is acknowledged.
type Due = (ObjectRef<WorkflowExecution>, AuditEventRequest);

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
    requests: Requests,
    outbox: Outbox,
    http: reqwest::Client,
    url: String,
}

/// Why a request did not get its events stored.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("failed to reach DataStorage at {url}")]
    Unreachable {
        url: String,
        #[source]
        source: reqwest::Error,
    },
    #[error("DataStorage at {url} answered {status}: {detail}")]
    Answer { url: String, status: u16, detail: String },
}

impl SendError {
    /// Whether the same events will never be accepted.
    fn is_final(&self) -> bool {
        matches!(self, Self::Answer { status: 400 | 409 | 413 | 422, .. })
    }
}

/// An outbox for the DataStorage at `url`. Executions whose events were acknowledged are put into `requests`.
pub fn outbox(
    url: &str,
    timeout: Duration,
    metrics: Metrics,
    requests: Requests,
) -> Result<(Outbox, Sender), reqwest::Error> {
    let (queue_in, queue) = mpsc::channel(CAPACITY);
    let http = reqwest::Client::builder().timeout(timeout);
    // An image without root certificates can still speak plain HTTP.
    let http = if url.starts_with("https:") { http } else { http.tls_certs_only([]) }.build()?;
    let outbox = Outbox { queue: queue_in, states: Arc::default(), settled: Arc::default(), metrics };
    let url = format!("{}{BATCH_PATH}", url.trim_end_matches('/'));
    Ok((outbox.clone(), Sender { queue, requests, outbox, http, url }))
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
        match self.queue.try_send((execution.clone(), event)) {
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
    /// Sends what is offered, in batches, until every [`Outbox`] is dropped.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        let mut backoff = BACKOFF.0;
        loop {
            // While DataStorage is away the batch stays as it is; what is offered meanwhile waits behind it.
            if batch.is_empty() && self.queue.recv_many(&mut batch, BATCH).await == 0 {
                return;
            }
            match self.send(&batch).await {
                Ok(()) => {
                    self.settle(batch.drain(..), |_| State::Stored);
                    backoff = BACKOFF.0;
                }
                Err(error) if error.is_final() => {
                    self.send_singly(&mut batch).await;
                    backoff = BACKOFF.0;
                }
                Err(error) => {
                    self.outbox.metrics.audit_batch_failed();
                    tracing::warn!(error = %chain(&error), events = batch.len(), again_in = ?backoff, "audit events wait");
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
    }

    /// One bad event makes DataStorage refuse the whole batch: the others must not suffer for it.
    async fn send_singly(&self, batch: &mut Vec<Due>) {
        while let Some(due) = batch.pop() {
            match self.send(std::slice::from_ref(&due)).await {
                Ok(()) => self.settle([due], |_| State::Stored),
                Err(error) if error.is_final() => {
                    let event = serde_json::to_string(&due.1).unwrap_or_default();
                    tracing::error!(error = %chain(&error), event, "DataStorage refuses an audit event");
                    self.outbox.metrics.audit_dropped();
                    self.settle([due], |_| State::Rejected(error.to_string(), Instant::now()));
                }
                Err(_) => {
                    batch.push(due);
                    return;
                }
            }
        }
    }

    async fn send(&self, batch: &[Due]) -> Result<(), SendError> {
        let events: Vec<&AuditEventRequest> = batch.iter().map(|(_, event)| event).collect();
        let mut request =
            self.http.post(&self.url).json(&events).header(trace::HEADER, trace::parent(&trace_of(batch)));
        // Read each time: Kubernetes replaces the token before it expires.
        if let Ok(token) = tokio::fs::read_to_string(TOKEN_FILE).await {
            request = request.bearer_auth(token.trim());
        }
        let started = Instant::now();
        let unreachable = |source| SendError::Unreachable { url: self.url.clone(), source };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?;
        if status.is_success() {
            self.outbox.metrics.audit_written(events.len(), started.elapsed());
            return Ok(());
        }
        let detail = serde_json::from_slice::<Problem>(&body).map_or_else(
            |_| String::from_utf8_lossy(&body).chars().take(300).collect(),
            |problem| problem.detail,
        );
        Err(SendError::Answer { url: self.url.clone(), status: status.as_u16(), detail })
    }

    fn settle(&self, batch: impl IntoIterator<Item = Due>, state: impl Fn(&AuditEventRequest) -> State) {
        let mut settled = 0;
        for (execution, event) in batch {
            if let Some(id) = event.event_id {
                self.outbox.states().insert(id, state(&event));
            }
            settled += 1;
            self.requests.push(execution);
        }
        self.outbox.metrics.audit_settled(settled);
        self.outbox.settled.notify_waiters();
    }
}

/// The trace of a request: that of its execution, or one of its own if it is about several.
fn trace_of(batch: &[Due]) -> String {
    let mut uids = batch.iter().map(|(execution, _)| execution.extra.uid.as_deref().unwrap_or_default());
    match uids.next() {
        Some(first) if uids.all(|uid| uid == first) => trace::of(first),
        _ => trace::of(&Uuid::new_v4().to_string()),
    }
}

#[cfg(test)]
mod tests;
