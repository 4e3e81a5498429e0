//! What the node knows of a pod it runs: the input of every decision.

use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as ContainerSpec, PodSpec};

/// A container that ran this long starts its back-off anew when it ends.
const FORGIVEN_AFTER: Duration = Duration::from_secs(600);

/// How the delays between two attempts grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackOff {
    /// The first delay; each further one is twice as long.
    pub base: Duration,
    /// The longest delay.
    pub limit: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self { base: Duration::from_secs(10), limit: Duration::from_secs(300) }
    }
}

impl BackOff {
    /// The delay after one of `previous`.
    pub(crate) fn after(&self, previous: Duration) -> Duration {
        if previous.is_zero() { self.base } else { previous.saturating_mul(2).min(self.limit) }
    }
}

/// A pod.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Observed {
    /// When the node took it on.
    pub accepted: Timestamp,
    /// What its containers stand on.
    pub ground: Ground,
    /// Its address, once it has one.
    pub address: Option<Ipv4Addr>,
    /// Init containers first, each group in the order of the specification.
    pub containers: Vec<Container>,
    /// Every init container has done its part once.
    pub initialized: bool,
    /// Why the node ended it, if nobody deleted it.
    pub verdict: Option<Verdict>,
}

/// Namespaces, files and volumes of a pod.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Ground {
    /// Not made yet, or taken away again.
    Absent,
    /// Being made.
    Making,
    /// There.
    Ready,
    /// Could not be made; the next attempt is due at this time.
    Failed(Timestamp),
}

/// Why the node ended a pod.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Verdict {
    /// `DeadlineExceeded`
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// A container.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Container {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// What it does now.
    pub phase: Phase,
    /// How its latest instance ended.
    pub ended: Option<Ended>,
    /// How the instance before that one ended.
    pub earlier: Option<Ended>,
    /// Instances after the first.
    pub restarts: i32,
    /// How long the next restart waits after the end; nothing before the first end.
    pub delay: Option<Duration>,
    /// How long the last failed pull was waited for.
    pub pull_delay: Duration,
    /// Image of the latest instance, by digest.
    pub image_id: String,
    /// Id of the latest instance.
    pub id: Option<String>,
}

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to completion before the next one starts.
    Init,
    /// Starts among the init containers and runs beside the main ones.
    Sidecar,
    /// What the pod is for.
    Main,
}

/// What a container does now.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    /// It has not been started.
    Idle,
    /// Its image is fetched or its process set up.
    Starting,
    /// It could not be started and will be tried again.
    Held(Held),
    /// Its process runs.
    Running(Run),
    /// Its process has ended: see `ended`.
    Ended,
}

/// Why a container could not be started.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Held {
    /// `ErrImagePull`, `CreateContainerConfigError`, …
    pub reason: &'static str,
    /// The cause.
    pub message: String,
    /// When it happened.
    pub since: Timestamp,
    /// How long to wait from then.
    pub delay: Duration,
}

/// A running process.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    /// Since when.
    pub since: Timestamp,
    /// Its startup probe has succeeded, or it has none, and its postStart hook has ended.
    pub started: bool,
    /// Its readiness probe succeeds, or it has none.
    pub ready: bool,
    /// Why it must be restarted, if it must.
    pub condemned: Option<Condemned>,
    /// Seconds of grace it was given when it was asked to end.
    pub stopping: Option<i64>,
}

/// Why a running container must be restarted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condemned {
    /// Message of the `Killing` event.
    pub message: String,
    /// Seconds of grace instead of the pod's.
    pub grace: Option<i64>,
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ended {
    /// Exit code, 128 + signal.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`
    pub reason: &'static str,
    /// Its last words.
    pub message: String,
    /// When it started.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Its id.
    pub id: Option<String>,
}

