//! Steps of a path into an object, in the form of `fieldsV1`.

use std::fmt;

use serde_json::{Map, Value};

/// One step: `f:<field>`, `k:<keys as JSON>`, `v:<value as JSON>` or `i:<index>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Element(String);

impl Element {
    /// A field of an object.
    pub fn field(name: &str) -> Self {
        Self(format!("f:{name}"))
    }

    /// An element of a list, by its keys.
    pub fn keys(mut keys: Map<String, Value>) -> Self {
        keys.sort_keys();
        Self(format!("k:{}", Value::Object(keys)))
    }

    /// An element of a set.
    pub fn value(value: &Value) -> Self {
        Self(format!("v:{value}"))
    }

    /// From a key of `fieldsV1`; nothing for a key of another form.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" | "i" => Some(Self(text.to_owned())),
            "v" => serde_json::from_str(rest).ok().map(|value| Self::value(&value)),
            "k" => serde_json::from_str(rest).ok().map(Self::keys),
            _ => None,
        }
    }

    /// The key in `fieldsV1`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The field's name, when this is a field.
    pub fn field_name(&self) -> Option<&str> {
        self.0.strip_prefix("f:")
    }
}

/// As in messages: `.spec`, `[name="a"]`, `[="v"]`, `[0]`.
impl fmt::Display for Element {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.split_once(':') {
            Some(("f", name)) => write!(formatter, ".{name}"),
            Some(("v", value)) => write!(formatter, "[={value}]"),
            Some(("k", keys)) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(formatter, "[{}]", keys.join(","))
            }
            Some((_, index)) => write!(formatter, "[{index}]"),
            None => formatter.write_str(&self.0),
        }
    }
}
