//! What the API is told about a pod, in upstream's words. Pure.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container as ContainerSpec, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodSpec, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::decide::{is_complete, restart_due, restart_policy};
use super::observed::{Container, Ended, Ground, Observed, Phase, Role, specifications};

/// Conditions that the node owns; others are left to who wrote them.
pub(crate) const OURS: [&str; 4] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

/// The status of `pod`; its present one gives the times of the last transitions.
pub(crate) fn status(pod: &Pod, observed: &Observed, host_ip: &str, now: Timestamp) -> PodStatus {
    let previous = pod.status.clone().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let phase = phase(observed, restart_policy(&spec), pod.metadata.deletion_timestamp.is_some());
    let statuses: Vec<(Role, ContainerStatus)> = specifications(&spec)
        .zip(&observed.containers)
        .map(|(container, seen)| (seen.role, container_status(pod, observed, &spec, container, seen, now)))
        .collect();
    let conditions = conditions(&previous, &spec, observed, phase, &statuses, now);
    let address = match spec.host_network {
        Some(true) => Some(host_ip.to_owned()),
        _ => observed.address.map(|address| address.to_string()),
    };
    let address = address.or(previous.pod_ip);
    let (main, init): (Vec<_>, Vec<_>) = statuses.into_iter().partition(|(role, _)| *role == Role::Main);
    let some = |list: Vec<(Role, ContainerStatus)>| {
        let list: Vec<ContainerStatus> = list.into_iter().map(|(_, status)| status).collect();
        (!list.is_empty()).then_some(list)
    };
    PodStatus {
        phase: Some(phase.to_owned()),
        reason: observed.verdict.as_ref().map(|verdict| verdict.reason.to_owned()),
        message: observed.verdict.as_ref().map(|verdict| verdict.message.clone()),
        conditions: Some(conditions),
        host_ip: Some(host_ip.to_owned()),
        host_ips: Some(vec![HostIP { ip: host_ip.to_owned() }]),
        pod_ips: address.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: address,
        start_time: Some(Time(observed.accepted)),
        qos_class: previous.qos_class.or_else(|| Some(qos_class(&spec).to_owned())),
        init_container_statuses: some(init),
        container_statuses: some(main),
        observed_generation: pod.metadata.generation,
        ..PodStatus::default()
    }
}

/// `Pending`, `Running`, `Succeeded` or `Failed`.
fn phase(observed: &Observed, policy: &str, deleted: bool) -> &'static str {
    let begun = |container: &Container| container.run().is_some() || container.ended.is_some();
    let mut main = observed.containers.iter().filter(|container| container.role == Role::Main);
    let all_begun = observed.initialized && main.all(begun);
    let over = observed.verdict.is_some() || is_complete(observed, policy) || (deleted && all_begun);
    if over && !observed.is_busy() {
        let succeeded = observed.verdict.is_none()
            && observed
                .containers
                .iter()
                .filter(|container| container.role == Role::Main)
                .all(|container| container.ended.as_ref().is_some_and(|ended| ended.code == 0));
        return if succeeded { "Succeeded" } else { "Failed" };
    }
    if all_begun { "Running" } else { "Pending" }
}

fn container_status(
    pod: &Pod,
    observed: &Observed,
    spec: &PodSpec,
    container: &ContainerSpec,
    seen: &Container,
    now: Timestamp,
) -> ContainerStatus {
    let (state, last) = state(pod, observed, spec, seen, now);
    let run = seen.run();
    let ready = match seen.role {
        // Its work is to end well.
        Role::Init => seen.phase == Phase::Ended && seen.ended.as_ref().is_some_and(|ended| ended.code == 0),
        _ => run.is_some_and(|run| run.started && run.ready),
    };
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: seen.image_id.clone(),
        container_id: seen.id.clone(),
        restart_count: seen.restarts,
        ready,
        started: Some(run.is_some_and(|run| run.started)),
        state: Some(state),
        last_state: last
            .map(|ended| ContainerState { terminated: Some(terminated(ended)), ..ContainerState::default() }),
        ..ContainerStatus::default()
    }
}