impl Observed {
    /// A pod nothing has been done for.
    pub(crate) fn new(spec: &PodSpec, accepted: Timestamp) -> Self {
        let init = spec.init_containers.iter().flatten().map(|container| {
            let sidecar = container.restart_policy.as_deref() == Some("Always");
            Container::new(&container.name, if sidecar { Role::Sidecar } else { Role::Init })
        });
        let main = spec.containers.iter().map(|container| Container::new(&container.name, Role::Main));
        let containers: Vec<Container> = init.chain(main).collect();
        let initialized = containers.iter().all(|container| container.role == Role::Main);
        Self { accepted, ground: Ground::Absent, address: None, containers, initialized, verdict: None }
    }

    /// A process of the pod runs or is about to.
    pub(crate) fn is_busy(&self) -> bool {
        self.containers.iter().any(Container::is_busy)
    }

    /// Notes when the init containers have done their part: from then on they are not waited for again.
    pub(crate) fn note_initialized(&mut self) {
        self.initialized |= self.containers.iter().all(|container| match container.role {
            Role::Main => true,
            Role::Sidecar => container.run().is_some_and(|run| run.started),
            Role::Init => {
                container.phase == Phase::Ended
                    && container.ended.as_ref().is_some_and(|ended| ended.code == 0)
            }
        });
    }
}

/// The specifications of a pod's containers, in the order of [`Observed::containers`].
pub(crate) fn specifications(spec: &PodSpec) -> impl Iterator<Item = &ContainerSpec> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

impl Container {
    fn new(name: &str, role: Role) -> Self {
        Self {
            name: name.to_owned(),
            role,
            phase: Phase::Idle,
            ended: None,
            earlier: None,
            restarts: 0,
            delay: None,
            pull_delay: Duration::ZERO,
            image_id: String::new(),
            id: None,
        }
    }

    /// Its process runs or is about to.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.phase, Phase::Starting | Phase::Running(_))
    }

    /// The running process.
    pub(crate) fn run(&self) -> Option<&Run> {
        match &self.phase {
            Phase::Running(run) => Some(run),
            _ => None,
        }
    }

    /// The running process, to note something about it.
    pub(crate) fn run_mut(&mut self) -> Option<&mut Run> {
        match &mut self.phase {
            Phase::Running(run) => Some(run),
            _ => None,
        }
    }

    /// How many instances there have been.
    pub(crate) fn instances(&self) -> i32 {
        if self.id.is_some() { self.restarts + 1 } else { 0 }
    }

    /// An instance runs.
    pub(crate) fn runs(&mut self, id: String, image_id: String, run: Run) {
        self.note_instance(Some(id));
        self.image_id = image_id;
        self.pull_delay = Duration::ZERO;
        self.phase = Phase::Running(run);
    }

    /// The running instance ended.
    pub(crate) fn ends(&mut self, ended: Ended, back_off: BackOff) {
        let ran = ended.finished.duration_since(ended.started).unsigned_abs();
        self.delay = Some(match self.delay {
            Some(delay) if ran < FORGIVEN_AFTER => back_off.after(delay),
            _ => Duration::ZERO,
        });
        self.earlier = self.ended.replace(ended);
        self.phase = Phase::Ended;
    }

    /// An instance came to its end before its program ran.
    pub(crate) fn never_ran(&mut self, ended: Ended, back_off: BackOff) {
        self.note_instance(ended.id.clone());
        self.ends(ended, back_off);
    }

    /// It could not even be tried.
    pub(crate) fn is_held(&mut self, reason: &'static str, message: String, now: Timestamp, delay: Duration) {
        self.phase = Phase::Held(Held { reason, message, since: now, delay });
    }

    fn note_instance(&mut self, id: Option<String>) {
        self.restarts = self.instances();
        self.id = id;
    }

    /// Whether it is started again after it has ended like this.
    pub(crate) fn restarts_after(&self, ended: &Ended, policy: &str) -> bool {
        match (self.role, policy) {
            (Role::Sidecar, _) | (Role::Main, "Always") => true,
            (_, "Never") => false,
            _ => ended.code != 0,
        }
    }
}

/// `since` plus a wait.
pub(crate) fn later(since: Timestamp, wait: Duration) -> Timestamp {
    let wait = jiff::SignedDuration::try_from(wait).unwrap_or(jiff::SignedDuration::MAX);
    since.saturating_add(wait).unwrap_or(Timestamp::MAX)
}
