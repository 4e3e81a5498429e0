//! Sending events in the background: a bounded queue, one request at a time, again until it is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use api::audit::AuditEventRequest;
use datastorage_client::{BackOff, Client, Settle, StoreError, deliver};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, error, info, warn};

use crate::metrics::{AuditStatus, Metrics};
use crate::upkeep::causes;

/// How events are sent.
#[derive(Clone, Debug)]
pub struct SenderOptions {
    /// DataStorage, for example `http://datastorage.kubernaut-system:8080`.
    pub url: String,
    /// Events that wait at most; further ones are only logged.
    pub capacity: usize,
    /// A request that takes longer is sent again.
    pub request_timeout: Duration,
    /// Pauses between attempts.
    pub back_off: BackOff,
}

impl SenderOptions {
    /// The usual patience with the DataStorage at `url`.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            capacity: 1000,
            request_timeout: Duration::from_secs(10),
            back_off: BackOff { first: Duration::from_millis(500), longest: Duration::from_secs(5) },
        }
    }
}

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

/// Starts sending. Fails if no HTTP client can be made.
pub fn start(options: SenderOptions, metrics: Arc<Metrics>) -> Result<(Sender, Worker), reqwest::Error> {
    let client = Client::new(&options.url, options.request_timeout)?;
    let (queue, events) = mpsc::channel(options.capacity.max(1));
    let (stop, stopped) = tokio::sync::watch::channel(None);
    let delivery = Delivery { back_off: options.back_off, client, metrics: metrics.clone(), stopped };
    let task = tokio::spawn(delivery.run(events));
    Ok((Sender { queue, metrics }, Worker { task, stop }))
}

struct Delivery {
    back_off: BackOff,
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
        deliver(&self.client, batch, self.back_off, &mut Reporter(self)).await;
    }

    fn give_up(&self, reason: &str, batch: &[AuditEventRequest]) {
        for event in batch {
            lost(reason, event);
        }
        self.metrics.audit(AuditStatus::Dropped, batch.len());
    }
}

/// Logs and counts what becomes of events.
struct Reporter<'a>(&'a Delivery);

impl Settle<AuditEventRequest> for Reporter<'_> {
    fn traceparent(&self, _: &[AuditEventRequest]) -> Option<String> {
        None
    }

    fn stored(&mut self, events: Vec<AuditEventRequest>, _: Duration) {
        debug!(events = events.len(), "audit events acknowledged");
        self.0.metrics.audit(AuditStatus::Written, events.len());
    }

    fn refused(&mut self, event: AuditEventRequest, error: &StoreError) {
        if error.is_conflict() {
            // The same statement, made a moment earlier: the API server asked twice about one write.
            info!(%error, "audit event was reported before");
            self.0.metrics.audit(AuditStatus::Written, 1);
        } else {
            self.0.give_up(&error.to_string(), &[event]);
        }
    }

    fn waits(&mut self, events: &[AuditEventRequest], error: &StoreError, pause: Duration) {
        let retry_in_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        warn!(reason = causes(error), events = events.len(), retry_in_ms, "audit events wait");
        self.0.metrics.audit(AuditStatus::Retried, events.len());
    }
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

/// The log line keeps the event, so that it can be written again by hand.
fn lost(reason: &str, event: &AuditEventRequest) {
    let event = serde_json::to_string(event).unwrap_or_default();
    error!(reason, event, "AUDIT DATA LOSS: the event is only in this log line");
}
