//! Sending events in the background: a bounded queue, one request at a time, again until it is acknowledged. With a journal, what
//! finds the queue full is sent once the queue is empty, and what is not acknowledged when the process ends by the next one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::audit::AuditEventRequest;
use datastorage_client::{BackOff, Client, Settle, StoreError, deliver};
use futures::FutureExt;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{debug, error, info, warn};

use super::journal::Journal;
use crate::metrics::{AuditStatus, Metrics};
use crate::upkeep::causes;

/// How events are sent.
#[derive(Clone, Debug)]
pub struct SenderOptions {
    /// DataStorage, for example `http://datastorage.kubernaut-system:8080`.
    pub url: String,
    /// Events that wait in memory at most. Further ones wait in the journal; without one they are only logged.
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

/// How long a verdict waits for its event to be on the disk. A disk that is slower than that holds up no decision.
const KEEP_WITHIN: Duration = Duration::from_secs(1);

/// An event that was handed in.
#[derive(Clone, Debug)]
struct Handed {
    event: AuditEventRequest,
    /// It is in the journal.
    kept: bool,
    /// The request by which it came.
    traceparent: Option<String>,
}

impl AsRef<AuditEventRequest> for Handed {
    fn as_ref(&self) -> &AuditEventRequest {
        &self.event
    }
}

/// Where events are handed in. Handing in waits for the disk, and never for DataStorage.
#[derive(Clone, Debug)]
pub struct Sender {
    queue: mpsc::Sender<Handed>,
    metrics: Arc<Metrics>,
    journal: Option<Journal>,
    overflow: Arc<Notify>,
}

impl Sender {
    /// Hands in an event, with the trace of the request it comes from: from now on a kill does not lose it, if there is a journal.
    /// If the queue is full, it is sent from the journal later; without, the log is the only record of it.
    pub async fn send(&self, event: AuditEventRequest, traceparent: Option<String>) {
        let kept = match &self.journal {
            None => false,
            Some(journal) => match keep(journal.clone(), event.clone()).await {
                Ok(()) => true,
                Err(error) => {
                    warn!(%error, "an audit event is in memory only");
                    false
                }
            },
        };
        if let Err(refused) = self.queue.try_send(Handed { event, kept, traceparent }) {
            if kept {
                debug!("the queue is full: an audit event waits in the journal");
                self.overflow.notify_one();
            } else {
                lost("the queue is full or closed", &refused.into_inner().event);
                self.metrics.audit(AuditStatus::Dropped, 1);
            }
        }
    }
}

async fn keep(journal: Journal, event: AuditEventRequest) -> io::Result<()> {
    let keeping = tokio::task::spawn_blocking(move || journal.keep(&event));
    match timeout(KEEP_WITHIN, keeping).await {
        Ok(kept) => kept.map_err(io::Error::other).flatten(),
        Err(_) => Err(io::Error::other("the disk is too slow")),
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
    let journal = match options.journal {
        None => None,
        Some(directory) => match Journal::open(&directory) {
            Ok(journal) => Some(journal),
            Err(source) => return Err(StartError::Journal { directory, source }),
        },
    };
    let (queue, events) = mpsc::channel(options.capacity.max(1));
    let (stop, stopped) = tokio::sync::watch::channel(None);
    let overflow = Arc::new(Notify::new());
    let delivery = Delivery {
        back_off: options.back_off,
        client,
        metrics: metrics.clone(),
        journal: journal.clone(),
        overflow: overflow.clone(),
        stopped,
    };
    let task = tokio::spawn(delivery.run(events));
    Ok((Sender { queue, metrics, journal, overflow }, Worker { task, stop }))
}

struct Delivery {
    back_off: BackOff,
    client: Client,
    metrics: Arc<Metrics>,
    journal: Option<Journal>,
    /// Told when the journal has an event that the queue has not.
    overflow: Arc<Notify>,
    /// When to give up, once somebody asked to stop.
    stopped: tokio::sync::watch::Receiver<Option<Instant>>,
}

impl Delivery {
    async fn run(mut self, mut events: mpsc::Receiver<Handed>) {
        self.deliver_journal().await;
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                // The journal is read only when nothing waits in the queue, which is in it too.
                biased;
                deadline = stop_requested(&mut self.stopped) => {
                    events.close();
                    while events.recv_many(&mut batch, MAX_BATCH).await > 0 {
                        let waiting = std::mem::take(&mut batch);
                        let delivered = timeout_at(deadline, self.deliver(waiting.clone())).await;
                        if delivered.is_err() {
                            self.out_of_time(&waiting);
                        }
                    }
                    if self.overflow.notified().now_or_never().is_some() {
                        self.deliver_journal().await;
                    }
                    return;
                }
                received = events.recv_many(&mut batch, MAX_BATCH) => match received {
                    0 => return,
                    _ => self.deliver_or_stop(batch).await,
                },
                () = self.overflow.notified() => self.deliver_journal().await,
            }
        }
    }

