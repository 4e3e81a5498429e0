//! What the children of every engine have in common: the name that is the lock, whose they are, what they are told.

use std::collections::BTreeMap;

use api::names;
use api::workflow_execution::{ExecutionConfig, WorkflowExecution};
use jiff::SignedDuration;
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};

/// The parameter every workflow gets besides its own.
pub const TARGET: &str = "TARGET_RESOURCE";

/// Engines count in whole seconds.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);

/// Where and as whom workflows run, unless an execution says otherwise.
#[derive(Clone, Debug)]
pub struct Place {
    /// Namespace of the children.
    pub namespace: String,
    /// ServiceAccount of their pods.
    pub service_account: String,
    /// Longest run.
    pub timeout: SignedDuration,
}

impl Place {
    /// Longest run of `execution`; never none at all, which some engines take for no limit.
    pub fn timeout(&self, execution: &WorkflowExecution) -> SignedDuration {
        let own = config(execution).and_then(|config| config.timeout.as_deref());
        own.and_then(|text| api::duration::parse(text).ok()).unwrap_or(self.timeout).max(SHORTEST)
    }

    /// ServiceAccount of `execution`.
    pub fn service_account(&self, execution: &WorkflowExecution) -> String {
        let own = config(execution).and_then(|config| config.service_account_name.clone());
        own.filter(|name| !name.is_empty()).unwrap_or_else(|| self.service_account.clone())
    }

    /// Metadata of the child of `execution`. Its name is the lock on the target.
    pub fn metadata(&self, execution: &WorkflowExecution) -> ObjectMeta {
        ObjectMeta {
            name: Some(names::child_name(&execution.spec.target_resource)),
            namespace: Some(self.namespace.clone()),
            ..described(execution)
        }
    }
}

fn config(execution: &WorkflowExecution) -> Option<&ExecutionConfig> {
    execution.spec.execution_config.as_ref()
}

/// Labels and annotations alone: whose child it is.
pub fn described(execution: &WorkflowExecution) -> ObjectMeta {
    ObjectMeta {
        labels: Some(labels(execution)),
        annotations: Some(annotations(execution)),
        ..ObjectMeta::default()
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

/// What the workflow is told, in a fixed order. The target last: a parameter of the same name must not misdirect the workflow.
pub fn parameters(execution: &WorkflowExecution) -> impl Iterator<Item = (&str, &str)> {
    let spec = &execution.spec;
    let own = spec.parameters.iter().filter(|(name, _)| *name != TARGET);
    own.map(|(name, value)| (name.as_str(), value.as_str())).chain([(TARGET, spec.target_resource.as_str())])
}

/// Namespace, name and uid of the execution that `child` says it runs for.
pub fn owner<K: Resource>(child: &K) -> Option<(&str, &str, &str)> {
    let annotations = child.annotations();
    let namespace = child.labels().get(names::LABEL_SOURCE_NAMESPACE)?;
    let name = annotations.get(names::ANNOTATION_EXECUTION)?;
    let uid = annotations.get(names::ANNOTATION_EXECUTION_UID)?;
    Some((namespace, name, uid))
}
