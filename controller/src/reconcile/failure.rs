//! Why an execution failed: a class, the evidence, and a text for people and language models.

use api::duration;
use api::workflow_execution::{FailureDetails, FailureReason, WorkflowExecution};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::observed::{ChildFailure, FailedTask};

/// Details of a failure before anything was created.
pub fn before_start(
    execution: &WorkflowExecution,
    reason: FailureReason,
    message: &str,
    now: Timestamp,
) -> FailureDetails {
    details(execution, reason, message, &FailedTask::default(), false, now)
}

/// Details of a failure of which the child can no longer tell anything.
pub fn without_child(
    execution: &WorkflowExecution,
    reason: FailureReason,
    message: &str,
    now: Timestamp,
) -> FailureDetails {
    details(execution, reason, message, &FailedTask::default(), false, now)
}

/// Details of a child that cannot run, for `waiting`, the reason its container gives.
pub fn stuck(execution: &WorkflowExecution, waiting: &str, message: &str, now: Timestamp) -> FailureDetails {
    let reason = match waiting {
        "ImagePullBackOff" | "ErrImagePull" | "ErrImageNeverPull" | "InvalidImageName" => {
            FailureReason::ImagePullBackOff
        }
        _ => FailureReason::ConfigurationError,
    };
    let message = if message.is_empty() { waiting.to_owned() } else { format!("{waiting}: {message}") };
    details(execution, reason, &message, &FailedTask::default(), false, now)
}

/// Details of a child that ended badly. What ran may have changed something, whatever the class of its failure.
pub fn of_child(execution: &WorkflowExecution, failure: &ChildFailure, now: Timestamp) -> FailureDetails {
    let none = FailedTask::default();
    let task = failure.task.as_ref().unwrap_or(&none);
    details(execution, classify(failure), &message(failure), task, failure.ran, now)
}

fn details(
    execution: &WorkflowExecution,
    reason: FailureReason,
    message: &str,
    task: &FailedTask,
    was_execution_failure: bool,
    now: Timestamp,
) -> FailureDetails {
    let start = execution.status.as_ref().and_then(|status| status.start_time.as_ref());
    let elapsed = start.map(|start| duration::format(now.duration_since(start.0))).unwrap_or_default();
    FailureDetails {
        failed_task_index: i32::try_from(task.index).unwrap_or(i32::MAX),
        failed_task_name: task.name.clone(),
        failed_step_name: task.step.clone(),
        reason,
        message: message.to_owned(),
        exit_code: task.exit_code,
        failed_at: Time(now),
        natural_language_summary: summary(execution, reason, message, &elapsed),
        execution_time_before_failure: elapsed,
        was_execution_failure,
    }
}

/// What the workflow said last, or else what its child says.
fn message(failure: &ChildFailure) -> String {
    let said = failure.task.as_ref().map_or("", |task| task.message.trim());
    match (said, failure.message.trim(), failure.reason.trim()) {
        ("", "", "") => "the execution failed without saying why".to_owned(),
        ("", "", reason) => reason.to_owned(),
        ("", message, _) => message.to_owned(),
        (said, ..) => said.to_owned(),
    }
}

/// The class of a failure: first by what Kubernetes or Tekton says, then by whole words of what the workflow said.
pub fn classify(failure: &ChildFailure) -> FailureReason {
    let task = failure.task.as_ref();
    let told = [task.map_or("", |task| task.reason.as_str()), failure.reason.as_str()];
    let by_reason = REASONS.iter().find(|(reason, _)| told.contains(reason)).map(|(_, class)| *class);
    if let Some(class) = by_reason {
        return class;
    }
    let said = words(&message(failure));
    let by_words = PHRASES.iter().find(|(phrase, _)| contains(&said, phrase)).map(|(_, reason)| *reason);
    by_words.unwrap_or_else(|| {
        let exited = task.and_then(|task| task.exit_code).is_some_and(|code| code != 0);
        let task_failed =
            contains(&said, &["failed"]) && said.iter().any(|word| word == "task" || word == "tasks");
        if exited || task_failed || failure.reason == "BackoffLimitExceeded" {
            FailureReason::TaskFailed
        } else {
            FailureReason::Unknown
        }
    })
}

