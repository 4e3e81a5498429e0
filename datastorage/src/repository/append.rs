//! Deciding what a batch adds: pure, whatever the database.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};

use api::audit::AuditEvent;
use serde_json::Value;
use uuid::Uuid;

use super::{WriteError, Written};
use crate::chain::ChainedEvent;

/// What the database holds that matters to a batch.
#[derive(Debug, Default)]
pub(super) struct Present {
    /// Events that have an id of the batch.
    pub(super) events: HashMap<Uuid, AuditEvent>,
    /// Ids among the batch's parents that are stored.
    pub(super) parents: HashSet<Uuid>,
    /// Newest hash of each correlation of the batch that has one.
    pub(super) heads: HashMap<String, String>,
}

/// What to insert, and what to answer.
#[derive(Debug)]
pub(super) struct Append {
    /// In the order of the batch.
    pub(super) insert: Vec<ChainedEvent>,
    /// One for each event of the batch.
    pub(super) written: Vec<Written>,
}

/// Correlations of the batch.
pub(super) fn correlations(batch: &[AuditEvent]) -> BTreeSet<&str> {
    batch.iter().map(|event| event.correlation_id.as_str()).collect()
}

/// Parents of the batch.
pub(super) fn parents(batch: &[AuditEvent]) -> BTreeSet<Uuid> {
    batch.iter().filter_map(|event| event.parent_event_id).collect()
}

/// Skips what is stored already, refuses what contradicts it, and chains the rest.
pub(super) fn plan(batch: Vec<AuditEvent>, mut present: Present) -> Result<Append, WriteError> {
    let own_ids: HashSet<Uuid> = batch.iter().map(|event| event.event_id).collect();
    let mut append = Append { insert: Vec::new(), written: Vec::with_capacity(batch.len()) };
    for (index, event) in batch.into_iter().enumerate() {
        let event_id = event.event_id;
        if let Some(parent) = event.parent_event_id
            && !own_ids.contains(&parent)
            && !present.parents.contains(&parent)
        {
            return Err(WriteError::UnknownParent { index, parent });
        }
        let created = match present.events.entry(event_id) {
            Entry::Occupied(stored) if *stored.get() == event => false,
            Entry::Occupied(stored) => {
                let differing = differing_members(stored.get(), &event);
                return Err(WriteError::Conflict { index, event_id, differing });
            }
            Entry::Vacant(vacant) => {
                let head = present.heads.entry(event.correlation_id.clone()).or_default();
                let chained = ChainedEvent::after(head.clone(), event.clone());
                head.clone_from(&chained.hash);
                append.insert.push(chained);
                vacant.insert(event);
                true
            }
        };
        append.written.push(Written { event_id, created });
    }
    Ok(append)
}

fn differing_members(stored: &AuditEvent, sent: &AuditEvent) -> Vec<String> {
    let members = |event| match serde_json::to_value(event) {
        Ok(Value::Object(members)) => members,
        _ => serde_json::Map::new(),
    };
    let (stored, sent) = (members(stored), members(sent));
    let names: BTreeSet<&String> = stored.keys().chain(sent.keys()).collect();
    names.into_iter().filter(|name| stored.get(*name) != sent.get(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::tampered;
    use crate::event::tests::stored_event;

    #[test]
    fn a_batch_is_chained_per_correlation_in_its_order() {
        let mut other = stored_event(2);
        other.correlation_id = "rr-2".into();
        let heads = HashMap::from([("rr-1".to_owned(), "head".to_owned())]);
        let batch = vec![stored_event(1), other, stored_event(3)];
        let append = plan(batch, Present { heads, ..Present::default() }).unwrap();
        let previous: Vec<&str> = append.insert.iter().map(|link| link.previous_hash.as_str()).collect();
        assert_eq!(previous, ["head", "", append.insert[0].hash.as_str()]);
        assert!(append.written.iter().all(|written| written.created));
        assert_eq!(tampered(&append.insert[1..2]), []);
    }

    #[test]
    fn what_is_stored_already_is_answered_and_not_inserted() {
        let events = HashMap::from([(stored_event(1).event_id, stored_event(1))]);
        let batch = vec![stored_event(1), stored_event(2), stored_event(2)];
        let append = plan(batch, Present { events, ..Present::default() }).unwrap();
        let created: Vec<bool> = append.written.iter().map(|written| written.created).collect();
        assert_eq!(created, [false, true, false]);
        assert_eq!(append.insert.len(), 1);
    }

    #[test]
    fn the_same_id_with_other_content_is_a_conflict_that_names_the_members() {
        let mut changed = stored_event(1);
        changed.event_action = "deleted".into();
        changed.namespace = Some("default".into());
        let error = plan(vec![stored_event(1), changed], Present::default()).unwrap_err();
        let WriteError::Conflict { index, event_id, differing } = error else { panic!("{error}") };
        assert_eq!((index, event_id), (1, stored_event(1).event_id));
        assert_eq!(differing, ["event_action", "namespace"]);
    }

    #[test]
    fn a_parent_must_be_stored_or_in_the_batch() {
        let child = |id, parent| {
            let mut event = stored_event(id);
            event.parent_event_id = Some(Uuid::from_u128(parent));
            event
        };
        assert!(plan(vec![child(2, 1), stored_event(1)], Present::default()).is_ok());
        let parents = HashSet::from([Uuid::from_u128(1)]);
        assert!(plan(vec![child(2, 1)], Present { parents, ..Present::default() }).is_ok());
        let error = plan(vec![stored_event(3), child(2, 1)], Present::default()).unwrap_err();
        assert!(matches!(error, WriteError::UnknownParent { index: 1, .. }), "{error}");
    }
}
