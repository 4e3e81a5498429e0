//! What is generated from the types and committed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::notification_request::NotificationRequest;
use crate::remediation_approval_request::RemediationApprovalRequest;
use crate::workflow_execution::WorkflowExecution;

/// The command that writes the generated files.
pub const REFRESH_COMMAND: &str = "cargo xtask codegen";

/// Every custom resource with the source of its types.
fn definitions() -> [(CustomResourceDefinition, &'static str); 3] {
    [
        (WorkflowExecution::crd(), "workflow_execution"),
        (RemediationApprovalRequest::crd(), "remediation_approval_request"),
        (NotificationRequest::crd(), "notification_request"),
    ]
}

/// The CustomResourceDefinition of the resource called `plural` as YAML; `None` if there is no such resource.
pub fn crd_yaml(plural: &str) -> Option<Result<String, serde_saphyr::ser_error::Error>> {
    let (definition, source) =
        definitions().into_iter().find(|(definition, _)| definition.spec.names.plural == plural)?;
    let header = format!("# Generated from api/src/{source}.rs by `{REFRESH_COMMAND}`.\n");
    Some(serde_saphyr::to_string(&definition).map(|body| header + &body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_definitions_are_what_the_types_say() {
        for (plural, committed) in [
            ("workflowexecutions", include_str!("../../manifests/crds/workflowexecutions.kubernaut.ai.yaml")),
            (
                "remediationapprovalrequests",
                include_str!("../../manifests/crds/remediationapprovalrequests.kubernaut.ai.yaml"),
            ),
            (
                "notificationrequests",
                include_str!("../../manifests/crds/notificationrequests.kubernaut.ai.yaml"),
            ),
        ] {
            let printed = crd_yaml(plural).map(Result::unwrap);
            assert!(printed.as_deref() == Some(committed), "{plural}: run `{REFRESH_COMMAND}`");
        }
        assert!(crd_yaml("teapots").is_none());
    }
}