/// The state of a container and that of its last instance.
fn state<'a>(
    pod: &Pod,
    observed: &Observed,
    spec: &PodSpec,
    seen: &'a Container,
    now: Timestamp,
) -> (ContainerState, Option<&'a Ended>) {
    match &seen.phase {
        Phase::Running(run) => {
            let running = ContainerStateRunning { started_at: Some(Time(run.since)) };
            let state = ContainerState { running: Some(running), ..ContainerState::default() };
            (state, seen.ended.as_ref())
        }
        Phase::Held(held) => (waiting(held.reason, &held.message), seen.ended.as_ref()),
        Phase::Idle | Phase::Starting | Phase::Ended => match &seen.ended {
            Some(ended) if backs_off(observed, spec, seen, ended, now) => {
                let delay = seen.delay.unwrap_or_default();
                let message = back_off_message(pod, &seen.name, delay);
                (waiting("CrashLoopBackOff", &message), Some(ended))
            }
            Some(ended) => {
                let state =
                    ContainerState { terminated: Some(terminated(ended)), ..ContainerState::default() };
                (state, seen.earlier.as_ref())
            }
            None => {
                let initializing = observed.containers.iter().any(|other| other.role != Role::Main);
                let reason = if initializing { "PodInitializing" } else { "ContainerCreating" };
                (waiting(reason, ""), None)
            }
        },
    }
}

/// An ended container waits for its restart.
fn backs_off(observed: &Observed, spec: &PodSpec, seen: &Container, ended: &Ended, now: Timestamp) -> bool {
    let policy = restart_policy(spec);
    if observed.verdict.is_some()
        || is_complete(observed, policy)
        || !seen.restarts_after(ended, policy)
        || seen.delay.is_none_or(|delay| delay.is_zero())
    {
        return false;
    }
    // While it is started again nothing new can be said.
    seen.phase == Phase::Starting || restart_due(seen, ended) > now
}

/// Message of `CrashLoopBackOff`.
pub(crate) fn back_off_message(pod: &Pod, container: &str, delay: Duration) -> String {
    format!("back-off {} restarting failed container={container} pod={}", spoken(delay), full_name(pod))
}

/// `name_namespace(uid)`, as upstream's messages name a pod.
pub(crate) fn full_name(pod: &Pod) -> String {
    format!(
        "{}_{}({})",
        pod.name_any(),
        pod.namespace().unwrap_or_default(),
        pod.metadata.uid.as_deref().unwrap_or_default()
    )
}

/// `10s`, `2m40s`
fn spoken(delay: Duration) -> String {
    match (delay.as_secs(), delay.subsec_millis()) {
        (0, millis) => format!("{millis}ms"),
        (seconds @ 1..60, _) => format!("{seconds}s"),
        (seconds, _) => format!("{}m{}s", seconds / 60, seconds % 60),
    }
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    let message = (!message.is_empty()).then(|| message.to_owned());
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn terminated(ended: &Ended) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: ended.code,
        reason: Some(ended.reason.to_owned()),
        message: (!ended.message.is_empty()).then(|| ended.message.clone()),
        started_at: Some(Time(ended.started)),
        finished_at: Some(Time(ended.finished)),
        container_id: ended.id.clone(),
        signal: None,
    }
}

