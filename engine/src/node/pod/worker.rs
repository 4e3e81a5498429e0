//! The task of one pod: takes in what happens, decides, acts, reports.
//!
//! Everything that takes time runs in tasks of its own and comes back as a message; the worker itself only waits for the API.

mod act;
mod take;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Preconditions};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::decide::{Action, decide};
use super::ground::{Ground, GroundError};
use super::instance::Instance;
use super::observed::{self, Ended, Observed, Verdict, later, specifications};
use super::report::Report;
use super::start::{NotStarted, Started};
use super::status::{full_name, status};
use crate::node::Node;
use crate::node::log::PodLogs;
use crate::node::probe::Finding;

/// How soon what the API refused is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The first pause after a volume or the network could not be made; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// What happens to a pod.
pub(crate) enum Message {
    /// Its object changed.
    Changed(Arc<Pod>),
    /// Its object is gone.
    Vanished,
    /// Something it refers to changed.
    ReferenceChanged,
    /// The node ends.
    NodeEnds,
    /// The ground was made, or not.
    Ground(Result<Ground, GroundError>),
    /// Volumes were brought up to date; the next time is due then.
    Refreshed(Option<Timestamp>),
    /// A container was started, or not.
    Started(usize, Result<Started, NotStarted>),
    /// A container ended.
    Ended(usize, Ended),
    /// A probe of the instance with this id found something.
    Found(usize, String, Finding),
    /// The postStart hook of the instance with this id has ended.
    Hooked(usize, String, Result<(), String>),
}

/// See the module.
pub(crate) struct Worker {
    node: Arc<Node>,
    pod: Arc<Pod>,
    spec: PodSpec,
    directory: PathBuf,
    observed: Observed,
    ground: Option<Arc<Ground>>,
    slots: Vec<Slot>,
    /// How long the next attempt at the ground waits if it fails.
    pause: Duration,
    /// When volumes have to be brought up to date, if at a certain time.
    refresh: Option<Timestamp>,
    refreshing: bool,
    logs: Arc<PodLogs>,
    report: Report,
    /// The object was told to go.
    deleted: bool,
    /// The pod had ended before this node knew it; only its deletion is left.
    stranger: bool,
    sender: mpsc::UnboundedSender<Message>,
    inbox: mpsc::UnboundedReceiver<Message>,
}

/// What belongs to one container.
struct Slot {
    container: Container,
    abandon: CancellationToken,
    instance: Option<Arc<Instance>>,
    /// Tasks that end with the instance.
    attendants: Vec<AbortHandle>,
}

impl Slot {
    fn dismiss(&mut self) {
        for task in self.attendants.drain(..) {
            task.abort();
        }
    }
}

impl Worker {
    /// A worker for a pod that was just bound to the node, and the way to reach it.
    pub(crate) fn new(node: Arc<Node>, pod: Arc<Pod>) -> (Self, mpsc::UnboundedSender<Message>) {
        let (sender, inbox) = mpsc::unbounded_channel();
        let spec = pod.spec.clone().unwrap_or_default();
        let mut observed = Observed::new(&spec, Timestamp::now());
        let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
        let stranger = matches!(phase.as_str(), "Succeeded" | "Failed");
        if stranger {
            observed.verdict = Some(Verdict { reason: "Ended", message: String::new() });
        }
        let slots = specifications(&spec).map(|container| Slot {
            container: container.clone(),
            abandon: CancellationToken::new(),
            instance: None,
            attendants: Vec::new(),
        });
        let worker = Self {
            directory: node.options.state_dir.join(pod.uid().unwrap_or_default()),
            logs: node.logs.of(&pod),
            observed,
            ground: None,
            slots: slots.collect(),
            pause: FIRST_PAUSE,
            refresh: None,
            refreshing: false,
            report: Report::default(),
            deleted: false,
            stranger,
            sender: sender.clone(),
            inbox,
            node,
            pod,
            spec,
        };
        (worker, sender)
    }

