//! Engine `job`: a Kubernetes Job with the workflow's image, parameters as environment variables.

mod read;

pub use read::{owner, read};

use std::collections::BTreeMap;

use api::names;
use api::workflow_execution::WorkflowExecution;
use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile,
    SecurityContext,
};
use kube::ResourceExt;
use kube::api::ObjectMeta;

/// Name of the container that runs the workflow.
pub const CONTAINER: &str = "workflow";
/// The environment variable every workflow gets besides its parameters.
pub const TARGET_VARIABLE: &str = "TARGET_RESOURCE";

/// Where and as whom workflows run, unless an execution says otherwise.
#[derive(Clone, Debug)]
pub struct Place {
    /// Namespace of the Jobs.
    pub namespace: String,
    /// ServiceAccount of their pods.
    pub service_account: String,
    /// Longest run.
    pub timeout: SignedDuration,
}

/// The Job that runs `execution`. Its name is the lock on the target.
pub fn build(execution: &WorkflowExecution, place: &Place) -> Job {
    let spec = &execution.spec;
    let config = spec.execution_config.clone().unwrap_or_default();
    let timeout =
        config.timeout.as_deref().and_then(|text| api::duration::parse(text).ok()).unwrap_or(place.timeout);
    let service_account = config.service_account_name.filter(|name| !name.is_empty());
    let labels = labels(execution);
    let metadata = ObjectMeta {
        name: Some(names::job_name(&spec.target_resource)),
        namespace: Some(place.namespace.clone()),
        labels: Some(labels.clone()),
        annotations: Some(annotations(execution)),
        ..ObjectMeta::default()
    };
    let pod = PodSpec {
        containers: vec![container(execution)],
        restart_policy: Some("Never".to_owned()),
        service_account_name: Some(service_account.unwrap_or_else(|| place.service_account.clone())),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        ..PodSpec::default()
    };
    let described = ObjectMeta {
        labels: Some(labels),
        annotations: Some(annotations(execution)),
        ..ObjectMeta::default()
    };
    let template = PodTemplateSpec { metadata: Some(described), spec: Some(pod) };
    let spec = JobSpec {
        // A workflow that failed may have acted: it is never simply run again.
        backoff_limit: Some(0),
        active_deadline_seconds: Some(timeout.as_secs().max(1)),
        template,
        ..JobSpec::default()
    };
    Job { metadata, spec: Some(spec), status: None }
}

fn container(execution: &WorkflowExecution) -> Container {
    let spec = &execution.spec;
    // The target last: a parameter of the same name must not misdirect the workflow.
    let variables = spec.parameters.iter().filter(|(name, _)| *name != TARGET_VARIABLE);
    let target = (TARGET_VARIABLE.to_owned(), spec.target_resource.clone());
    let env = variables
        .map(|(name, value)| (name.clone(), value.replace("$(", "$$(")))
        .chain([target])
        .map(|(name, value)| EnvVar { name, value: Some(value), value_from: None })
        .collect();
    Container {
        name: CONTAINER.to_owned(),
        image: Some(spec.workflow_ref.container_image.clone()),
        env: Some(env),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            run_as_non_root: Some(true),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn labels(execution: &WorkflowExecution) -> BTreeMap<String, String> {
    let spec = &execution.spec;
    [
        (names::LABEL_EXECUTION, execution.name_any()),
        (names::LABEL_SOURCE_NAMESPACE, execution.namespace().unwrap_or_default()),
        (names::LABEL_WORKFLOW_ID, spec.workflow_ref.workflow_id.clone()),
        (names::LABEL_TARGET, spec.target_resource.clone()),
    ]
    .into_iter()
    .map(|(label, text)| (label.to_owned(), names::label_value(&text)))
    .collect()
}

fn annotations(execution: &WorkflowExecution) -> BTreeMap<String, String> {
    [
        (names::ANNOTATION_TARGET, execution.spec.target_resource.clone()),
        (names::ANNOTATION_EXECUTION, execution.name_any()),
        (names::ANNOTATION_EXECUTION_UID, execution.uid().unwrap_or_default()),
    ]
    .into_iter()
    .map(|(annotation, text)| (annotation.to_owned(), text))
    .collect()
}

#[cfg(test)]
mod tests;
