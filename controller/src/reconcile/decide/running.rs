//! Running: the child exists. Mirrors how it does, until it ends, is stuck or is gone.

use api::workflow_execution::{EXECUTION_CREATED, FailureReason};
use jiff::{SignedDuration, Timestamp};

use super::{Action, Decision, Note, Settings, pending};
use crate::reconcile::observed::{ChildState, Observed};
use crate::reconcile::{conditions, failure, transition};

/// The watch tells of every change. Should one ever be lost, it is found after this time.
const SAFETY_NET: SignedDuration = SignedDuration::from_mins(2);

pub(super) fn decide(observed: &Observed, settings: &Settings, now: Timestamp) -> Decision {
    let execution = &observed.execution;
    let stored = observed.status();
    let own = observed
        .own_child()
        .filter(|child| !child.deleting && stored.execution_uid.as_ref().is_none_or(|uid| *uid == child.uid));
    let Some(child) = own else {
        let name = stored.execution_ref.as_ref().map_or("its child", |child| child.name.as_str());
        let message = format!("{name} was deleted by someone else while the execution was running");
        let details = failure::without_child(execution, FailureReason::Unknown, &message, now);
        return transition::failed(execution, stored, details, true, now);
    };
    let mut status = stored.clone();
    transition::mirror(&mut status, execution, child, now);
    match &child.state {
        ChildState::Succeeded { at } => transition::completed(execution, status, at.unwrap_or(now), now),
        ChildState::Failed(failed) => {
            let details = failure::of_child(execution, failed, now);
            if !details.was_execution_failure {
                pending::delay_next(&mut status, observed, settings, now);
            }
            transition::failed(execution, status, details, true, now)
        }
        ChildState::Stuck { reason, message } => {
            let details = failure::stuck(execution, reason, message, now);
            if details.reason == FailureReason::ImagePullBackOff {
                let generation = execution.metadata.generation;
                conditions::set(
                    &mut status,
                    generation,
                    now,
                    (EXECUTION_CREATED, false, "ImagePullFailed", message),
                );
            }
            pending::delay_next(&mut status, observed, settings, now);
            transition::failed(execution, status, details, true, now)
        }
        ChildState::Created | ChildState::Started if status != stored => {
            Decision { actions: vec![Action::WriteStatus(Box::new(status))], requeue: None }
        }
        ChildState::Created | ChildState::Started => {
            Decision { actions: Vec::new(), requeue: Some(SAFETY_NET) }
        }
    }
}

/// The note that goes with the release of a target.
pub(super) fn released(target: &str) -> Action {
    Note::normal("LockReleased", format!("{target} may be acted on again"))
}
