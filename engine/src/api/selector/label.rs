//! Label selectors in their query form (`a=b,c!=d,e in (x,y),f notin (z),g,!h`) and in their object form.

use std::collections::BTreeMap;

use serde_json::Value;

/// A conjunction of requirements; an empty one selects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

/// The selector text is malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse requirement: {0}")]
pub struct ParseError(pub String);

impl LabelSelector {
    /// Parses the query form.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let requirements = split_requirements(text).into_iter().map(requirement).collect::<Result<_, _>>()?;
        Ok(Self { requirements })
    }

    /// Reads `matchLabels` and `matchExpressions`; an absent selector selects nothing here.
    pub fn from_object(selector: &Value) -> Option<Self> {
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            let values = vec![value.as_str()?.to_owned()];
            requirements.push(Requirement { key: key.clone(), operator: Operator::In, values });
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let operator = match expression["operator"].as_str()? {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => return None,
            };
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values.filter_map(Value::as_str).map(String::from).collect();
            requirements.push(Requirement { key: expression["key"].as_str()?.to_owned(), operator, values });
        }
        Some(Self { requirements })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|requirement| {
            let Requirement { key, operator, values } = requirement;
            let actual = labels.get(key);
            let number = |text: &String| text.parse::<i64>().ok();
            match operator {
                Operator::In => actual.is_some_and(|actual| values.contains(actual)),
                Operator::NotIn => actual.is_none_or(|actual| !values.contains(actual)),
                Operator::Exists => actual.is_some(),
                Operator::DoesNotExist => actual.is_none(),
                Operator::GreaterThan | Operator::LessThan => {
                    match (actual.and_then(number), values.first().and_then(number)) {
                        (Some(actual), Some(bound)) if *operator == Operator::GreaterThan => actual > bound,
                        (Some(actual), Some(bound)) => actual < bound,
                        _ => false,
                    }
                }
            }
        })
    }
}

/// Splits at commas outside parentheses.
fn split_requirements(text: &str) -> Vec<&str> {
    let mut depth = 0usize;
    let parts = text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

fn requirement(text: &str) -> Result<Requirement, ParseError> {
    let make = |key: &str, operator, values: Vec<String>| {
        let key = key.trim();
        let valid = !key.is_empty() && !key.contains(|c: char| c.is_whitespace() || "()!=<>".contains(c));
        if valid {
            Ok(Requirement { key: key.to_owned(), operator, values })
        } else {
            Err(ParseError(format!("found {text:?}, expected a label key")))
        }
    };
    if let Some(key) = text.strip_prefix('!') {
        return make(key, Operator::DoesNotExist, Vec::new());
    }
    if let Some(inside) = text.strip_suffix(')') {
        let (head, list) = inside.split_once('(').ok_or_else(|| ParseError(text.to_owned()))?;
        let values: Vec<String> = list.split(',').map(|value| value.trim().to_owned()).collect();
        let mut words = head.split_whitespace();
        return match (words.next(), words.next(), words.next()) {
            (Some(key), Some("in"), None) => make(key, Operator::In, values),
            (Some(key), Some("notin"), None) => make(key, Operator::NotIn, values),
            _ => Err(ParseError(format!("found {head:?}, expected: in, notin"))),
        };
    }
    let operators = [
        ("!=", Operator::NotIn),
        ("==", Operator::In),
        ("=", Operator::In),
        (">", Operator::GreaterThan),
        ("<", Operator::LessThan),
    ];
    for (sign, operator) in operators {
        if let Some((key, value)) = text.split_once(sign) {
            return make(key, operator, vec![value.trim().to_owned()]);
        }
    }
    make(text, Operator::Exists, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(selector: &str, labels: &[(&str, &str)], expected: bool) {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(LabelSelector::parse(selector).unwrap().matches(&labels), expected, "{selector}");
    }

    #[test]
    fn every_operator_selects_as_documented() {
        let labels = [("app", "web"), ("tier", "3")];
        check("", &labels, true);
        check("app=web", &labels, true);
        check("app==web,tier", &labels, true);
        check("app!=web", &labels, false);
        check("other!=web", &labels, true);
        check("app in (db, web),!gone", &labels, true);
        check("app notin (db,web)", &labels, false);
        check("tier>2,tier<4", &labels, true);
        check("tier>3", &labels, false);
        check("!app", &labels, false);
    }

    #[test]
    fn malformed_selectors_are_refused() {
        assert!(LabelSelector::parse("a b").is_err());
        assert!(LabelSelector::parse("a within (b)").is_err());
        assert!(LabelSelector::parse("=x").is_err());
    }
}
