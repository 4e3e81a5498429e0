//! Rules of built-in types: a table by type, and rules with names.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::named::{self, Named};
use crate::schema::format::{self, LABEL_RULE, SUBDOMAIN_RULE};
use crate::schema::{FieldError, at_field, at_index};

const TABLE: &str = include_str!("../../../schema/validation.txt");

/// One line of the table.
enum Line {
    Field(&'static str, Rule),
    Named(Named),
}

/// What must hold of a field.
enum Rule {
    Required,
    NonEmpty,
    In(Vec<&'static str>),
    Range(i64, i64),
    Label,
    Subdomain,
    Unique(&'static str),
}

static LINES: LazyLock<HashMap<&'static str, Vec<Line>>> = LazyLock::new(|| {
    let blocks = TABLE.split("\n\n").skip(1);
    let block = |block: &'static str| {
        let mut lines = block.lines();
        Some((lines.next()?, lines.filter_map(|line| parse(line.trim())).collect()))
    };
    blocks.filter_map(block).collect()
});

fn parse(line: &'static str) -> Option<Line> {
    if let Some(name) = line.strip_prefix('@') {
        return named::rule(name).map(Line::Named);
    }
    let (field, rule) = line.split_once(' ')?;
    let (rule, argument) = rule.split_once(' ').unwrap_or((rule, ""));
    let rule = match rule {
        "required" => Rule::Required,
        "nonempty" => Rule::NonEmpty,
        "in" => Rule::In(argument.split('|').collect()),
        "range" => {
            let (low, high) = argument.split_once(' ')?;
            Rule::Range(low.parse().ok()?, high.parse().ok()?)
        }
        "label" => Rule::Label,
        "subdomain" => Rule::Subdomain,
        "unique" => Rule::Unique(argument),
        _ => return None,
    };
    Some(Line::Field(field, rule))
}

/// Adds what an object of the built-in type `name` breaks.
pub fn check(name: &str, object: &Map<String, Value>, path: &str, errors: &mut Vec<FieldError>) {
    for line in LINES.get(name).into_iter().flatten() {
        match line {
            Line::Named(rule) => rule(object, path, errors),
            Line::Field(field, rule) => check_field(rule, object.get(*field), &at_field(path, field), errors),
        }
    }
}

fn check_field(rule: &Rule, value: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    let value = value.filter(|value| !value.is_null());
    match (rule, value) {
        (Rule::Required, None) => errors.push(FieldError::required(path, "")),
        (Rule::Required, Some(Value::String(text))) if text.is_empty() => {
            errors.push(FieldError::required(path, ""))
        }
        (Rule::NonEmpty, value) if value.and_then(Value::as_array).is_none_or(Vec::is_empty) => {
            errors.push(FieldError::required(path, ""));
        }
        (Rule::In(choices), Some(value)) => {
            let text = value.as_str().unwrap_or_default();
            if !text.is_empty() && !choices.contains(&text) {
                errors.push(FieldError::not_supported(path, value, choices));
            }
        }
        (Rule::Range(low, high), Some(value)) => {
            let fits = value.as_i64().is_none_or(|number| (*low..=*high).contains(&number));
            let detail = match (*low, *high) {
                _ if fits => return,
                (1, 65535) => "must be between 1 and 65535, inclusive".to_owned(),
                (low, i64::MAX | 2_147_483_647) if low <= 1 => {
                    format!("must be greater than or equal to {low}")
                }
                (low, high) => format!("must be between {low} and {high}, inclusive"),
            };
            errors.push(FieldError::invalid(path, value, detail));
        }
        (Rule::Label, Some(Value::String(text))) if !text.is_empty() && !format::is_dns_label(text) => {
            errors.push(FieldError::invalid(path, &Value::String(text.clone()), LABEL_RULE));
        }
        (Rule::Subdomain, Some(Value::String(text)))
            if !text.is_empty() && !format::is_dns_subdomain(text) =>
        {
            errors.push(FieldError::invalid(path, &Value::String(text.clone()), SUBDOMAIN_RULE));
        }
        (Rule::Unique(key), Some(Value::Array(items))) => {
            for (index, item) in items.iter().enumerate() {
                let found = &item[*key];
                if !found.is_null() && items.iter().take(index).any(|earlier| earlier[*key] == *found) {
                    errors.push(FieldError::duplicate(at_field(&at_index(path, index), key), found));
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::builtin;

    #[test]
    fn the_table_names_only_types_and_fields_that_exist() {
        for (name, lines) in LINES.iter() {
            let ty = builtin::named(name).unwrap_or_else(|| panic!("no type {name}"));
            for line in lines {
                if let Line::Field(field, _) = line {
                    assert!(ty.field(field).is_some(), "no field {field} in {name}");
                }
            }
        }
        let lines = TABLE.lines().filter(|line| line.starts_with("  ")).count();
        assert_eq!(
            LINES.values().map(Vec::len).sum::<usize>(),
            lines,
            "a line of the table could not be read"
        );
    }
}
