//! Kubernetes events. Each has a name of its own, derived from what it says: told again after a crash, it is the same event.

use api::names::GROUP;
use api::workflow_execution::WorkflowExecution;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Resource, ResourceExt};
use uuid::Uuid;

use crate::chain;
use crate::outbox::event::ACTOR;
use crate::reconcile::decide::Note;
use crate::reconcile::{Context, key};

/// Longest text Kubernetes takes.
const TEXT_MAX: usize = 1000;
/// Longest name of an object.
const NAME_MAX: usize = 253;

/// Publishes `note`. People can do without an event: whatever happens, the execution goes on.
pub(super) async fn publish(context: &Context, execution: &WorkflowExecution, note: Note) {
    tracing::info!(reason = note.reason, text = note.text);
    let event = event(execution, &note, &context.identity, Timestamp::now());
    let api = Api::<Event>::namespaced(context.client.clone(), &execution.namespace().unwrap_or_default());
    match api.create(&PostParams::default(), &event).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
        Err(error) => {
            tracing::warn!(
                execution = key(execution),
                reason = note.reason,
                error = %chain(&error),
                "failed to publish a Kubernetes event"
            );
        }
    }
}

fn event(execution: &WorkflowExecution, note: &Note, instance: &str, now: Timestamp) -> Event {
    let namespace = execution.namespace().unwrap_or_default();
    let seed = format!("{}/{}/{}", execution.uid().unwrap_or_default(), note.reason, note.text);
    let id =
        Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("{GROUP}/events/{seed}").as_bytes()).simple().to_string();
    let name: String = execution.name_any().chars().take(NAME_MAX - 1 - id.len()).collect();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{id}", name.trim_end_matches(['.', '-']))),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        action: Some("Reconcile".to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(note.text.chars().take(TEXT_MAX).collect()),
        reason: Some(note.reason.to_owned()),
        regarding: Some(ObjectReference { resource_version: None, ..execution.object_ref(&()) }),
        reporting_controller: Some(ACTOR.to_owned()),
        reporting_instance: Some(instance.to_owned()),
        type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn execution(name: &str) -> WorkflowExecution {
        serde_json::from_value(json!({
            "apiVersion": "kubernaut.ai/v1alpha1", "kind": "WorkflowExecution",
            "metadata": {"name": name, "namespace": "ops", "uid": "u-we"},
            "spec": {
                "remediationRequestRef": {},
                "workflowRef": {"workflowId": "w", "version": "1", "containerImage": "i"},
                "targetResource": "prod/deployment/web",
            },
        }))
        .unwrap()
    }

    fn note(text: &str) -> Note {
        Note { warning: true, reason: "WorkflowFailed", text: text.into() }
    }

    #[test]
    fn the_same_news_twice_is_one_event() {
        let name = |name: &str, text: &str, instance: &str| {
            let event = event(&execution(name), &note(text), instance, Timestamp::now());
            event.metadata.name.unwrap()
        };
        assert_eq!(
            name("we", "disk full", "a"),
            name("we", "disk full", "b"),
            "also told by another process"
        );
        assert_ne!(name("we", "disk full", "a"), name("we", "no space", "a"));
        let long = name(&format!("{}.{}", "x".repeat(219), "y".repeat(33)), "disk full", "a");
        assert!(long.len() <= NAME_MAX && !long.contains(".."), "{long}");
    }

    #[test]
    fn an_event_is_about_its_execution_and_of_a_size_that_is_accepted() {
        let event = event(&execution("we"), &note(&"long ".repeat(500)), "pod-1", Timestamp::now());
        assert_eq!(event.note.unwrap().chars().count(), TEXT_MAX);
        let regarding = event.regarding.unwrap();
        assert_eq!(
            (regarding.kind.as_deref(), regarding.uid.as_deref()),
            (Some("WorkflowExecution"), Some("u-we"))
        );
        assert_eq!(event.type_.as_deref(), Some("Warning"));
    }
}
