//! What is generated from the types and committed.

use kube::CustomResourceExt;

use crate::workflow_execution::WorkflowExecution;

/// The command that writes the generated files.
pub const REFRESH_COMMAND: &str = "cargo xtask codegen";

/// The CustomResourceDefinition of `WorkflowExecution` as YAML.
pub fn crd_yaml() -> Result<String, serde_saphyr::ser_error::Error> {
    let body = serde_saphyr::to_string(&WorkflowExecution::crd())?;
    Ok(format!("# Generated from api/src/workflow_execution.rs by `{REFRESH_COMMAND}`.\n{body}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_definition_is_what_the_types_say() {
        let committed = include_str!("../../manifests/crds/workflowexecutions.kubernaut.ai.yaml");
        assert!(committed == crd_yaml().unwrap(), "run `{REFRESH_COMMAND}`");
    }
}
