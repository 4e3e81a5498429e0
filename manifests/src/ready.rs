//! Waits until what was applied works, and stops at once when it cannot.
//!
//! Everything is seen by watch and judged by pure rules: [`rules`] (what kstatus calls current) and [`trouble`] (what a pod does
//! not recover from). Pods count only through the newest ReplicaSet of their workload, never by label, so the doomed pods of an
//! older revision neither delay nor fail anything.

mod admission;
mod assess;
mod live;
pub mod rules;
pub mod trouble;
mod trust;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use futures::StreamExt;
use kube::Client;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::apply::{Applied, AppliedComponent};
use crate::components::Readiness;
use crate::event::{DeployEvent, Observer};
use crate::object::ObjectId;
use assess::Verdict;
use live::Live;

/// Components that work.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Each component and how long it took, in the order they became ready.
    pub components: Vec<(String, Duration)>,
}

/// One component that is not ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotReady {
    /// The component.
    pub component: String,
    /// Whether it cannot become ready, as opposed to not having done so in time.
    pub failed: bool,
    /// How long was waited.
    pub after: Duration,
    /// The objects it waits for and what each of them lacks.
    pub objects: Vec<(ObjectId, String)>,
}

/// Why the wait ended without everything being ready.
#[derive(Debug, thiserror::Error)]
pub enum ReadyError {
    /// Some components are not ready, in dependency order.
    #[error("{}", lines(.0))]
    NotReady(Vec<NotReady>),
    /// The cluster could not be watched.
    #[error("watch the cluster: {0}")]
    Watch(#[source] Box<kube::Error>),
}

fn lines(components: &[NotReady]) -> String {
    components.iter().map(NotReady::to_string).collect::<Vec<_>>().join("\n")
}

impl NotReady {
    /// What the wait said last, for [`crate::diagnose::snapshot`].
    pub fn notes(&self) -> Vec<String> {
        self.objects.iter().map(|(object, message)| format!("{object}: {message}")).collect()
    }
}

impl fmt::Display for NotReady {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NotReady { component, failed, after, objects } = self;
        let seconds = after.as_secs_f64();
        match failed {
            true => write!(out, "component `{component}` cannot become ready (seen after {seconds:.1}s)")?,
            false => write!(out, "component `{component}` is not ready after {seconds:.1}s")?,
        }
        for (object, message) in objects {
            write!(out, "\n  {object}: {message}")?;
        }
        Ok(())
    }
}

/// How often time itself is looked at: deadlines, grace periods, the dry run. Changes in the cluster are seen at once.
const TICK: Duration = Duration::from_millis(100);

/// Waits for every component, each within its own deadline.
///
/// A component that fails while one it needs is not ready yet is given the time until that one is decided: most services
/// restart until what they depend on answers.
pub async fn ready(client: &Client, applied: &Applied, observer: Observer<'_>) -> Result<Ready, ReadyError> {
    let started = Instant::now();
    let (mut live, mut changes) =
        Live::watch(client, applied).await.map_err(|error| ReadyError::Watch(Box::new(error)))?;
    let mut waits: Vec<Wait<'_>> = applied.components.iter().map(Wait::new).collect();
    let mut done: Vec<(String, Duration)> = Vec::new();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            change = changes.next() => if let Some(change) = change { live.take(change) },
            _ = tick.tick() => {}
        }
        let elapsed = started.elapsed();
        let mut doomed = Vec::new();
        for wait in waits.iter_mut().filter(|wait| !wait.ready) {
            let needs = &wait.component.rendered.needs;
            let needs_are_ready = needs.iter().all(|need| done.iter().any(|(name, _)| name == need));
            match wait.look(applied, &live, observer).await {
                Verdict::Current => {
                    wait.ready = true;
                    let component = wait.component.rendered.name.clone();
                    observer(DeployEvent::Ready { component: component.clone(), took: elapsed });
                    done.push((component, elapsed));
                }
                Verdict::Failed(_) if needs_are_ready => doomed.push(wait.not_ready(true, elapsed)),
                Verdict::Failed(_) | Verdict::Waiting(_) if elapsed > wait.component.rendered.deadline => {
                    doomed.push(wait.not_ready(false, elapsed));
                }
                Verdict::Failed(_) | Verdict::Waiting(_) => {}
            }
        }
        if waits.iter().all(|wait| wait.ready) {
            return Ok(Ready { components: done });
        }
        if !doomed.is_empty() {
            let named: Vec<String> = doomed.iter().map(|each| each.component.clone()).collect();
            let others =
                waits.iter().filter(|wait| !wait.ready && !named.contains(&wait.component.rendered.name));
            doomed.extend(others.map(|wait| wait.not_ready(false, elapsed)));
            let position = |name: &str| waits.iter().position(|wait| wait.component.rendered.name == name);
            doomed.sort_by_key(|each| position(&each.component));
            return Err(ReadyError::NotReady(doomed));
        }
    }
}

/// The wait for one component.
struct Wait<'a> {
    component: &'a AppliedComponent,
    ready: bool,
    /// What was reported last, per object.
    reported: BTreeMap<ObjectId, String>,
    /// What is lacking now.
    lacking: Vec<(ObjectId, String)>,
    /// When each trouble was first seen: it becomes a failure when its grace is over.
    troubles: BTreeMap<String, Instant>,
    admission: admission::Progress,
}

impl<'a> Wait<'a> {
    fn new(component: &'a AppliedComponent) -> Wait<'a> {
        Wait {
            component,
            ready: false,
            reported: BTreeMap::new(),
            lacking: Vec::new(),
            troubles: BTreeMap::new(),
            admission: admission::Progress::default(),
        }
    }

    async fn look(&mut self, applied: &Applied, live: &Live, observer: Observer<'_>) -> Verdict {
        let mut verdict =
            assess::component(&self.component.rendered, live, &mut self.troubles, Instant::now());
        if verdict == Verdict::Current {
            verdict = self.admission.advance(applied, self.component, observer).await;
        }
        self.lacking = match &verdict {
            Verdict::Current => Vec::new(),
            Verdict::Waiting(lacking) | Verdict::Failed(lacking) => lacking.clone(),
        };
        for (object, message) in &self.lacking {
            if self.reported.get(object) != Some(message) {
                self.reported.insert(object.clone(), message.clone());
                let component = self.component.rendered.name.clone();
                observer(DeployEvent::Waiting {
                    component,
                    object: object.clone(),
                    message: message.clone(),
                });
            }
        }
        verdict
    }

    fn not_ready(&self, failed: bool, after: Duration) -> NotReady {
        let component = self.component.rendered.name.clone();
        NotReady { component, failed, after, objects: self.lacking.clone() }
    }
}

/// Whether the component's Services must have endpoints.
fn wants_endpoints(readiness: Readiness) -> bool {
    match readiness {
        Readiness::Objects => false,
        Readiness::Endpoints | Readiness::Admission => true,
    }
}
