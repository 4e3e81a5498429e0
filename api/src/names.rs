//! Names that several processes must derive in the same way: children, labels, annotations, the finalizer.

use k8s_openapi::api::core::v1::ObjectReference;
use sha2::{Digest, Sha256};

/// API group of the product's custom resources and prefix of its labels.
pub const GROUP: &str = "kubernaut.ai";
/// Namespace in which executions run unless configured otherwise.
pub const EXECUTION_NAMESPACE: &str = "kubernaut-workflows";
/// Namespace of the services.
pub const SYSTEM_NAMESPACE: &str = "kubernaut-system";
/// Held by an execution until its child is gone and its audit trail is stored.
pub const FINALIZER: &str = "workflowexecution.kubernaut.ai/workflowexecution-cleanup";

/// Label of a child: name of the `WorkflowExecution` it runs for.
pub const LABEL_EXECUTION: &str = "kubernaut.ai/workflow-execution";
/// Label of a child: namespace of the `WorkflowExecution` it runs for.
pub const LABEL_SOURCE_NAMESPACE: &str = "kubernaut.ai/source-namespace";
/// Label of a child: catalog key of the workflow.
pub const LABEL_WORKFLOW_ID: &str = "kubernaut.ai/workflow-id";
/// Label of a child: what it acts on, made label-safe.
pub const LABEL_TARGET: &str = "kubernaut.ai/target-resource";
/// Annotation of a child: what it acts on, exactly as written in the execution.
pub const ANNOTATION_TARGET: &str = "kubernaut.ai/target-resource";
/// Annotation of a child: uid of the `WorkflowExecution` it runs for. Decides ownership.
pub const ANNOTATION_EXECUTION_UID: &str = "kubernaut.ai/workflow-execution-uid";
/// Annotation of a child: name of the `WorkflowExecution`, where the label had to be shortened.
pub const ANNOTATION_EXECUTION: &str = "kubernaut.ai/workflow-execution";

/// Longest value Kubernetes accepts for a label.
const LABEL_VALUE_MAX: usize = 63;

/// The child's name for `target`: `wfe-` and the first 16 hex digits of the target's SHA-256.
///
/// Equal targets give equal names, so that creating the child takes the lock on the target.
pub fn child_name(target: &str) -> String {
    format!("wfe-{}", hex_prefix(target, 16))
}

/// `text` as a valid label value. A valid value stays as it is; any other is made valid and gets eight hex digits of its
/// hash, so that two different texts never share a label value.
pub fn label_value(text: &str) -> String {
    if is_label_value(text) {
        return text.to_owned();
    }
    let readable: String = text
        .replace('/', "__")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .take(LABEL_VALUE_MAX - 9)
        .collect();
    let readable = readable.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let hash = hex_prefix(text, 8);
    if readable.is_empty() { hash } else { format!("{readable}-{hash}") }
}

fn is_label_value(text: &str) -> bool {
    let alphanumeric = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= LABEL_VALUE_MAX
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn hex_prefix(text: &str, digits: usize) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .take(digits)
        .map(hex_digit)
        .collect()
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0')
}

/// What ties the audit events of a remediation together: the name of the request that `reference` means, or `own`, the name of
/// the object that refers to it.
pub(crate) fn correlation_id(reference: &ObjectReference, own: Option<&str>) -> String {
    let request = reference.name.as_deref().filter(|name| !name.is_empty());
    request.or(own).unwrap_or_default().chars().take(255).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn child_name_is_the_prefix_of_the_targets_hash() {
        for (target, expected) in [
            ("default/deployment/nginx", "wfe-f3457dcc8fbcb6d9"),
            ("payment/deployment/payment-api", "wfe-cf0cc089293b1165"),
            ("node/worker-node-1", "wfe-ac45b7d6911e97a5"),
        ] {
            assert_eq!(child_name(target), expected);
        }
    }

    #[test]
    fn label_values_are_always_valid_and_distinct() {
        let long_a = format!("{}a", "x".repeat(80));
        let long_b = format!("{}b", "x".repeat(80));
        let texts = ["", "plain", "a/b/c", "a__b__c", "ends-with-", "späße", "///", &long_a, &long_b];
        let mut values: Vec<String> = texts.iter().map(|text| label_value(text)).collect();
        assert!(values.iter().all(|value| is_label_value(value)), "{values:?}");
        assert_eq!(values[1], "plain");
        assert!(values[2].starts_with("a__b__c-"), "{values:?}");
        values.sort();
        values.dedup();
        assert_eq!(values.len(), texts.len());
    }
}
