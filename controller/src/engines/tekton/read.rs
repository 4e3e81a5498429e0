//! Reads how a PipelineRun and its TaskRuns are doing.

use api::workflow_execution::ExecutionEngine;
use jiff::Timestamp;
use kube::ResourceExt;

use super::resource::{PipelineRun, PipelineRunStatus, StepState, TaskRun, succeeded};
use crate::reconcile::observed::{Child, ChildFailure, ChildState, FailedTask, Owner, Progress};

/// Names of the TaskRuns of `run`, each with its place among the run's tasks.
pub fn task_runs(run: &PipelineRun) -> impl Iterator<Item = (usize, &str)> {
    let references = run.status.iter().flat_map(|status| &status.child_references).enumerate();
    references
        .filter(|(_, reference)| reference.kind == "TaskRun")
        .map(|(index, reference)| (index, reference.name.as_str()))
}

/// How `run` is doing. `all` may hold other runs' TaskRuns.
pub fn read(run: &PipelineRun, owner: Owner, all: &[TaskRun]) -> Child {
    let own = task_runs(run).filter_map(|(index, name)| {
        all.iter().find(|task_run| task_run.name_any() == name).map(|task_run| (index, task_run))
    });
    let own: Vec<(usize, &TaskRun)> = own.collect();
    let status = run.status.clone().unwrap_or_default();
    Child {
        engine: ExecutionEngine::Tekton,
        name: run.name_any(),
        uid: run.uid().unwrap_or_default(),
        created: run.creation_timestamp().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        owner,
        deleting: run.metadata.deletion_timestamp.is_some(),
        progress: progress(&status, &own),
        state: state(&status, &own),
    }
}

fn progress(status: &PipelineRunStatus, task_runs: &[(usize, &TaskRun)]) -> Progress {
    let ended =
        task_runs.iter().filter(|(_, task_run)| holds(task_run).is_some_and(|holds| holds != "Unknown"));
    Progress { completed: ended.count(), total: status.child_references.len() }
}

fn state(status: &PipelineRunStatus, task_runs: &[(usize, &TaskRun)]) -> ChildState {
    let condition = succeeded(&status.conditions);
    match condition.map(|condition| (condition.status.as_str(), condition)) {
        Some(("True", _)) => ChildState::Succeeded { at: status.completion_time.as_ref().map(|time| time.0) },
        Some(("False", condition)) => ChildState::Failed(ChildFailure {
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            ran: has_run(status, task_runs),
            task: task_runs.iter().find_map(|(index, task_run)| failed_task(*index, task_run)),
        }),
        _ if !status.child_references.is_empty() => ChildState::Started,
        _ => ChildState::Created,
    }
}

/// Whether any step of any task was started: an earlier task may have acted although the one that failed did not.
fn has_run(status: &PipelineRunStatus, task_runs: &[(usize, &TaskRun)]) -> bool {
    // A task that can no longer be seen may have run.
    task_runs.len() < status.child_references.len()
        || task_runs.iter().flat_map(|(_, task_run)| steps(task_run)).any(|step| {
            step.running.is_some() || step.terminated.as_ref().is_some_and(|ended| ended.started_at.is_some())
        })
}

fn failed_task(index: usize, task_run: &TaskRun) -> Option<FailedTask> {
    let condition = task_run.status.as_ref().and_then(|status| succeeded(&status.conditions))?;
    if condition.status != "False" {
        return None;
    }
    let failed = steps(task_run).iter().find_map(|step| {
        let terminated = step.terminated.as_ref()?;
        (terminated.exit_code != 0).then_some((step, terminated))
    });
    // What the kubelet says of the step tells more than that the task failed.
    let killed = failed.and_then(|(_, ended)| ended.reason.clone()).filter(|reason| reason == "OOMKilled");
    Some(FailedTask {
        index,
        name: task_run.name_any(),
        step: failed.map(|(step, _)| step.name.clone()),
        exit_code: failed.map(|(_, terminated)| terminated.exit_code),
        reason: killed.unwrap_or_else(|| condition.reason.clone()),
        message: condition.message.clone(),
    })
}

fn steps(task_run: &TaskRun) -> &[StepState] {
    task_run.status.as_ref().map_or(&[], |status| &status.steps)
}

fn holds(task_run: &TaskRun) -> Option<&str> {
    let status = task_run.status.as_ref()?;
    succeeded(&status.conditions).map(|condition| condition.status.as_str())
}