/// Reasons of Jobs, pods, PipelineRuns and TaskRuns that say it all, the first that is given.
const REASONS: [(&str, FailureReason); 31] = [
    ("OOMKilled", FailureReason::OomKilled),
    ("DeadlineExceeded", FailureReason::DeadlineExceeded),
    ("PipelineRunTimeout", FailureReason::DeadlineExceeded),
    ("TaskRunTimeout", FailureReason::DeadlineExceeded),
    ("ExceededResourceQuota", FailureReason::ResourceExhausted),
    ("ExceededNodeResources", FailureReason::ResourceExhausted),
    ("Evicted", FailureReason::ResourceExhausted),
    ("ImagePullBackOff", FailureReason::ImagePullBackOff),
    ("TaskRunImagePullFailed", FailureReason::ImagePullBackOff),
    ("PullImageFailed", FailureReason::ImagePullBackOff),
    ("PodAdmissionFailed", FailureReason::Forbidden),
    ("CreateContainerConfigError", FailureReason::ConfigurationError),
    ("CouldntGetPipeline", FailureReason::ConfigurationError),
    ("CouldntGetTask", FailureReason::ConfigurationError),
    ("PipelineValidationFailed", FailureReason::ConfigurationError),
    ("TaskRunValidationFailed", FailureReason::ConfigurationError),
    ("TaskRunResolutionFailed", FailureReason::ConfigurationError),
    ("ParameterMissing", FailureReason::ConfigurationError),
    ("ParameterTypeMismatch", FailureReason::ConfigurationError),
    ("InvalidWorkspaceBindings", FailureReason::ConfigurationError),
    ("InvalidParamValue", FailureReason::ConfigurationError),
    ("InvalidMatrixParameterTypes", FailureReason::ConfigurationError),
    ("InvalidTaskRunSpecs", FailureReason::ConfigurationError),
    ("InvalidTaskResultReference", FailureReason::ConfigurationError),
    ("InvalidPipelineResultReference", FailureReason::ConfigurationError),
    ("ObjectParameterMissKeys", FailureReason::ConfigurationError),
    ("ParamArrayIndexingInvalid", FailureReason::ConfigurationError),
    ("PipelineInvalidGraph", FailureReason::ConfigurationError),
    ("RequiredWorkspaceMarkedOptional", FailureReason::ConfigurationError),
    ("ResourceVerificationFailed", FailureReason::ConfigurationError),
    ("TaskValidationFailed", FailureReason::ConfigurationError),
];

/// Phrases that give a failure away, as whole words, the first that is found.
const PHRASES: [(&[&str], FailureReason); 15] = [
    (&["oomkilled"], FailureReason::OomKilled),
    (&["oom"], FailureReason::OomKilled),
    (&["out", "of", "memory"], FailureReason::OomKilled),
    (&["timeout"], FailureReason::DeadlineExceeded),
    (&["timed", "out"], FailureReason::DeadlineExceeded),
    (&["deadline"], FailureReason::DeadlineExceeded),
    (&["forbidden"], FailureReason::Forbidden),
    (&["rbac"], FailureReason::Forbidden),
    (&["permission", "denied"], FailureReason::Forbidden),
    (&["quota"], FailureReason::ResourceExhausted),
    (&["resource", "exhausted"], FailureReason::ResourceExhausted),
    (&["imagepullbackoff"], FailureReason::ImagePullBackOff),
    (&["image", "pull"], FailureReason::ImagePullBackOff),
    (&["invalid"], FailureReason::ConfigurationError),
    (&["configuration"], FailureReason::ConfigurationError),
];

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

fn contains(words: &[String], phrase: &[&str]) -> bool {
    words.windows(phrase.len()).any(|window| window == phrase)
}

