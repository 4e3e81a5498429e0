//! The part of JSONPath that printer columns use: fields, indices, `[*]` and filters such as `[?(@.type=="Ready")]`.

use serde_json::Value;

/// A parsed path.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    /// From the end when negative.
    Index(i64),
    All,
    /// Elements whose value at a path compares with a literal; without a comparison: those that have it.
    Filter(JsonPath, Option<(Comparison, Value)>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Longer operators first, so that `<=` is not read as `<`.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("==", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<=", Comparison::LessOrEqual),
    (">=", Comparison::GreaterOrEqual),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

impl JsonPath {
    /// Parses a path, with or without braces around it. `None` for what is not understood.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
        let mut rest = text.trim().strip_prefix('$').unwrap_or(text.trim());
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(bracket) = rest.strip_prefix('[') {
                let end = closing(bracket)?;
                let (inside, after) = (bracket.get(..end)?, bracket.get(end + 1..)?);
                steps.push(in_brackets(inside.trim())?);
                rest = after;
            } else {
                let (name, after) = field(rest.strip_prefix('.').unwrap_or(rest));
                match name.as_str() {
                    // A lone dot is the whole object; two are a search this is not.
                    "" if after.is_empty() => {}
                    "" => return None,
                    "*" => steps.push(Step::All),
                    _ => steps.push(Step::Field(name)),
                }
                rest = after;
            }
        }
        Some(Self(steps))
    }

    /// Everything the path leads to.
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        self.0
            .iter()
            .fold(vec![value], |found, step| found.into_iter().flat_map(|value| step.apply(value)).collect())
    }
}

impl Step {
    fn apply<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let children = || -> Vec<&'a Value> {
            match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(fields) => fields.values().collect(),
                _ => Vec::new(),
            }
        };
        match self {
            Self::Field(name) => value.get(name).into_iter().collect(),
            Self::All => children(),
            Self::Index(index) => {
                let items = value.as_array();
                let index = items.and_then(|items| {
                    let length = i64::try_from(items.len()).ok()?;
                    usize::try_from(if *index < 0 { index + length } else { *index }).ok()
                });
                index.and_then(|index| value.get(index)).into_iter().collect()
            }
            Self::Filter(path, comparison) => children()
                .into_iter()
                .filter(|child| {
                    let found = path.find(child);
                    match comparison {
                        None => !found.is_empty(),
                        Some((comparison, wanted)) => {
                            found.first().is_some_and(|found| comparison.holds(found, wanted))
                        }
                    }
                })
                .collect(),
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = match (left.as_f64(), right.as_f64(), left.as_str(), right.as_str()) {
            (Some(left), Some(right), _, _) => left.partial_cmp(&right),
            (_, _, Some(left), Some(right)) => Some(left.cmp(right)),
            _ => (left == right).then_some(std::cmp::Ordering::Equal),
        };
        match self {
            Self::Equal => order.is_some_and(std::cmp::Ordering::is_eq),
            Self::NotEqual => !order.is_some_and(std::cmp::Ordering::is_eq),
            Self::Less => order.is_some_and(std::cmp::Ordering::is_lt),
            Self::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
            Self::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
            Self::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
        }
    }
}

/// A field's name up to the next dot or bracket, and what follows; `\.` is a dot of the name.
fn field(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
            '.' | '[' => return (name, text.get(at..).unwrap_or_default()),
            other => name.push(other),
        }
    }
    (name, "")
}

/// Where the bracket that is open at the start of `text` closes.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut quote = None;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), character) if open == character => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(character),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn in_brackets(text: &str) -> Option<Step> {
    if text == "*" {
        return Some(Step::All);
    }
    if let Some(name) = quoted(text) {
        return Some(Step::Field(name.to_owned()));
    }
    if let Some(filter) = text.strip_prefix("?(").and_then(|text| text.strip_suffix(')')) {
        let split =
            COMPARISONS.iter().find_map(|(sign, comparison)| Some((filter.split_once(sign)?, *comparison)));
        let path = |text: &str| JsonPath::parse(text.trim().strip_prefix('@')?);
        return match split {
            Some(((left, right), comparison)) => {
                Some(Step::Filter(path(left)?, Some((comparison, literal(right.trim())?))))
            }
            None => Some(Step::Filter(path(filter)?, None)),
        };
    }
    text.parse().ok().map(Step::Index)
}

fn quoted(text: &str) -> Option<&str> {
    let inside = |quote: char| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    inside('\'').or_else(|| inside('"'))
}

fn literal(text: &str) -> Option<Value> {
    match quoted(text) {
        Some(text) => Some(Value::String(text.to_owned())),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: Value) {
        let object = json!({
            "metadata": {"labels": {"app.kubernetes.io/name": "web"}},
            "spec": {"ports": [{"port": 80, "name": "a"}, {"port": 443, "name": "b"}]},
            "status": {"conditions": [
                {"type": "Synced", "status": "False"}, {"type": "Ready", "status": "True"},
            ]},
        });
        let path = JsonPath::parse(path).unwrap();
        assert_eq!(json!(path.find(&object)), expected, "{path:?}");
    }

    #[test]
    fn paths_of_printer_columns_are_followed() {
        check(".spec.ports[1].port", json!([443]));
        check("{.spec.ports[-1].name}", json!(["b"]));
        check(".spec.ports[*].port", json!([80, 443]));
        check(".status.conditions[?(@.type==\"Ready\")].status", json!(["True"]));
        check(".status.conditions[?(@.type=='Missing')].status", json!([]));
        check(".spec.ports[?(@.port>100)].name", json!(["b"]));
        check(".metadata.labels.app\\.kubernetes\\.io/name", json!(["web"]));
        check(".metadata.labels['app.kubernetes.io/name']", json!(["web"]));
        check(".spec.missing.field", json!([]));
    }

    #[test]
    fn what_is_not_understood_is_no_path() {
        assert_eq!(JsonPath::parse(".a[0"), None);
        assert_eq!(JsonPath::parse(".a[x]"), None);
        assert_eq!(JsonPath::parse("..a"), None);
    }
}
