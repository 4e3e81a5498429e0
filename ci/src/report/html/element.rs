//! Text that goes into the page.

/// Text as it is.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\x1b' => {}
            other => escaped.push(other),
        }
    }
    escaped
}

/// A sentence whose words in backticks are code.
pub(super) fn prose(text: &str) -> String {
    let escaped = escape(text);
    if escaped.matches('`').count() % 2 == 1 {
        return escaped;
    }
    let mut prose = String::with_capacity(escaped.len());
    for (position, part) in escaped.split('`').enumerate() {
        match position % 2 {
            0 => prose.push_str(part),
            _ => {
                prose.push_str("<code>");
                prose.push_str(part);
                prose.push_str("</code>");
            }
        }
    }
    prose
}