    /// Delivers what is in the journal: of a process before this one, or of this one when the queue was full.
    async fn deliver_journal(&mut self) {
        let Some(journal) = &self.journal else { return };
        let files = match journal.unsettled() {
            Ok(files) => files,
            Err(error) => {
                error!(%error, "cannot read the journal: its audit events wait until the process starts again");
                return;
            }
        };
        if !files.is_empty() {
            info!(events = files.len(), "sending audit events from the journal");
        }
        for files in files.chunks(MAX_BATCH) {
            let handed =
                |path: &PathBuf| Some(Handed { event: Journal::read(path)?, kept: true, traceparent: None });
            self.deliver_or_stop(files.iter().filter_map(handed).collect()).await;
        }
    }

    /// Delivers, unless the process ends first and its budget is used up.
    async fn deliver_or_stop(&mut self, batch: Vec<Handed>) {
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
    async fn deliver(&self, mut batch: Vec<Handed>) {
        // Some may have been sent from the journal while they waited in the queue.
        if let Some(journal) = &self.journal {
            batch.retain(|handed| !handed.kept || journal.has(&handed.event));
        }
        deliver(&self.client, batch, self.back_off, &mut Reporter(self)).await;
    }

    fn out_of_time(&self, batch: &[Handed]) {
        let reason = "the process ends before they were acknowledged";
        let (kept, others): (Vec<&Handed>, Vec<&Handed>) = batch.iter().partition(|handed| handed.kept);
        if !kept.is_empty() {
            warn!(
                reason,
                events = kept.len(),
                "audit events stay in the journal and are sent when the process starts again"
            );
        }
        self.give_up(reason, others);
    }

    /// DataStorage has them, or will never take them.
    fn settled(&self, events: &[Handed]) {
        if let Some(journal) = &self.journal {
            events.iter().for_each(|handed| journal.settled(&handed.event));
        }
    }

    fn give_up<'a>(&self, reason: &str, batch: impl IntoIterator<Item = &'a Handed>) {
        for handed in batch {
            lost(reason, &handed.event);
            self.metrics.audit(AuditStatus::Dropped, 1);
        }
    }
}

/// Logs and counts what becomes of events.
struct Reporter<'a>(&'a Delivery);

impl Settle<Handed> for Reporter<'_> {
    /// That of the review, if all come from one.
    fn traceparent(&self, events: &[Handed]) -> Option<String> {
        let first = events.first()?.traceparent.as_ref()?;
        events.iter().all(|handed| handed.traceparent.as_ref() == Some(first)).then(|| first.clone())
    }

    fn stored(&mut self, events: Vec<Handed>, _: Duration) {
        debug!(events = events.len(), "audit events acknowledged");
        self.0.metrics.audit(AuditStatus::Written, events.len());
        self.0.settled(&events);
    }

    fn refused(&mut self, handed: Handed, error: &StoreError) {
        if error.is_conflict() {
            // The same statement, made a moment earlier: the API server asked twice about one write.
            info!(%error, "audit event was reported before");
            self.0.metrics.audit(AuditStatus::Written, 1);
        } else {
            self.0.give_up(&error.to_string(), [&handed]);
        }
        self.0.settled(&[handed]);
    }

    fn waits(&mut self, events: &[Handed], error: &StoreError, pause: Duration) {
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
