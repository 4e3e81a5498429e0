//! Putting the story of a remediation together from its events. Pure.

use api::audit::{
    AuditEvent, EventCategory, EventOutcome, Timeline, TimelineEntry, TimelineStage, TimelineState,
};
use serde_json::Value;

use crate::chain::{ChainedEvent, tampered};

/// An end, and the beginning that must be in the trail before it.
const BEGINNINGS: [(&str, &str); 6] = [
    ("workflowexecution.execution.started", "workflowexecution.selection.completed"),
    ("workflowexecution.workflow.completed", "workflowexecution.execution.started"),
    ("orchestrator.lifecycle.completed", "orchestrator.lifecycle.started"),
    ("orchestrator.lifecycle.failed", "orchestrator.lifecycle.started"),
    ("orchestrator.approval.approved", "orchestrator.approval.requested"),
    ("orchestrator.approval.rejected", "orchestrator.approval.requested"),
];

/// Events after which a remediation stands where they say.
const ENDS: [(&str, TimelineState); 4] = [
    ("workflowexecution.workflow.completed", TimelineState::Completed),
    ("workflowexecution.workflow.failed", TimelineState::Failed),
    ("orchestrator.lifecycle.completed", TimelineState::Completed),
    ("orchestrator.lifecycle.failed", TimelineState::Failed),
];

/// Members of a payload that tell most, the most telling first.
const TELLING: [&str; 8] = [
    "failure_message",
    "clear_reason",
    "decision_message",
    "alert_name",
    "workflow_id",
    "notification_name",
    "signal",
    "rr_name",
];

/// The story that `chain`, all events of a correlation in the order of acceptance, tells; `None` without any.
pub fn reconstruct(correlation_id: &str, chain: &[ChainedEvent]) -> Option<Timeline> {
    let mut events: Vec<&AuditEvent> = chain.iter().map(|link| &link.event).collect();
    // Stable: what happened in the same microsecond stays in the order of acceptance.
    events.sort_by_key(|event| event.event_timestamp);
    let (first, last) = (events.first()?, events.last()?);
    let millis = |event: &AuditEvent| {
        i64::try_from(event.event_timestamp.duration_since(first.event_timestamp).as_millis())
            .unwrap_or(i64::MAX)
    };
    let state = events
        .iter()
        .rev()
        .find_map(|event| ENDS.iter().find(|(end, _)| *end == event.event_type).map(|(_, state)| *state));
    let mut people = Vec::new();
    for event in events.iter().filter(|event| event.actor_type == "user") {
        if !people.contains(&event.actor_id) {
            people.push(event.actor_id.clone());
        }
    }
    Some(Timeline {
        correlation_id: correlation_id.to_owned(),
        started_at: first.event_timestamp,
        ended_at: last.event_timestamp,
        duration_ms: millis(last),
        state: state.unwrap_or(TimelineState::Running),
        entries: events.iter().map(|event| entry(event, millis(event))).collect(),
        stages: stages(&events),
        people,
        gaps: gaps(&events),
        chain_valid: tampered(chain).is_empty(),
    })
}

fn entry(event: &AuditEvent, offset_ms: i64) -> TimelineEntry {
    let telling = TELLING.iter().find_map(|member| event.event_data.get(*member).and_then(Value::as_str));
    let what = event.event_type.replace('.', " ");
    TimelineEntry {
        event_id: event.event_id,
        at: event.event_timestamp,
        offset_ms,
        category: event.event_category,
        event_type: event.event_type.clone(),
        outcome: event.event_outcome,
        actor: format!("{}/{}", event.actor_type, event.actor_id),
        resource: format!("{}/{}", event.resource_type, event.resource_id),
        summary: telling.map_or_else(|| what.clone(), |telling| format!("{what}: {telling}")),
    }
}

fn stages(events: &[&AuditEvent]) -> Vec<TimelineStage> {
    let mut stages: Vec<TimelineStage> = Vec::new();
    for event in events {
        let at = event.event_timestamp;
        let category: EventCategory = event.event_category;
        let index = stages.iter().position(|stage| stage.category == category).unwrap_or_else(|| {
            stages.push(TimelineStage { category, started_at: at, ended_at: at, events: 0, failures: 0 });
            stages.len() - 1
        });
        if let Some(stage) = stages.get_mut(index) {
            stage.ended_at = at;
            stage.events += 1;
            stage.failures += u64::from(event.event_outcome == EventOutcome::Failure);
        }
    }
    stages
}

