//! Sending events in the background: a bounded queue, one request at a time, again until it is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use api::audit::{AuditEventRequest, BATCH_PATH};
use reqwest::{Client, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, error, info, warn};

use crate::metrics::{AuditStatus, Metrics};

/// How events are sent.
#[derive(Clone, Debug)]
pub struct SenderOptions {
    /// DataStorage, for example `http://datastorage.kubernaut-system:8080`.
    pub url: String,
    /// Events that wait at most; further ones are only logged.
    pub capacity: usize,
    /// A request that takes longer is sent again.
    pub request_timeout: Duration,
    /// Pause after the first failure; doubles up to `max_pause`.
    pub first_pause: Duration,
    /// Longest pause between two attempts.
    pub max_pause: Duration,
}

impl SenderOptions {
    /// The usual patience with the DataStorage at `url`.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            capacity: 1000,
            request_timeout: Duration::from_secs(10),
            first_pause: Duration::from_millis(500),
            max_pause: Duration::from_secs(5),
        }
    }
}

/// Where Kubernetes puts the token of the pod's ServiceAccount.
const TOKEN_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// Most events in a request.
const MAX_BATCH: usize = 100;

/// Where events are handed in. Handing in never waits.
#[derive(Clone, Debug)]
pub struct Sender {
    queue: mpsc::Sender<AuditEventRequest>,
    metrics: Arc<Metrics>,
}

impl Sender {
    /// Hands in an event. If the queue is full, the log is the only record of it.
    pub fn send(&self, event: AuditEventRequest) {
        if let Err(refused) = self.queue.try_send(event) {
            lost("the queue is full or closed", &refused.into_inner());
            self.metrics.audit(AuditStatus::Dropped, 1);
        }
    }
}

/// The task that sends what is handed in.
#[derive(Debug)]
pub struct Worker {
    task: JoinHandle<()>,
    stop: tokio::sync::watch::Sender<Option<Instant>>,
}

impl Worker {
    /// Sends what waits, for at most `budget`, and ends. Every [`Sender`] may be dropped before or after.
    pub async fn finish(self, budget: Duration) {
        let _ = self.stop.send(Some(Instant::now() + budget));
        let _ = self.task.await;
    }
}

/// Starts sending.
pub fn start(options: SenderOptions, client: Client, metrics: Arc<Metrics>) -> (Sender, Worker) {
    let (queue, events) = mpsc::channel(options.capacity.max(1));
    let (stop, stopped) = tokio::sync::watch::channel(None);
    let delivery = Delivery { options, client, metrics: metrics.clone(), stopped };
    let task = tokio::spawn(delivery.run(events));
    (Sender { queue, metrics }, Worker { task, stop })
}

struct Delivery {
    options: SenderOptions,
    client: Client,
    metrics: Arc<Metrics>,
    /// When to give up, once somebody asked to stop.
    stopped: tokio::sync::watch::Receiver<Option<Instant>>,
}

impl Delivery {
    async fn run(mut self, mut events: mpsc::Receiver<AuditEventRequest>) {
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                received = events.recv_many(&mut batch, MAX_BATCH) => if received == 0 { return },
                deadline = stop_requested(&mut self.stopped) => {
                    events.close();
                    while events.recv_many(&mut batch, MAX_BATCH).await > 0 {
                        let waiting = std::mem::take(&mut batch);
                        if let Err(undelivered) = timeout_at(deadline, self.deliver(waiting.clone())).await.map_err(|_| waiting) {
                            self.give_up("the process ends before they were acknowledged", &undelivered);
                        }
                    }
                    return;
                }
            }
            self.deliver_or_stop(batch).await;
        }
    }

    /// Delivers, unless the process ends first and its budget is used up.
    async fn deliver_or_stop(&mut self, batch: Vec<AuditEventRequest>) {
        let mut stopped = self.stopped.clone();
        let out_of_time = async {
            tokio::time::sleep_until(stop_requested(&mut stopped).await).await;
        };
        tokio::select! {
            () = self.deliver(batch.clone()) => {}
            () = out_of_time => self.give_up("the process ends before they were acknowledged", &batch),
        }
    }

    /// Tries until every event is acknowledged or refused for good.
    async fn deliver(&self, batch: Vec<AuditEventRequest>) {
        let mut pause = self.options.first_pause;
        loop {
            match self.post(&batch).await {
                Attempt::Acknowledged => {
                    debug!(events = batch.len(), "audit events acknowledged");
                    self.metrics.audit(AuditStatus::Written, batch.len());
                    return;
                }
                Attempt::Refused(reason) => return self.one_by_one(batch, &reason).await,
                Attempt::Failed(reason) => {
                    warn!(
                        reason,
                        events = batch.len(),
                        retry_in_ms = pause.as_millis() as u64,
                        "audit events wait"
                    );
                    self.metrics.audit(AuditStatus::Retried, batch.len());
                    sleep(pause).await;
                    pause = (pause * 2).min(self.options.max_pause);
                }
            }
        }
    }

    /// One refused event refuses its whole batch: the others must not suffer.
    async fn one_by_one(&self, batch: Vec<AuditEventRequest>, reason: &str) {
        if let [event] = batch.as_slice() {
            self.give_up(reason, std::slice::from_ref(event));
            return;
        }
        for event in batch {
            Box::pin(self.deliver(vec![event])).await;
        }
    }

    async fn post(&self, batch: &[AuditEventRequest]) -> Attempt {
        let mut request = self.client.post(format!("{}{BATCH_PATH}", self.options.url)).json(batch);
        // Read each time: Kubernetes replaces the token before it expires.
        if let Ok(token) = tokio::fs::read_to_string(TOKEN_FILE).await {
            request = request.bearer_auth(token.trim());
        }
        let response = match request.timeout(self.options.request_timeout).send().await {
            Ok(response) => response,
            Err(error) => return Attempt::Failed(causes(&error)),
        };
        let status = response.status();
        if status.is_success() {
            return Attempt::Acknowledged;
        }
        let body = response.text().await.unwrap_or_default();
        let reason = format!("DataStorage answered {status}: {body}");
        if status == StatusCode::CONFLICT && batch.len() == 1 {
            // The same statement, made a moment earlier: the API server asked twice about one write.
            info!(reason, "audit event was reported before");
            return Attempt::Acknowledged;
        }
        // The same events will never be accepted. Anything else may pass: a right that is missing, too, can be given.
        let permanent = matches!(status.as_u16(), 400 | 409 | 413 | 415 | 422);
        if permanent { Attempt::Refused(reason) } else { Attempt::Failed(reason) }
    }

    fn give_up(&self, reason: &str, batch: &[AuditEventRequest]) {
        for event in batch {
            lost(reason, event);
        }
        self.metrics.audit(AuditStatus::Dropped, batch.len());
    }
}

enum Attempt {
    Acknowledged,
    Refused(String),
    Failed(String),
}

/// Waits until somebody asks to stop; then until when there is time.
async fn stop_requested(stopped: &mut tokio::sync::watch::Receiver<Option<Instant>>) -> Instant {
    let deadline = stopped.wait_for(Option::is_some).await.ok().and_then(|deadline| *deadline);
    match deadline {
        Some(deadline) => deadline,
        // Nobody is left who could ask.
        None => std::future::pending().await,
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The log line keeps the event, so that it can be written again by hand.
fn lost(reason: &str, event: &AuditEventRequest) {
    let event = serde_json::to_string(event).unwrap_or_default();
    error!(reason, event, "AUDIT DATA LOSS: the event is only in this log line");
}
