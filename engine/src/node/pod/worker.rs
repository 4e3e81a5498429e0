//! The task of one pod: takes in what happens, decides, acts, reports.
//!
//! Everything that takes time runs in tasks of its own and comes back as a message; the worker itself only waits for the API.

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

use super::decide::{Action, decide, restart_policy};
use super::ground::{Ground, GroundError};
use super::instance::Instance;
use super::observed::{self, Condemned, Ended, Observed, Phase, Run, Verdict, later, specifications};
use super::report::Report;
use super::start::{NotStarted, Order, Started, start};
use super::status::{full_name, status};
use crate::controllers::events::Note;
use crate::node::Node;
use crate::node::log::PodLogs;
use crate::node::probe::check::Check;
use crate::node::probe::{self, Finding, Kind};

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
                    action => again |= self.act(action).await,
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

    /// Carries out one action; whether it changed what is decided next.
    async fn act(&mut self, action: Action) -> bool {
        match action {
            Action::Prepare => self.prepare(),
            Action::Start(index) => self.start(index),
            Action::BackOff(index) => return self.show_back_off(index),
            Action::Abandon(index) => {
                if let Some(slot) = self.slots.get(index) {
                    slot.abandon.cancel();
                }
            }
            Action::Stop(index, grace, message) => self.stop(index, grace, message),
            Action::Condemn(verdict) => {
                self.node.tell(&self.pod, None, Note::normal(verdict.reason, verdict.message.clone()));
                self.observed.verdict = Some(verdict);
                return true;
            }
            Action::Clear => {
                self.clear();
                return true;
            }
            Action::Delete => {}
        }
        false
    }

    fn prepare(&mut self) {
        self.observed.ground = observed::Ground::Making;
        let (node, pod, directory, sender) =
            (Arc::clone(&self.node), Arc::clone(&self.pod), self.directory.clone(), self.sender.clone());
        tokio::spawn(async move {
            let ground = Ground::make(&node, &pod, &directory).await;
            let _ = sender.send(Message::Ground(ground));
        });
    }

    fn start(&mut self, index: usize) {
        let (Some(slot), Some(container), Some(ground)) =
            (self.slots.get_mut(index), self.observed.containers.get_mut(index), &self.ground)
        else {
            return;
        };
        slot.abandon = CancellationToken::new();
        let order = Order {
            pod: Arc::clone(&self.pod),
            container: slot.container.clone(),
            ground: Arc::clone(ground),
            directory: self.directory.clone(),
            attempt: container.instances(),
            abandoned: slot.abandon.clone(),
        };
        container.phase = Phase::Starting;
        let (node, sender) = (Arc::clone(&self.node), self.sender.clone());
        tokio::spawn(async move {
            let outcome = start(&node, &order).await;
            let _ = sender.send(Message::Started(index, outcome));
        });
    }

    /// A pull that failed is shown as backing off.
    fn show_back_off(&mut self, index: usize) -> bool {
        let Some(container) = self.observed.containers.get_mut(index) else { return false };
        let image = self.slots.get(index).and_then(|slot| slot.container.image.clone()).unwrap_or_default();
        let Phase::Held(held) = &mut container.phase else { return false };
        held.message = format!("Back-off pulling image {image:?}: {}: {}", held.reason, held.message);
        held.reason = "ImagePullBackOff";
        let name = Some(container.name.as_str());
        self.node.tell(&self.pod, name, Note::normal("BackOff", format!("Back-off pulling image {image:?}")));
        self.node.tell(&self.pod, name, Note::warning("Failed", "Error: ImagePullBackOff"));
        true
    }

    fn stop(&mut self, index: usize, grace: i64, message: String) {
        let (Some(slot), Some(container)) =
            (self.slots.get_mut(index), self.observed.containers.get_mut(index))
        else {
            return;
        };
        let (Some(instance), Some(run)) = (slot.instance.clone(), container.run_mut()) else { return };
        if run.stopping.is_none() {
            self.node.tell(&self.pod, Some(&slot.container.name), Note::normal("Killing", message));
        }
        run.stopping = Some(grace);
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or(0));
        let (node, pod, container) = (Arc::clone(&self.node), Arc::clone(&self.pod), slot.container.clone());
        let task = tokio::spawn(async move {
            if let Err(failure) = instance.stop(container.lifecycle.as_ref(), grace).await {
                let note = Note::warning("FailedPreStopHook", format!("PreStopHook failed: {failure}"));
                node.tell(&pod, Some(&container.name), note);
            }
        });
        slot.attendants.push(task.abort_handle());
    }

    /// Takes the ground away. Files of logs stay until the object is gone.
    fn clear(&mut self) {
        self.observed.ground = observed::Ground::Absent;
        self.refresh = None;
        drop(self.ground.take());
        for part in ["volumes", "containers", "files"] {
            let path = self.directory.join(part);
            if let Err(error) = fs::remove_dir_all(&path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "cannot remove files of a pod");
            }
        }
    }

    fn refresh_volumes(&mut self) {
        let Some(ground) = self.ground.clone().filter(|_| !self.refreshing) else { return };
        (self.refreshing, self.refresh) = (true, None);
        let (node, pod, sender) = (Arc::clone(&self.node), Arc::clone(&self.pod), self.sender.clone());
        tokio::spawn(async move {
            let mut volumes = ground.volumes.lock().await;
            let failed = volumes.refresh(&node.client, &pod, &node.placement(ground.address())).await;
            for error in &failed {
                node.tell(&pod, None, Note::warning("FailedMount", error.to_string()));
            }
            let soonest =
                later(Timestamp::now(), FIRST_PAUSE.saturating_mul(if failed.is_empty() { 1 } else { 20 }));
            let due = volumes.refresh_due().map(|due| due.max(soonest));
            drop(volumes);
            let _ = sender.send(Message::Refreshed(due));
        });
    }

    /// Notes what happened.
    fn take(&mut self, message: Message) {
        match message {
            Message::Changed(pod) => {
                let described = |pod: &Pod| (pod.metadata.labels.clone(), pod.metadata.annotations.clone());
                let refresh = described(&pod) != described(&self.pod);
                self.pod = pod;
                if refresh {
                    self.refresh = Some(Timestamp::now());
                }
            }
            Message::ReferenceChanged => self.reference_changed(),
            Message::Ground(Ok(ground)) => {
                self.observed.ground = observed::Ground::Ready;
                self.observed.address = ground.address();
                self.refresh = ground.volumes.try_lock().ok().and_then(|volumes| volumes.refresh_due());
                self.pause = FIRST_PAUSE;
                self.ground = Some(Arc::new(ground));
            }
            Message::Ground(Err(error)) => {
                self.node.tell(&self.pod, None, error.note());
                self.observed.ground = observed::Ground::Failed(later(Timestamp::now(), self.pause));
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            }
            Message::Refreshed(due) => {
                self.refreshing = false;
                // Something may have changed meanwhile.
                self.refresh = [self.refresh, due].into_iter().flatten().min();
            }
            Message::Started(index, outcome) => self.started(index, outcome),
            Message::Ended(index, ended) => {
                if let (Some(slot), Some(container)) =
                    (self.slots.get_mut(index), self.observed.containers.get_mut(index))
                {
                    slot.dismiss();
                    slot.instance = None;
                    container.ends(ended, self.node.options.back_off);
                    self.tell_back_off(index);
                }
            }
            Message::Found(index, id, finding) => self.found(index, &id, finding),
            Message::Hooked(index, id, outcome) => self.hooked(index, &id, outcome),
            Message::Vanished | Message::NodeEnds => {}
        }
    }

    /// What was missing may be there now, and what is there may be out of date.
    fn reference_changed(&mut self) {
        let now = Timestamp::now();
        if let observed::Ground::Failed(_) = self.observed.ground {
            self.observed.ground = observed::Ground::Failed(now);
        }
        for container in &mut self.observed.containers {
            if let Phase::Held(held) = &mut container.phase
                && held.reason == "CreateContainerConfigError"
            {
                held.delay = Duration::ZERO;
            }
        }
        self.refresh = Some(now);
    }

    fn started(&mut self, index: usize, outcome: Result<Started, NotStarted>) {
        let (Some(slot), Some(container)) =
            (self.slots.get_mut(index), self.observed.containers.get_mut(index))
        else {
            return;
        };
        let back_off = self.node.options.back_off;
        match outcome {
            Ok(Started { instance, output }) => {
                self.logs.begin(&container.name, Arc::clone(&instance.log));
                let hook =
                    slot.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.clone());
                let run = Run {
                    since: instance.since,
                    started: slot.container.startup_probe.is_none() && hook.is_none(),
                    ready: slot.container.readiness_probe.is_none(),
                    condemned: None,
                    stopping: None,
                };
                container.runs(instance.id.clone(), instance.image_id.clone(), run);
                slot.instance = Some(Arc::clone(&instance));
                let (sender, described, watched) =
                    (self.sender.clone(), slot.container.clone(), Arc::clone(&instance));
                tokio::spawn(async move {
                    let ended = watched.end(&described, output).await;
                    let _ = sender.send(Message::Ended(index, ended));
                });
                let (sender, described) = (self.sender.clone(), slot.container.clone());
                let attendant = tokio::spawn(async move {
                    let (id, target) = (instance.id.clone(), Arc::clone(&instance.target));
                    if let Some(hook) = hook {
                        let outcome = Check::of_hook(&hook).attempt(&target).await;
                        let outcome = outcome.map_err(|failure| failure.message);
                        let _ = sender.send(Message::Hooked(index, id.clone(), outcome));
                    }
                    let tell = |finding| drop(sender.send(Message::Found(index, id.clone(), finding)));
                    probe::run(&described, target, &tell).await;
                });
                slot.attendants.push(attendant.abort_handle());
            }
            Err(NotStarted::Abandoned) => {
                container.phase = if container.ended.is_some() { Phase::Ended } else { Phase::Idle };
            }
            Err(NotStarted::Held { reason, message }) => {
                let delay = match reason {
                    "ErrImagePull" => back_off.after(container.pull_delay),
                    _ => back_off.base,
                };
                if reason == "ErrImagePull" {
                    container.pull_delay = delay;
                } else if reason != "ErrImageNeverPull" && reason != "InvalidImageName" {
                    let note = Note::warning("Failed", format!("Error: {message}"));
                    self.node.tell(&self.pod, Some(&container.name), note);
                }
                container.is_held(reason, message, Timestamp::now(), delay);
            }
            Err(NotStarted::Refused { ended, log }) => {
                self.logs.begin(&container.name, log);
                container.never_ran(ended, back_off);
                self.tell_back_off(index);
            }
        }
    }

    /// Tells that the restart of a container waits, if it does.
    fn tell_back_off(&self, index: usize) {
        let Some(container) = self.observed.containers.get(index) else { return };
        let going = self.observed.verdict.is_some() || self.pod.metadata.deletion_timestamp.is_some();
        let waits = container.delay.is_some_and(|delay| !delay.is_zero());
        let restarts = container
            .ended
            .as_ref()
            .is_some_and(|ended| container.restarts_after(ended, restart_policy(&self.spec)));
        if restarts && waits && !going {
            let pod = full_name(&self.pod);
            let message = format!("Back-off restarting failed container {} in pod {pod}", container.name);
            self.node.tell(&self.pod, Some(&container.name), Note::warning("BackOff", message));
        }
    }

    fn found(&mut self, index: usize, id: &str, finding: Finding) {
        let (Some(slot), Some(container)) = (self.slots.get(index), self.observed.containers.get_mut(index))
        else {
            return;
        };
        if container.id.as_deref() != Some(id) {
            return;
        }
        let Finding { kind, failure, verdict } = finding;
        if let Some(failure) = failure {
            let note = Note::warning("Unhealthy", format!("{} probe failed: {failure}", kind.name()));
            self.node.tell(&self.pod, Some(&container.name), note);
        }
        let name = container.name.clone();
        let Some(run) = container.run_mut() else { return };
        match (kind, verdict) {
            (_, None) | (Kind::Liveness, Some(true)) => {}
            (Kind::Startup, Some(true)) => run.started = true,
            (Kind::Readiness, Some(ready)) => run.ready = ready,
            (Kind::Startup | Kind::Liveness, Some(false)) => {
                let probe = kind.of(&slot.container);
                run.condemned = Some(Condemned {
                    message: format!(
                        "Container {name} failed {} probe, will be restarted",
                        kind.name().to_lowercase()
                    ),
                    grace: probe.and_then(|probe| probe.termination_grace_period_seconds),
                });
            }
        }
    }

    fn hooked(&mut self, index: usize, id: &str, outcome: Result<(), String>) {
        let (Some(slot), Some(container)) = (self.slots.get(index), self.observed.containers.get_mut(index))
        else {
            return;
        };
        if container.id.as_deref() != Some(id) {
            return;
        }
        let name = container.name.clone();
        let Some(run) = container.run_mut() else { return };
        match outcome {
            Ok(()) => run.started |= slot.container.startup_probe.is_none(),
            Err(failure) => {
                let note = Note::warning("FailedPostStartHook", format!("PostStartHook failed: {failure}"));
                self.node.tell(&self.pod, Some(&name), note);
                run.condemned = Some(Condemned { message: "FailedPostStartHook".to_owned(), grace: None });
            }
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