/// Ends without a beginning, for each object by itself.
fn gaps(events: &[&AuditEvent]) -> Vec<String> {
    let mut gaps = Vec::new();
    for (nth, event) in events.iter().enumerate() {
        for (_, beginning) in BEGINNINGS.iter().filter(|(end, _)| *end == event.event_type) {
            let before = events.iter().take(nth + 1);
            let begun = before
                .into_iter()
                .any(|other| other.event_type == *beginning && other.resource_id == event.resource_id);
            if !begun {
                gaps.push(format!(
                    "{} of `{}` has no `{beginning}` before it",
                    event.event_type, event.resource_id
                ));
            }
        }
    }
    gaps
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(id: u128, second: u32, event_type: &str, resource: &str, actor: &str) -> AuditEvent {
        let mut event = crate::event::tests::stored_event(id);
        event.event_type = event_type.to_owned();
        event.event_timestamp = format!("2026-01-10T12:00:{second:02}Z").parse().unwrap();
        event.event_category = match event_type.split('.').next() {
            Some("workflowexecution") => EventCategory::WorkflowExecution,
            _ => EventCategory::Gateway,
        };
        event.event_outcome =
            if event_type.ends_with("failed") { EventOutcome::Failure } else { EventOutcome::Success };
        event.resource_id = resource.to_owned();
        let (kind, name) = actor.split_once('/').unwrap();
        (event.actor_type, event.actor_id) = (kind.to_owned(), name.to_owned());
        event
    }

    fn chain(events: Vec<AuditEvent>) -> Vec<ChainedEvent> {
        events.into_iter().fold(Vec::new(), |mut chain: Vec<ChainedEvent>, event| {
            let previous = chain.last().map(|link| link.hash.clone()).unwrap_or_default();
            chain.push(ChainedEvent::after(previous, event));
            chain
        })
    }

    fn story() -> Vec<AuditEvent> {
        let mut failed = event(4, 9, "workflowexecution.workflow.failed", "we-1", "service/controller");
        failed.event_data = json!({"failure_message": "the disk is full"}).as_object().cloned().unwrap();
        vec![
            event(1, 1, "gateway.signal.received", "s", "service/gateway"),
            failed,
            event(2, 2, "workflowexecution.selection.completed", "we-1", "service/controller"),
            event(3, 3, "workflowexecution.execution.started", "we-1", "service/controller"),
            event(5, 20, "workflowexecution.block.cleared", "we-1", "user/alice"),
        ]
    }

    #[test]
    fn a_story_is_told_in_the_order_things_happened() {
        let told = reconstruct("rr-1", &chain(story())).unwrap();
        let order: Vec<u128> = told.entries.iter().map(|entry| entry.event_id.as_u128()).collect();
        assert_eq!(order, [1, 2, 3, 4, 5]);
        assert_eq!((told.duration_ms, told.state, told.chain_valid), (19_000, TimelineState::Failed, true));
        assert_eq!(told.people, ["alice"]);
        assert_eq!(told.gaps, Vec::<String>::new());
        assert_eq!(told.entries[3].summary, "workflowexecution workflow failed: the disk is full");
        let stages: Vec<(EventCategory, u64, u64)> =
            told.stages.iter().map(|stage| (stage.category, stage.events, stage.failures)).collect();
        assert_eq!(stages, [(EventCategory::Gateway, 1, 0), (EventCategory::WorkflowExecution, 4, 1)]);
    }

    #[test]
    fn an_end_without_a_beginning_is_a_gap() {
        let told = reconstruct(
            "rr-1",
            &chain(vec![
                event(1, 1, "workflowexecution.execution.started", "we-2", "service/controller"),
                event(2, 2, "workflowexecution.workflow.completed", "we-1", "service/controller"),
            ]),
        )
        .unwrap();
        assert_eq!(told.state, TimelineState::Completed);
        assert_eq!(told.gaps.len(), 2, "{:?}", told.gaps);
        assert!(
            told.gaps[1].contains("`we-1` has no `workflowexecution.execution.started`"),
            "{:?}",
            told.gaps
        );
    }

    #[test]
    fn without_events_there_is_no_story_and_a_changed_event_shows() {
        assert_eq!(reconstruct("rr-1", &[]), None);
        let mut changed = chain(story());
        changed[1].event.actor_id = "mallory".into();
        assert!(!reconstruct("rr-1", &changed).unwrap().chain_valid);
    }
}
