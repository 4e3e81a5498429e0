//! The hash chain of a correlation: each event's hash covers the event and its predecessor's hash, in the order of
//! acceptance, so that a change, a removal or an insertion in the middle shows.

use std::fmt::Write;

use api::audit::{AuditEvent, TamperedEvent};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// An event with its place in the chain of its correlation.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainedEvent {
    /// The event as it is stored and returned.
    pub event: AuditEvent,
    /// [`event_hash`] of it.
    pub hash: String,
    /// Its predecessor's hash; empty for the first of its correlation.
    pub previous_hash: String,
}

impl ChainedEvent {
    /// `event` as the successor of the one whose hash is `previous_hash`.
    pub fn after(previous_hash: String, event: AuditEvent) -> Self {
        let hash = event_hash(&previous_hash, &event);
        Self { event, hash, previous_hash }
    }
}

/// Hex SHA-256 of the previous hash's text followed by the event as JSON with sorted keys.
pub fn event_hash(previous_hash: &str, event: &AuditEvent) -> String {
    let mut text = String::from(previous_hash);
    // An event is made of text, numbers and JSON: it always has a JSON form.
    write_canonical(&serde_json::to_value(event).unwrap_or_default(), &mut text);
    hex(&Sha256::digest(text.as_bytes()))
}

/// JSON with sorted keys and no blanks.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Independent of how a database orders an object's members.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                let _ = write!(out, "{}:", Value::String(name.clone()));
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        scalar => {
            let _ = write!(out, "{scalar}");
        }
    }
}

/// The events of one correlation, in the order of acceptance, that are not as they were accepted.
pub fn tampered(chain: &[ChainedEvent]) -> Vec<TamperedEvent> {
    let mut predecessor = "";
    let mut tampered = Vec::new();
    for link in chain {
        let expected = event_hash(&link.previous_hash, &link.event);
        let message = if link.previous_hash != predecessor {
            Some("its predecessor was changed, removed or added later")
        } else if link.hash != expected {
            Some("its content was changed")
        } else {
            None
        };
        tampered.extend(message.map(|message| TamperedEvent {
            event_id: link.event.event_id,
            expected_hash: expected,
            actual_hash: link.hash.clone(),
            previous_hash: link.previous_hash.clone(),
            message: message.to_owned(),
        }));
        predecessor = &link.hash;
    }
    tampered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::tests::stored_event;

    fn chain(length: u128) -> Vec<ChainedEvent> {
        (0..length).fold(Vec::new(), |mut chain: Vec<ChainedEvent>, id| {
            let previous = chain.last().map(|link| link.hash.clone()).unwrap_or_default();
            chain.push(ChainedEvent::after(previous, stored_event(id)));
            chain
        })
    }

    #[test]
    fn an_untouched_chain_is_valid() {
        assert_eq!(tampered(&chain(5)), []);
        assert_eq!(tampered(&[]), []);
    }

    #[test]
    fn changes_removals_and_insertions_show_where_they_are() {
        let broken = |edit: fn(&mut Vec<ChainedEvent>)| -> Vec<u128> {
            let mut chain = chain(4);
            edit(&mut chain);
            tampered(&chain).into_iter().map(|event| event.event_id.as_u128()).collect()
        };
        assert_eq!(broken(|chain| chain[1].event.event_action = "x".into()), [1]);
        assert_eq!(broken(|chain| drop(chain[2].event.event_data.insert("x".into(), 1.into()))), [2]);
        assert_eq!(broken(|chain| drop(chain.remove(1))), [2]);
        assert_eq!(broken(|chain| chain.swap(1, 2)), [2, 1, 3]);
        let rehashed = broken(|chain| {
            chain[1].event.event_action = "x".into();
            chain[1] = ChainedEvent::after(chain[1].previous_hash.clone(), chain[1].event.clone());
        });
        assert_eq!(rehashed, [2]);
    }

    #[test]
    fn the_order_of_members_does_not_matter() {
        let mut event = stored_event(1);
        let hash = event_hash("", &event);
        event.event_data = event.event_data.into_iter().rev().collect();
        assert_eq!(event_hash("", &event), hash);
        assert_ne!(event_hash("00", &event), hash);
    }
}
