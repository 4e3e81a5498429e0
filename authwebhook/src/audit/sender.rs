//! Sending events in the background: a bounded queue, one request at a time, again until it is acknowledged. With a journal, what
//! is not acknowledged when the process ends is sent by the next one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::audit::AuditEventRequest;
use datastorage_client::{BackOff, Client, Settle, StoreError, deliver};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, error, info, warn};

use super::journal::Journal;
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
    /// Where events are kept until they are settled; without, they are in memory only.
    pub journal: Option<PathBuf>,
}

/// Sending could not begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No HTTP client can be made.
    #[error("cannot set up the client for DataStorage")]
    Client(#[source] reqwest::Error),
    /// Events cannot be kept.
    #[error("cannot keep audit events in `{}`", directory.display())]
    Journal {
        /// As configured.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl SenderOptions {
    /// The usual patience with the DataStorage at `url`.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            capacity: 1000,
            request_timeout: Duration::from_secs(10),
            back_off: BackOff { first: Duration::from_millis(500), longest: Duration::from_secs(5) },
            journal: None,
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
    journal: Option<Journal>,
}

impl Sender {
    /// Hands in an event: from now on a kill does not lose it, if there is a journal. If the queue is full, the next process
    /// sends it, or the log is the only record of it.
    pub fn send(&self, event: AuditEventRequest) {
        let kept = self.journal.as_ref().is_some_and(|journal| match journal.keep(&event) {
            Ok(()) => true,
            Err(error) => {
                warn!(%error, "an audit event is in memory only");
                false
            }
        });
        if let Err(refused) = self.queue.try_send(event) {
            let reason = "the queue is full or closed";
            match kept {
                true => postponed(reason, 1),
                false => {
                    lost(reason, &refused.into_inner());
                    self.metrics.audit(AuditStatus::Dropped, 1);
                }
            }
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

/// Starts sending, first what a process before this one has left.
pub fn start(options: SenderOptions, metrics: Arc<Metrics>) -> Result<(Sender, Worker), StartError> {
    let client = Client::new(&options.url, options.request_timeout).map_err(StartError::Client)?;
    let (journal, left) = match options.journal {
        None => (None, Vec::new()),
        Some(directory) => match Journal::open(&directory) {
            Ok((journal, left)) => (Some(journal), left),
            Err(source) => return Err(StartError::Journal { directory, source }),
        },
    };
    if !left.is_empty() {
        info!(events = left.len(), "sending audit events of the process before this one");
    }
    let (queue, events) = mpsc::channel(options.capacity.max(1));
    let (stop, stopped) = tokio::sync::watch::channel(None);
    let delivery = Delivery {
        back_off: options.back_off,
        client,
        metrics: metrics.clone(),
        journal: journal.clone(),
        stopped,
    };
    let task = tokio::spawn(delivery.run(left, events));
    Ok((Sender { queue, metrics, journal }, Worker { task, stop }))
}

struct Delivery {
    back_off: BackOff,
    client: Client,
    metrics: Arc<Metrics>,
    journal: Option<Journal>,
    /// When to give up, once somebody asked to stop.
    stopped: tokio::sync::watch::Receiver<Option<Instant>>,
}

impl Delivery {
    async fn run(mut self, left: Vec<AuditEventRequest>, mut events: mpsc::Receiver<AuditEventRequest>) {
        for batch in left.chunks(MAX_BATCH) {
            self.deliver_or_stop(batch.to_vec()).await;
        }
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                received = events.recv_many(&mut batch, MAX_BATCH) => if received == 0 { return },
                deadline = stop_requested(&mut self.stopped) => {
                    events.close();
                    while events.recv_many(&mut batch, MAX_BATCH).await > 0 {
                        let waiting = std::mem::take(&mut batch);
                        if let Err(undelivered) = timeout_at(deadline, self.deliver(waiting.clone())).await.map_err(|_| waiting) {
                            self.out_of_time(&undelivered);
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
            () = out_of_time => self.out_of_time(&batch),
        }
    }

    /// Tries until every event is acknowledged or refused for good.
    async fn deliver(&self, batch: Vec<AuditEventRequest>) {
        deliver(&self.client, batch, self.back_off, &mut Reporter(self)).await;
    }

    fn out_of_time(&self, batch: &[AuditEventRequest]) {
        let reason = "the process ends before they were acknowledged";
        match self.journal {
            Some(_) => postponed(reason, batch.len()),
            None => self.give_up(reason, batch),
        }
    }

    /// DataStorage has them, or will never take them.
    fn settled(&self, events: &[AuditEventRequest]) {
        if let Some(journal) = &self.journal {
            events.iter().for_each(|event| journal.settled(event));
        }
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
        self.0.settled(&events);
    }

    fn refused(&mut self, event: AuditEventRequest, error: &StoreError) {
        if error.is_conflict() {
            // The same statement, made a moment earlier: the API server asked twice about one write.
            info!(%error, "audit event was reported before");
            self.0.metrics.audit(AuditStatus::Written, 1);
        } else {
            self.0.give_up(&error.to_string(), std::slice::from_ref(&event));
        }
        self.0.settled(&[event]);
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

fn postponed(reason: &str, events: usize) {
    warn!(reason, events, "audit events stay in the journal and are sent when the process starts again");
}
