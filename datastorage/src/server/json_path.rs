//! Where in a JSON document a position is: `event_data.items[3].name` instead of "line 1 column 4711".

/// The path of the value that ends at or contains the byte before `offset`.
pub(super) fn path_at(text: &str, offset: usize) -> String {
    let bytes = text.as_bytes();
    let end = offset.min(bytes.len());
    let mut stack: Vec<Step> = Vec::new();
    let mut expects_key = false;
    let mut at = 0;
    while at < end {
        match bytes[at] {
            b'{' => {
                stack.push(Step::Member(None));
                expects_key = true;
            }
            b'[' => stack.push(Step::Item(0)),
            b'}' | b']' => {
                stack.pop();
                expects_key = false;
            }
            b',' => match stack.last_mut() {
                Some(Step::Item(index)) => *index += 1,
                // The name stays until the next one begins: an error may be noticed at the comma.
                Some(Step::Member(_)) => expects_key = true,
                None => {}
            },
            b'"' => {
                let close = closing_quote(bytes, at + 1);
                if expects_key && let Some(Step::Member(name)) = stack.last_mut() {
                    *name = text.get(at + 1..close).map(str::to_owned);
                    expects_key = false;
                }
                at = close;
            }
            _ => {}
        }
        at += 1;
    }
    render(&stack)
}

enum Step {
    Member(Option<String>),
    Item(usize),
}

/// Index of the quote that ends the string whose content begins at `from`.
fn closing_quote(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn render(stack: &[Step]) -> String {
    let mut path = String::new();
    for step in stack {
        match step {
            Step::Member(Some(name)) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Step::Member(None) => {}
            Step::Item(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_leads_to_the_position() {
        let text = r#"{"a": 1, "b\"x": {"c": [true, {"d": "e,}"}]}, "f": "g"}"#;
        for (marker, expected) in [
            ("1", "a"),
            ("true", r#"b\"x.c[0]"#),
            ("e,}", r#"b\"x.c[1].d"#),
            (r#""g""#, "f"),
            ("{", ""),
            (r#"}, "f""#, r#"b\"x"#),
        ] {
            let offset = text.find(marker).unwrap() + 1;
            assert_eq!(path_at(text, offset), expected, "{marker}");
        }
        assert_eq!(path_at(text, text.len()), "");
        assert_eq!(path_at("", 10), "");
        assert_eq!(path_at(r#"{"open"#, 6), "open");
        assert_eq!(path_at(r#""\"#, 2), "");
    }
}