    /// Runs the pod until nothing is left of it.
    pub(crate) async fn run(mut self) {
        let mut retry = None;
        loop {
            let wake = self.advance(&mut retry).await;
            let message = match wake {
                None => self.inbox.recv().await,
                Some(wake) => {
                    let wait = wake.duration_since(Timestamp::now());
                    let wait = Duration::try_from(wait).unwrap_or_default();
                    match tokio::time::timeout(wait, self.inbox.recv()).await {
                        Ok(message) => message,
                        Err(_due) => continue,
                    }
                }
            };
            // The worker holds a sender itself, so there is always a message in the end.
            let mut next = message;
            while let Some(message) = next {
                if matches!(message, Message::Vanished | Message::NodeEnds) {
                    return self.end_at_once().await;
                }
                self.take(message);
                next = self.inbox.try_recv().ok();
            }
        }
    }

    /// Decides and acts until there is nothing to do now; says when to look again.
    async fn advance(&mut self, retry: &mut Option<Timestamp>) -> Option<Timestamp> {
        loop {
            let now = Timestamp::now();
            self.observed.note_initialized();
            let decision = decide(&self.pod, &self.observed, now);
            let mut again = false;
            let mut delete = false;
            for action in decision.actions {
                match action {
                    Action::Delete => delete = true,
                    action => again |= self.act(action),
                }
            }
            if again {
                continue;
            }
            if self.refresh.is_some_and(|due| due <= now) {
                self.refresh_volumes();
            }
            *retry = self.write_status(now).await.err().map(|()| later(now, RETRY));
            if delete && !self.deleted && retry.is_none() {
                *retry = self.delete_object().await.err().map(|()| later(now, RETRY));
            }
            return [decision.wake, *retry, self.refresh].into_iter().flatten().min();
        }
    }

    /// Tells the API what is new.
    async fn write_status(&mut self, now: Timestamp) -> Result<(), ()> {
        if self.stranger || self.deleted {
            return Ok(());
        }
        let basis = self.report.basis(&self.pod);
        let status = status(&basis, &self.observed, &self.node.address(), now);
        self.logs.note_status(&status);
        match self.report.write(&self.node.client, &self.pod, status).await {
            Ok(()) => Ok(()),
            // It is gone, and the watch will say so.
            Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => Ok(()),
            Err(error) => {
                tracing::warn!(pod = full_name(&self.pod), %error, "cannot write a pod's status");
                Err(())
            }
        }
    }

    /// Removes the object: nothing is left of the pod.
    async fn delete_object(&mut self) -> Result<(), ()> {
        let pods: Api<Pod> =
            Api::namespaced(self.node.client.clone(), &self.pod.namespace().unwrap_or_default());
        let only_this = Preconditions { uid: self.pod.uid(), ..Preconditions::default() };
        let params = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        match pods.delete(&self.pod.name_any(), &params.preconditions(only_this)).await {
            Ok(_) => {}
            Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => {}
            Err(error) => {
                tracing::warn!(pod = full_name(&self.pod), %error, "cannot delete a pod that has ended");
                return Err(());
            }
        }
        self.deleted = true;
        Ok(())
    }

    /// Kills what runs and removes everything.
    async fn end_at_once(mut self) {
        loop {
            for slot in &mut self.slots {
                slot.abandon.cancel();
                slot.dismiss();
                if let Some(instance) = &slot.instance {
                    instance.kill();
                }
            }
            let making = self.observed.ground == observed::Ground::Making;
            if !self.observed.is_busy() && !making && !self.refreshing {
                break;
            }
            match self.inbox.recv().await {
                Some(message) => self.take(message),
                None => break,
            }
        }
        self.clear();
        self.node.logs.forget(&self.pod);
        if let Err(error) = fs::remove_dir_all(&self.directory)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.directory.display(), %error, "cannot remove a pod's directory");
        }
    }
}
