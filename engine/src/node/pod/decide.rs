//! What is to be done for a pod next. Pure: the pod, what is observed of it, the time.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::observed::{Container, Ended, Ground, Observed, Phase, Role, Verdict, later};

/// Grace of a pod that does not say how much it wants.
const DEFAULT_GRACE: i64 = 30;

/// How soon a failed pull is shown as a back-off.
const SHOWN_AS_FAILED: Duration = Duration::from_secs(1);

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Make namespaces, files and volumes.
    Prepare,
    /// Start the container with this index.
    Start(usize),
    /// Show the pull of this container's image as backing off.
    BackOff(usize),
    /// Give up starting this container.
    Abandon(usize),
    /// End this container within so many seconds.
    Stop(usize, i64, String),
    /// The pod is to end for this reason.
    Condemn(Verdict),
    /// Take namespaces, files and volumes away.
    Clear,
    /// Nothing is left of the pod: remove its object.
    Delete,
}

/// What to do, and when to look again if nothing happens.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Decision {
    /// In this order.
    pub actions: Vec<Action>,
    /// The next moment at which something falls due.
    pub wake: Option<Timestamp>,
}

impl Decision {
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn wake_at(&mut self, time: Timestamp) {
        self.wake = Some(self.wake.map_or(time, |wake| wake.min(time)));
    }

    /// Acts when `time` has come.
    fn act_at(&mut self, time: Timestamp, now: Timestamp, action: Action) {
        if time <= now { self.act(action) } else { self.wake_at(time) }
    }
}

/// Says what to do.
pub(crate) fn decide(pod: &Pod, observed: &Observed, now: Timestamp) -> Decision {
    let mut decision = Decision::default();
    let Some(spec) = &pod.spec else { return decision };
    if pod.metadata.deletion_timestamp.is_some() {
        let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_else(|| grace(spec));
        if end(observed, grace, "", &mut decision) {
            decision.act(Action::Delete);
        }
        return decision;
    }
    if let Some(verdict) = &observed.verdict {
        end(observed, grace(spec), &verdict.message, &mut decision);
        return decision;
    }
    let policy = restart_policy(spec);
    if is_complete(observed, policy) {
        end(observed, grace(spec), "", &mut decision);
        return decision;
    }
    if let Some(seconds) = spec.active_deadline_seconds {
        let deadline = later(observed.accepted, Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
        if deadline <= now {
            decision.act(Action::Condemn(Verdict {
                reason: "DeadlineExceeded",
                message: "Pod was active on the node longer than the specified deadline".to_owned(),
            }));
            return decision;
        }
        decision.wake_at(deadline);
    }
    match observed.ground {
        Ground::Absent => decision.act(Action::Prepare),
        Ground::Failed(retry) => decision.act_at(retry, now, Action::Prepare),
        Ground::Making => {}
        Ground::Ready => advance(observed, spec, policy, now, &mut decision),
    }
    decision
}

/// How the pod restarts its containers.
pub(crate) fn restart_policy(spec: &PodSpec) -> &str {
    spec.restart_policy.as_deref().unwrap_or("Always")
}

/// Nothing of the pod will ever run again, and only sidecars may still do so.
pub(crate) fn is_complete(observed: &Observed, policy: &str) -> bool {
    let for_good = |container: &Container| {
        ended(container).is_some_and(|ended| !container.restarts_after(ended, policy))
    };
    let of = |role| observed.containers.iter().filter(move |container| container.role == role);
    let failed = of(Role::Init).any(|container| {
        for_good(container) && container.ended.as_ref().is_some_and(|ended| ended.code != 0)
    });
    failed || of(Role::Main).all(for_good)
}

fn grace(spec: &PodSpec) -> i64 {
    spec.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE)
}

fn ended(container: &Container) -> Option<&Ended> {
    container.ended.as_ref().filter(|_| container.phase == Phase::Ended)
}

/// Ends every container, sidecars last and in reverse order, then takes the ground away; whether nothing is left.
fn end(observed: &Observed, grace: i64, why: &str, decision: &mut Decision) -> bool {
    let (sidecars, others): (Vec<_>, Vec<_>) =
        observed.containers.iter().enumerate().partition(|(_, container)| container.role == Role::Sidecar);
    let mut busy: Vec<(usize, &Container)> =
        others.into_iter().filter(|(_, container)| container.is_busy()).collect();
    if busy.is_empty() {
        busy = sidecars.into_iter().rev().find(|(_, container)| container.is_busy()).into_iter().collect();
    }
    for (index, container) in &busy {
        match &container.phase {
            Phase::Starting => decision.act(Action::Abandon(*index)),
            // A later request may shorten the grace, never lengthen it.
            Phase::Running(run) if run.stopping.is_none_or(|given| grace < given) => {
                let message = match why {
                    "" => format!("Stopping container {}", container.name),
                    why => why.to_owned(),
                };
                decision.act(Action::Stop(*index, grace, message));
            }
            _ => {}
        }
    }
    if !busy.is_empty() {
        return false;
    }
    match observed.ground {
        Ground::Absent => true,
        Ground::Making => false,
        Ground::Ready | Ground::Failed(_) => {
            decision.act(Action::Clear);
            false
        }
    }
}

/// Starts what may start, restarts what is due, and ends what is condemned.
fn advance(observed: &Observed, spec: &PodSpec, policy: &str, now: Timestamp, decision: &mut Decision) {
    let mut all = observed.containers.iter().enumerate();
    for (index, container) in all.by_ref().filter(|(_, container)| container.role != Role::Main) {
        if observed.initialized {
            // Only sidecars have anything left to do.
            if container.role == Role::Sidecar {
                step(index, container, spec, policy, now, decision);
            }
            continue;
        }
        step(index, container, spec, policy, now, decision);
        let passed = match container.role {
            Role::Sidecar => container.run().is_some_and(|run| run.started),
            _ => ended(container).is_some_and(|ended| ended.code == 0),
        };
        if !passed {
            return;
        }
    }
    for (index, container) in observed.containers.iter().enumerate() {
        if container.role == Role::Main {
            step(index, container, spec, policy, now, decision);
        }
    }
}

fn step(
    index: usize,
    container: &Container,
    spec: &PodSpec,
    policy: &str,
    now: Timestamp,
    decision: &mut Decision,
) {
    match &container.phase {
        Phase::Idle => decision.act(Action::Start(index)),
        Phase::Starting => {}
        Phase::Held(held) => {
            let due = later(held.since, held.delay);
            if held.reason == "ErrImagePull" && due > now {
                let shown = later(held.since, SHOWN_AS_FAILED);
                decision.act_at(shown, now, Action::BackOff(index));
            }
            decision.act_at(due, now, Action::Start(index));
        }
        Phase::Running(run) => {
            if let (Some(condemned), None) = (&run.condemned, run.stopping) {
                let grace = condemned.grace.unwrap_or_else(|| grace(spec));
                decision.act(Action::Stop(index, grace, condemned.message.clone()));
            }
        }
        Phase::Ended => {
            if let Some(ended) = &container.ended
                && container.restarts_after(ended, policy)
            {
                decision.act_at(restart_due(container, ended), now, Action::Start(index));
            }
        }
    }
}

/// When an ended container is started again.
pub(crate) fn restart_due(container: &Container, ended: &Ended) -> Timestamp {
    later(ended.finished, container.delay.unwrap_or_default())
}
