//! Pending: nothing was created yet. Waits until the target is free, then takes it.

use api::workflow_execution::{
    EXECUTION_CREATED, EXECUTION_RUNNING, ExecutionEngine, FailureReason, Phase, WorkflowExecution,
    WorkflowExecutionStatus,
};
use jiff::{SignedDuration, Timestamp};

use super::{Action, Decision, Note, Settings};
use crate::reconcile::conditions;
use crate::reconcile::failure;
use crate::reconcile::observed::{Child, Observed, Owner, Refusal, Sibling};
use crate::reconcile::transition;

/// Nothing tells when a child that is not ours goes away, or when an engine comes; look this often.
const UNTOLD_AGAIN: SignedDuration = SignedDuration::from_secs(30);
/// The reason of a wait for an engine.
const ENGINE_MISSING: &str = "EngineMissing";

pub(super) fn decide(observed: &Observed, settings: &Settings, now: Timestamp) -> Decision {
    if let Err(message) = validate(&observed.execution) {
        return refuse(
            observed,
            settings,
            now,
            FailureReason::ConfigurationError,
            &message,
            "ValidationFailed",
        );
    }
    if let Some(child) = observed.own_child() {
        return started(observed, child, now);
    }
    if let Some(refusal) = &observed.refusal {
        let (reason, condition) = classify(refusal);
        let message = format!("failed to create the execution's child: {}", refusal.message);
        return refuse(observed, settings, now, reason, &message, condition);
    }
    if let Some(child) = observed.child.as_ref().filter(|child| child.owner == Owner::Gone)
        && child.state.is_finished()
        && !child.deleting
    {
        return Decision { actions: vec![Action::delete(child)], requeue: None };
    }
    match engine(observed).and_then(|engine| wait(observed, settings, now).map_or(Ok(engine), Err)) {
        Ok(engine) => Decision { actions: vec![Action::CreateChild { engine }], requeue: None },
        Err(wait) => waiting(observed, wait, now),
    }
}

/// What is to run the execution: what it asks for, else the best that the cluster has.
fn engine(observed: &Observed) -> Result<ExecutionEngine, Wait> {
    match observed.execution.spec.execution_engine {
        Some(ExecutionEngine::Job) => Ok(ExecutionEngine::Job),
        None if !observed.tekton => Ok(ExecutionEngine::Job),
        Some(ExecutionEngine::Tekton) if !observed.tekton => Err(Wait {
            reason: ENGINE_MISSING,
            message: "the cluster does not serve tekton.dev/v1 PipelineRuns and TaskRuns; install Tekton Pipelines, or create \
                      the execution anew with spec.executionEngine `job`"
                .to_owned(),
            until: None,
            again: Some(UNTOLD_AGAIN),
        }),
        Some(ExecutionEngine::Tekton) | None => Ok(ExecutionEngine::Tekton),
    }
}

/// Why an execution has to wait, and until when.
struct Wait {
    reason: &'static str,
    message: String,
    until: Option<Timestamp>,
    again: Option<SignedDuration>,
}

/// The first thing the execution has to wait for: the lock, a block, a back-off, the cooldown.
fn wait(observed: &Observed, settings: &Settings, now: Timestamp) -> Option<Wait> {
    let target = &observed.execution.spec.target_resource;
    if let Some(child) = &observed.child {
        let holder = match &child.owner {
            Owner::Another(key) => format!("execution {key}"),
            Owner::Gone | Owner::This => "an execution that no longer exists".to_owned(),
            Owner::Unknown => format!("`{}`, which is not an execution's", child.name),
        };
        let again = matches!(child.owner, Owner::Unknown | Owner::Gone).then_some(UNTOLD_AGAIN);
        let message = format!("{target} is in use by {holder}");
        return Some(Wait { reason: "TargetResourceBusy", message, until: None, again });
    }
    // Its child may be of another kind, or not visible yet.
    if let Some(sibling) = observed.siblings.iter().find(|sibling| sibling.phase == Phase::Running) {
        let message = format!("{target} is in use by execution {}", sibling.key);
        return Some(Wait { reason: "TargetResourceBusy", message, until: None, again: None });
    }
    if let Some(sibling) = observed.siblings.iter().find(|sibling| sibling.blocks) {
        let message = format!(
            "execution {} failed on {target} and may have left it half changed; set its status.blockClearance.clearReason \
             (at least ten words) once the target is in order",
            sibling.key
        );
        return Some(Wait { reason: "PreviousExecutionFailed", message, until: None, again: None });
    }
    let until = |reason, text: &str, until: Timestamp| Wait {
        reason,
        message: format!("{target} {text} until {}", until.strftime("%Y-%m-%dT%H:%M:%SZ")),
        until: Some(until),
        again: None,
    };
    if let Some(next) =
        last(&observed.siblings).and_then(|sibling| sibling.next_allowed).filter(|next| *next > now)
    {
        return Some(until("BackoffActive", "could not be acted on; backing off", next));
    }
    let rested = observed.siblings.iter().filter(|sibling| sibling.phase.is_terminal() && sibling.started);
    let free =
        rested.filter_map(|sibling| sibling.completed.map(|completed| completed + settings.cooldown)).max();
    free.filter(|free| *free > now).map(|free| until("RecentlyRemediated", "cools down", free))
}

/// The sibling that ended last.
fn last(siblings: &[Sibling]) -> Option<&Sibling> {
    siblings.iter().filter(|sibling| sibling.phase.is_terminal()).max_by_key(|sibling| sibling.completed)
}

