//! What a worker learns: each message changes what is observed of the pod.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{FIRST_PAUSE, LONGEST_PAUSE, Message, Worker};
use crate::controllers::events::Note;
use crate::node::pod::decide::restart_policy;
use crate::node::pod::observed::{self, Condemned, Phase, Run, later};
use crate::node::pod::start::{NotStarted, Started};
use crate::node::pod::status::full_name;
use crate::node::probe::check::Check;
use crate::node::probe::{self, Finding, Kind};

impl Worker {
    /// Notes what happened.
    pub(super) fn take(&mut self, message: Message) {
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
}
