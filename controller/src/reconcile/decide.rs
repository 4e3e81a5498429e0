//! What to do about an execution: a pure function from what is observed to what is to be done.
//!
//! Invariants, each with a test: a child is created only when nothing holds the target; a child is deleted only if it is this
//! execution's own, by uid; an event is sent only after the status that it is made from is stored; a wait always says when it
//! ends or what ends it.

mod deletion;
mod pending;
mod running;
mod terminal;

use api::audit::{AuditEventRequest, event_id};
use api::names::FINALIZER;
use api::workflow_execution::{AuditRecord, ExecutionEngine, Phase, WorkflowExecutionStatus};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::conditions;
use super::observed::{Acknowledgement, Child, Observed};
use crate::outbox::event;

/// A refused event is offered again after this time, in case DataStorage was corrected.
const REJECTED_AGAIN: SignedDuration = SignedDuration::from_mins(5);

/// What the operator of the controller chose.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a target rests after an execution.
    pub cooldown: SignedDuration,
    /// How long a target rests after an execution that could not even start.
    pub backoff: Backoff,
}

/// Growing delays: `base`, doubled with each failure at most `max_exponent` times, never above `max`.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// After the first failure.
    pub base: SignedDuration,
    /// At most.
    pub max: SignedDuration,
    /// Doublings at most.
    pub max_exponent: u32,
}

/// What is to be done, in this order, and when to look again if nothing changes before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Each only if those before it succeeded.
    pub actions: Vec<Action>,
    /// Look again after this time; without it, when something changes.
    pub requeue: Option<SignedDuration>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Put the finalizer on the execution, and decide again.
    AddFinalizer,
    /// Let the execution go.
    RemoveFinalizer,
    /// Create the child, and decide again.
    CreateChild {
        /// What runs it.
        engine: ExecutionEngine,
    },
    /// Delete the child of this name if it still has this uid.
    DeleteChild {
        /// What runs it.
        engine: ExecutionEngine,
        /// Name of the child.
        name: String,
        /// Its uid.
        uid: String,
    },
    /// Store this status, unless the execution has changed meanwhile.
    WriteStatus(Box<WorkflowExecutionStatus>),
    /// Hand these events to the outbox; it ignores those it already has.
    Send(Vec<AuditEventRequest>),
    /// Tell people by a Kubernetes event.
    Publish(Note),
    /// Count the end of an execution.
    CountFinished {
        /// `Completed` or `Failed`.
        phase: Phase,
        /// From start to end; zero if it never started.
        duration: SignedDuration,
    },
}

impl Action {
    /// Deletes exactly this child.
    fn delete(child: &Child) -> Self {
        Self::DeleteChild { engine: child.engine, name: child.name.clone(), uid: child.uid.clone() }
    }
}

/// A Kubernetes event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether somebody should worry.
    pub warning: bool,
    /// One word.
    pub reason: &'static str,
    /// In words.
    pub text: String,
}

impl Note {
    fn normal(reason: &'static str, text: String) -> Action {
        Action::Publish(Self { warning: false, reason, text })
    }

    fn warning(reason: &'static str, text: String) -> Action {
        Action::Publish(Self { warning: true, reason, text })
    }
}

/// Decides what to do about `observed` at `now`.
pub fn decide(observed: &Observed, settings: &Settings, now: Timestamp) -> Decision {
    let execution = &observed.execution;
    let held = execution.finalizers().iter().any(|finalizer| finalizer == FINALIZER);
    match (execution.metadata.deletion_timestamp.is_some(), held) {
        (true, false) => Decision::default(),
        (true, true) => deletion::decide(observed, now),
        (false, false) => Decision { actions: vec![Action::AddFinalizer], requeue: None },
        (false, true) => {
            let lifecycle = match execution.phase() {
                Phase::Pending => pending::decide(observed, settings, now),
                Phase::Running => running::decide(observed, settings, now),
                Phase::Completed | Phase::Failed => terminal::decide(observed, settings, now),
            };
            with_outbox(observed, lifecycle, now)
        }
    }
}

/// Adds what the outbox needs: acknowledgements are stored, and due events sent once the status they are made from is stored.
fn with_outbox(observed: &Observed, mut decision: Decision, now: Timestamp) -> Decision {
    if decision.actions.iter().any(|action| matches!(action, Action::WriteStatus(_))) {
        return decision;
    }
    let mut outbox = outbox(observed, now);
    // The outbox first: the rest ends where a child turns out to be gone already.
    outbox.actions.append(&mut decision.actions);
    outbox.requeue = earliest(decision.requeue, outbox.requeue);
    outbox
}

/// What the outbox alone needs.
fn outbox(observed: &Observed, now: Timestamp) -> Decision {
    let stored = observed.status();
    let uid = observed.execution.uid().unwrap_or_default();
    let mut status = stored.clone();
    for record in &mut status.audit_events {
        match observed.acknowledgements.get(&record_id(&uid, record)) {
            Some(Acknowledgement::Stored) => {
                record.acknowledged = true;
                record.rejected = None;
            }
            Some(Acknowledgement::Rejected(reason)) => record.rejected = Some(reason.clone()),
            None => {}
        }
    }
    conditions::record_audit(&mut status, observed.execution.metadata.generation, now);
    if status != stored {
        return Decision { actions: vec![Action::WriteStatus(Box::new(status))], requeue: None };
    }
    let due: Vec<&AuditRecord> = stored.audit_events.iter().filter(|record| !record.acknowledged).collect();
    if due.is_empty() {
        return Decision::default();
    }
    let requeue = due.iter().any(|record| record.rejected.is_some()).then_some(REJECTED_AGAIN);
    let events = due.iter().map(|record| event::build(&observed.execution, record)).collect();
    Decision { actions: vec![Action::Send(events)], requeue }
}

/// The id of the event that `record` is about.
pub fn record_id(execution_uid: &str, record: &AuditRecord) -> uuid::Uuid {
    event_id(execution_uid, record.event_type.as_str(), record.attempt.unsigned_abs())
}

fn earliest(a: Option<SignedDuration>, b: Option<SignedDuration>) -> Option<SignedDuration> {
    a.into_iter().chain(b).min()
}

#[cfg(test)]
mod tests;
