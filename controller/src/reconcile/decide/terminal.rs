//! Completed or Failed: holds the target until it has cooled down, or until a block is cleared, then gives it free.

use api::workflow_execution::Phase;
use jiff::Timestamp;

use super::{Action, Decision, Settings, running};
use crate::reconcile::observed::{Observed, blocks};

pub(super) fn decide(observed: &Observed, settings: &Settings, now: Timestamp) -> Decision {
    let status = observed.status();
    // The child of this name may be a newer execution's: only the one this execution started is ever deleted.
    let own = observed.own_child().filter(|child| {
        !child.deleting && status.execution_uid.as_ref().is_some_and(|uid| *uid == child.uid)
    });
    let Some(child) = own else {
        return Decision::default();
    };
    let delete = Action::delete(child);
    if !child.state.is_finished() {
        return Decision { actions: vec![delete], requeue: None };
    }
    if status.phase == Some(Phase::Failed) && blocks(&status) {
        return Decision::default();
    }
    let free = status.completion_time.map_or(now, |completed| completed.0 + settings.cooldown);
    if free > now {
        return Decision { actions: Vec::new(), requeue: Some(free.duration_since(now)) };
    }
    Decision {
        actions: vec![delete, running::released(&observed.execution.spec.target_resource)],
        requeue: None,
    }
}