fn conditions(
    previous: &PodStatus,
    spec: &PodSpec,
    observed: &Observed,
    phase: &str,
    statuses: &[(Role, ContainerStatus)],
    now: Timestamp,
) -> Vec<PodCondition> {
    let before = previous.conditions.as_deref().unwrap_or_default();
    let over = match phase {
        "Succeeded" => Some("PodCompleted"),
        "Failed" => Some("PodFailed"),
        _ => None,
    };
    let names = |wanted: &dyn Fn(Role, &ContainerStatus) -> bool| {
        let names = statuses.iter().filter(|(role, status)| wanted(*role, status));
        names.map(|(_, status)| status.name.as_str()).collect::<Vec<_>>().join(" ")
    };
    let incomplete = names(&|role, status| match role {
        Role::Main => false,
        Role::Init => !status.ready,
        Role::Sidecar => status.started != Some(true),
    });
    let unready = names(&|role, status| role != Role::Init && !status.ready);
    let initialized = if observed.initialized {
        Judgement::met(if over == Some("PodCompleted") { over } else { None })
    } else {
        Judgement::unmet(
            "ContainersNotInitialized",
            format!("containers with incomplete status: [{incomplete}]"),
        )
    };
    let containers_ready = match over {
        Some(reason) => Judgement::unmet(reason, String::new()),
        None if unready.is_empty() && observed.initialized => Judgement::met(None),
        None => {
            Judgement::unmet("ContainersNotReady", format!("containers with unready status: [{unready}]"))
        }
    };
    let ready = match closed_gates(spec, before) {
        Some(message) if containers_ready.status => Judgement::unmet("ReadinessGatesNotReady", message),
        _ => containers_ready.clone(),
    };
    let standing = Judgement { status: observed.ground == Ground::Ready, ..Judgement::met(None) };
    let scheduled = Judgement::met(None);
    let foreign = before
        .iter()
        .filter(|condition| !OURS.contains(&condition.type_.as_str()) && condition.type_ != "PodScheduled");
    [standing, initialized, ready, containers_ready]
        .into_iter()
        .zip(OURS)
        .chain([(scheduled, "PodScheduled")])
        .map(|(verdict, type_)| verdict.condition(type_, before, now))
        .chain(foreign.cloned())
        .collect()
}

/// Which readiness gate keeps the pod from being ready.
fn closed_gates(spec: &PodSpec, conditions: &[PodCondition]) -> Option<String> {
    spec.readiness_gates.iter().flatten().find_map(|gate| {
        let name = &gate.condition_type;
        match conditions.iter().find(|condition| condition.type_ == *name) {
            None => Some(format!("corresponding condition of pod readiness gate {name:?} does not exist.")),
            Some(condition) if condition.status != "True" => Some(format!(
                "the status of pod readiness gate {name:?} is not \"True\", but {}",
                condition.status
            )),
            Some(_) => None,
        }
    })
}

/// A condition before it has a type and a time.
#[derive(Clone)]
struct Judgement {
    status: bool,
    reason: Option<String>,
    message: Option<String>,
}

impl Judgement {
    fn met(reason: Option<&str>) -> Self {
        Self { status: true, reason: reason.map(str::to_owned), message: None }
    }

    fn unmet(reason: &str, message: String) -> Self {
        let message = (!message.is_empty()).then_some(message);
        Self { status: false, reason: Some(reason.to_owned()), message }
    }

    fn condition(self, type_: &str, before: &[PodCondition], now: Timestamp) -> PodCondition {
        let status = if self.status { "True" } else { "False" };
        let same = before.iter().find(|condition| condition.type_ == type_ && condition.status == status);
        let since = same.and_then(|condition| condition.last_transition_time.clone());
        PodCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: self.reason,
            message: self.message,
            last_transition_time: Some(since.unwrap_or(Time(now))),
            ..PodCondition::default()
        }
    }
}

/// How well the pod says what it needs.
fn qos_class(spec: &PodSpec) -> &'static str {
    let mut any = false;
    let mut all = true;
    for container in specifications(spec) {
        let resources = container.resources.clone().unwrap_or_default();
        let (requests, limits) =
            (resources.requests.unwrap_or_default(), resources.limits.unwrap_or_default());
        for name in ["cpu", "memory"] {
            let (request, limit) = (requests.get(name), limits.get(name));
            any |= request.is_some() || limit.is_some();
            all &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
