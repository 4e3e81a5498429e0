//! Blanking out personal data in an export: mail addresses, IPv4 addresses, telephone numbers, and fields whose name says so.

use std::sync::LazyLock;

use api::audit::AuditEvent;
use regex::Regex;
use serde_json::Value;

/// What is there instead.
const BLANK: &str = "[redacted]";

/// Members of a payload that hold personal data whatever it looks like.
const FIELDS: [&str; 10] = [
    "email",
    "user_email",
    "cancelled_by",
    "phone",
    "phone_number",
    "source_ip",
    "client_ip",
    "recipient",
    "recipients",
    "user_groups",
];

/// Mail addresses, then IPv4 addresses, then telephone numbers in international form.
static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+",
        r"\b(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}\b",
        r"\+\d[\d ()/-]{6,}\d",
    ]
    .into_iter()
    .filter_map(|pattern| Regex::new(pattern).ok())
    .collect()
});

/// `event` without personal data. What the audit trail is about stays: who acted, unless the name is a mail address.
pub fn event(mut event: AuditEvent) -> AuditEvent {
    for text in [&mut event.actor_id, &mut event.resource_id] {
        *text = self::text(text);
    }
    for (name, value) in &mut event.event_data {
        member(name, value);
    }
    event
}

/// `text` without personal data.
pub fn text(text: &str) -> String {
    PATTERNS.iter().fold(text.to_owned(), |text, pattern| pattern.replace_all(&text, BLANK).into_owned())
}

fn member(name: &str, value: &mut Value) {
    match FIELDS.contains(&name) {
        true => blank(value),
        false => self::value(value),
    }
}

/// Lists and objects keep their shape, which the contract prescribes.
fn blank(value: &mut Value) {
    match value {
        Value::Null => {}
        Value::Array(items) => items.iter_mut().for_each(blank),
        Value::Object(members) => members.iter_mut().for_each(|(_, value)| blank(value)),
        Value::String(_) | Value::Number(_) | Value::Bool(_) => *value = BLANK.into(),
    }
}

fn value(value: &mut Value) {
    match value {
        Value::String(found) => *found = text(found),
        Value::Array(items) => items.iter_mut().for_each(self::value),
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| member(name, value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn personal_data_is_blanked_and_the_rest_stays() {
        for (given, expected) in [
            ("mail alice@example.com now", "mail [redacted] now"),
            ("from 10.0.0.255:80", "from [redacted]:80"),
            ("version 1.2.3 and 300.1.1.1", "version 1.2.3 and 300.1.1.1"),
            ("call +49 (30) 1234-567", "call [redacted]"),
            ("replicas 12345678", "replicas 12345678"),
            ("system:serviceaccount:a:b", "system:serviceaccount:a:b"),
        ] {
            assert_eq!(text(given), expected);
        }
    }

    #[test]
    fn every_pattern_is_one() {
        assert_eq!(PATTERNS.len(), 3);
    }

    #[test]
    fn fields_are_blanked_by_their_name_wherever_they_are() {
        let mut sent = crate::event::tests::stored_event(1);
        sent.actor_id = "bob@example.com".into();
        sent.event_data.insert("outer".into(), json!([{"phone_number": 123, "note": "x@example.org"}]));
        sent.event_data.insert("recipients".into(), json!([{"slack": "#ops"}]));
        let blanked = event(sent);
        assert_eq!(blanked.actor_id, BLANK);
        assert_eq!(blanked.event_data["outer"], json!([{"phone_number": BLANK, "note": BLANK}]));
        assert_eq!(blanked.event_data["recipients"], json!([{"slack": BLANK}]));
        assert_eq!(blanked.event_data["alert_name"], "a");
    }
}