fn waiting(observed: &Observed, wait: Wait, now: Timestamp) -> Decision {
    let Wait { reason, message, until, again } = wait;
    let stored = observed.status();
    let before = conditions::reason(&stored, EXECUTION_CREATED).map(str::to_owned);
    let mut status = stored.clone();
    transition::touch(&mut status, &observed.execution);
    status.phase = Some(Phase::Pending);
    let generation = observed.execution.metadata.generation;
    conditions::set(&mut status, generation, now, (EXECUTION_CREATED, false, reason, &message));
    let mut actions = Vec::new();
    if status != stored {
        actions.push(Action::WriteStatus(Box::new(status)));
    }
    if before.as_deref() != Some(reason) {
        actions.push(match reason {
            ENGINE_MISSING => Note::warning(ENGINE_MISSING, message),
            "PreviousExecutionFailed" => Note::warning("TargetBlocked", message),
            "TargetResourceBusy" => Note::normal("TargetBusy", message),
            _ => Note::normal("CooldownActive", message),
        });
    }
    let requeue = until.map(|until| until.duration_since(now)).or(again);
    Decision { actions, requeue }
}

/// The child exists: the execution runs. Also the way back after a crash between creating the child and storing the status.
fn started(observed: &Observed, child: &Child, now: Timestamp) -> Decision {
    let status = transition::run(&observed.execution, child, now);
    let text = format!("Created {} for {}", child.name, observed.execution.spec.target_resource);
    Decision {
        actions: vec![Action::WriteStatus(Box::new(status)), Note::normal("ExecutionCreated", text)],
        requeue: None,
    }
}

/// The execution fails before anything ran.
fn refuse(
    observed: &Observed,
    settings: &Settings,
    now: Timestamp,
    reason: FailureReason,
    message: &str,
    condition: &'static str,
) -> Decision {
    let execution = &observed.execution;
    let mut status = observed.status();
    let generation = execution.metadata.generation;
    conditions::set(&mut status, generation, now, (EXECUTION_CREATED, false, condition, message));
    conditions::set(
        &mut status,
        generation,
        now,
        (EXECUTION_RUNNING, false, "ExecutionFailedToStart", message),
    );
    delay_next(&mut status, observed, settings, now);
    let details = failure::before_start(execution, reason, message, now);
    // The workflow was chosen and its target taken unless the specification itself is at fault.
    let selected = observed.refusal.is_some();
    transition::failed(execution, status, details, selected, now)
}

/// How long the next execution on the target has to wait after `observed` could not start.
pub(super) fn delay_next(
    status: &mut WorkflowExecutionStatus,
    observed: &Observed,
    settings: &Settings,
    now: Timestamp,
) {
    let failures =
        last(&observed.siblings).map_or(0, |sibling| sibling.consecutive_failures).saturating_add(1);
    let uid = observed.execution.metadata.uid.as_deref().unwrap_or_default();
    status.consecutive_failures = Some(failures);
    status.next_allowed_execution = Some((now + settings.backoff.delay(failures, uid)).into());
}

impl super::Backoff {
    /// Delay after `failures` in a row. `seed` spreads it by a tenth either way, always the same for the same seed.
    pub(super) fn delay(&self, failures: i32, seed: &str) -> SignedDuration {
        let exponent = failures.saturating_sub(1).unsigned_abs().min(self.max_exponent).min(30);
        let delay = self.base.as_millis().saturating_mul(1 << exponent).min(self.max.as_millis());
        let spread =
            seed.bytes().fold(0_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(byte))) % 201;
        let spread = delay / 1000 * (i128::from(spread) - 100);
        let millis =
            (delay + spread).clamp(self.base.as_millis(), self.max.as_millis().max(self.base.as_millis()));
        SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

/// What is wrong with the specification; the first error, naming its field.
fn validate(execution: &WorkflowExecution) -> Result<(), String> {
    let spec = &execution.spec;
    if spec.workflow_ref.container_image.trim().is_empty() {
        return Err("spec.workflowRef.containerImage must not be empty".to_owned());
    }
    let target = &spec.target_resource;
    if target.is_empty() {
        return Err("spec.targetResource must not be empty".to_owned());
    }
    let parts: Vec<&str> = target.split('/').collect();
    if !(2..=3).contains(&parts.len()) || parts.iter().any(|part| part.trim().is_empty()) {
        return Err(format!(
            "spec.targetResource has the wrong format: `{target}` is neither namespace/kind/name nor kind/name"
        ));
    }
    if let Some(timeout) = spec.execution_config.as_ref().and_then(|config| config.timeout.as_deref()) {
        api::duration::parse(timeout).map_err(|error| format!("spec.executionConfig.timeout: {error}"))?;
    }
    if let Some(name) = spec.parameters.keys().find(|name| !is_upper_snake_case(name)) {
        return Err(format!("spec.parameters: `{name}` is not UPPER_SNAKE_CASE, as in `MAX_REPLICAS`"));
    }
    Ok(())
}

fn is_upper_snake_case(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Class of a refusal, and the reason of the condition that tells it.
fn classify(refusal: &Refusal) -> (FailureReason, &'static str) {
    match refusal.code {
        403 if refusal.message.to_ascii_lowercase().contains("quota") => {
            (FailureReason::ResourceExhausted, "QuotaExceeded")
        }
        403 => (FailureReason::Forbidden, "RBACDenied"),
        400 | 404 | 422 => (FailureReason::ConfigurationError, "ExecutionCreationFailed"),
        _ => (FailureReason::Unknown, "ExecutionCreationFailed"),
    }
}
