//! Engine `job`: a Kubernetes Job with the workflow's image, parameters as environment variables.

mod read;

pub use read::read;

use api::workflow_execution::WorkflowExecution;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EnvVar, PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile,
    SecurityContext,
};

use super::child::{Place, described, parameters};

/// Name of the container that runs the workflow.
pub const CONTAINER: &str = "workflow";

/// The Job that runs `execution`.
pub fn build(execution: &WorkflowExecution, place: &Place) -> Job {
    let pod = PodSpec {
        containers: vec![container(execution)],
        restart_policy: Some("Never".to_owned()),
        service_account_name: Some(place.service_account(execution)),
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
    let template = PodTemplateSpec { metadata: Some(described(execution)), spec: Some(pod) };
    let spec = JobSpec {
        // A workflow that failed may have acted: it is never simply run again.
        backoff_limit: Some(0),
        active_deadline_seconds: Some(place.timeout(execution).as_secs().max(1)),
        template,
        ..JobSpec::default()
    };
    Job { metadata: place.metadata(execution), spec: Some(spec), status: None }
}

fn container(execution: &WorkflowExecution) -> Container {
    let env = parameters(execution)
        .map(|(name, value)| {
            // Unchanged also where it looks like a reference to another variable.
            let value = Some(value.replace("$(", "$$("));
            EnvVar { name: name.to_owned(), value, value_from: None }
        })
        .collect();
    Container {
        name: CONTAINER.to_owned(),
        image: Some(execution.spec.workflow_ref.container_image.clone()),
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

#[cfg(test)]
mod tests;