fn summary(execution: &WorkflowExecution, reason: FailureReason, message: &str, elapsed: &str) -> String {
    let spec = &execution.spec;
    let elapsed = if elapsed.is_empty() { "before it started" } else { elapsed };
    let advice = match reason {
        FailureReason::OomKilled => "Give the workflow more memory, or let it work on less at a time.",
        FailureReason::Forbidden => "Grant the workflow's service account what it needs.",
        FailureReason::DeadlineExceeded => {
            "Raise spec.executionConfig.timeout, or find out what the workflow waits for."
        }
        FailureReason::ImagePullBackOff => {
            "Check that the workflow's image exists and that the node may pull it."
        }
        FailureReason::ResourceExhausted => "Free resources or raise the quota of the execution namespace.",
        FailureReason::ConfigurationError => {
            "Correct the execution's specification or the workflow's parameters."
        }
        FailureReason::TaskFailed | FailureReason::Unknown => "Read the message and the workflow's log.",
    };
    format!(
        "Workflow {} failed on {}.\nReason: {}\nMessage: {message}\nElapsed: {elapsed}\nRecommendation: {advice}",
        spec.workflow_ref.workflow_id,
        spec.target_resource,
        reason.as_str(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(reason: &str, task_reason: &str, exit_code: Option<i32>, said: &str) -> ChildFailure {
        let task = FailedTask {
            name: "pod".into(),
            exit_code,
            reason: task_reason.into(),
            message: said.into(),
            ..FailedTask::default()
        };
        ChildFailure {
            reason: reason.into(),
            message: String::new(),
            ran: exit_code.is_some(),
            task: Some(task),
        }
    }

    #[test]
    fn failures_are_classified_by_whole_words() {
        use FailureReason::*;
        for (reason, task_reason, exit_code, said, expected) in [
            ("BackoffLimitExceeded", "OOMKilled", Some(137), "", OomKilled),
            ("BackoffLimitExceeded", "Error", Some(1), "process was OOMKilled", OomKilled),
            ("BackoffLimitExceeded", "Error", Some(1), "no room left in zoom-bucket", TaskFailed),
            ("DeadlineExceeded", "", None, "", DeadlineExceeded),
            ("BackoffLimitExceeded", "Error", Some(1), "request timed out", DeadlineExceeded),
            ("BackoffLimitExceeded", "Error", Some(1), "deployments.apps is Forbidden: no", Forbidden),
            ("BackoffLimitExceeded", "Error", Some(1), "Permission denied", Forbidden),
            ("BackoffLimitExceeded", "Error", Some(1), "exceeded quota: compute", ResourceExhausted),
            ("BackoffLimitExceeded", "Error", Some(1), "quotation marks missing", TaskFailed),
            ("BackoffLimitExceeded", "Error", Some(1), "invalid replicas", ConfigurationError),
            ("BackoffLimitExceeded", "Error", Some(1), "invalidated cache is cold", TaskFailed),
            ("BackoffLimitExceeded", "Error", Some(3), "", TaskFailed),
            ("PodFailurePolicy", "", None, "", Unknown),
            ("BackoffLimitExceeded", "Evicted", None, "node had no room", ResourceExhausted),
            ("PipelineRunTimeout", "TaskRunTimeout", None, "", DeadlineExceeded),
            ("Failed", "TaskRunImagePullFailed", None, "the step failed", ImagePullBackOff),
            (
                "Failed",
                "CreateContainerConfigError",
                None,
                "Failed to create pod due to config error",
                ConfigurationError,
            ),
            ("Failed", "PodAdmissionFailed", None, "violates PodSecurity \"restricted:latest\"", Forbidden),
            ("Failed", "OOMKilled", Some(137), "exited with code 137", OomKilled),
            ("Failed", "Failed", Some(2), "\"step-main\" exited with code 2", TaskFailed),
            ("Failed", "", None, "Tasks Completed: 1 (Failed: 1, Cancelled 0)", TaskFailed),
            ("CouldntGetPipeline", "", None, "cannot find bundle", ConfigurationError),
            ("Cancelled", "", None, "PipelineRun was cancelled", Unknown),
        ] {
            assert_eq!(classify(&failed(reason, task_reason, exit_code, said)), expected, "{reason} {said}");
        }
    }

    #[test]
    fn the_workflows_own_words_are_the_message() {
        let mut failure = failed("BackoffLimitExceeded", "Error", Some(1), " disk is full\n");
        failure.message = "Job has reached the specified backoff limit".into();
        assert_eq!(message(&failure), "disk is full");
        failure.task = None;
        assert_eq!(message(&failure), "Job has reached the specified backoff limit");
    }
}
