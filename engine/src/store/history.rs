//! The last changes of one collection, from which watches resume.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Object;

/// What happened to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was created.
    Added,
    /// It was written again.
    Modified,
    /// It was removed.
    Deleted,
}

/// One write, as watches see it.
#[derive(Debug, Clone)]
pub struct Event {
    /// The store's revision after the write.
    pub revision: u64,
    /// What the write did.
    pub change: Change,
    /// The object after the write; for a deletion its last state, at the deletion's revision.
    pub object: Arc<Object>,
    /// The object before the write: tells whether it entered or left a selection.
    pub previous: Option<Arc<Object>>,
}

/// The revision asked for is older than the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// The oldest revision from which a watch can still start.
    pub oldest: u64,
}

/// A bounded queue of events in revision order.
pub(super) struct History {
    events: VecDeque<Event>,
    limit: usize,
    /// Revision of the newest event that was dropped.
    compacted: u64,
}

impl History {
    pub(super) fn new(limit: usize) -> Self {
        Self { events: VecDeque::new(), limit, compacted: 0 }
    }

    pub(super) fn push(&mut self, event: Event) {
        while self.events.len() >= self.limit {
            match self.events.pop_front() {
                Some(dropped) => self.compacted = dropped.revision,
                None => break,
            }
        }
        self.events.push_back(event);
    }

    pub(super) fn after(&self, revision: u64) -> Result<Vec<Event>, Expired> {
        if revision < self.compacted {
            return Err(Expired { oldest: self.compacted });
        }
        let start = self.events.partition_point(|event| event.revision <= revision);
        Ok(self.events.iter().skip(start).cloned().collect())
    }

    pub(super) fn compact(&mut self, revision: u64) {
        self.events.clear();
        self.compacted = revision;
    }
}
