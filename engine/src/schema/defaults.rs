//! Defaults of built-in kinds: a table of values by type, and a few rules that no table can express.

mod named;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::types::{Shape, Type};

const TABLE: &str = include_str!("../../schema/defaults.txt");

/// One line of the table.
enum Line {
    Set { path: &'static str, value: Value, also_zero: bool, when: Option<(&'static str, Test)> },
    Rule(named::Rule),
}

/// What must hold of another field.
enum Test {
    Absent,
    Present,
    Is(&'static str),
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
    if let Some(rule) = line.strip_prefix('@') {
        return named::rule(rule).map(Line::Rule);
    }
    let (line, when) = match line.split_once(" when ") {
        Some((line, when)) => {
            let (path, test) = when.split_once(' ')?;
            let test = match test.split_once(' ') {
                Some((_, values)) => Test::Is(values),
                None if test == "absent" => Test::Absent,
                None => Test::Present,
            };
            (line, Some((path, test)))
        }
        None => (line, None),
    };
    let (path, rest) = line.split_once(' ')?;
    let (operator, value) = rest.split_once(' ')?;
    let value = serde_json::from_str(value).ok()?;
    Some(Line::Set { path, value, also_zero: operator == "~", when })
}

/// Fills in the defaults of `value`, an object of a built-in type: its own first, then those of what it holds.
pub fn apply(ty: &Type, value: &mut Value) {
    match (&ty.shape, value) {
        (Shape::Struct(declared), Value::Object(object)) => {
            for (name, field) in &declared.fields {
                if let Some(default) = &field.default
                    && is_absent(object.get(name), true)
                {
                    object.insert(name.clone(), default.clone());
                }
            }
            for line in LINES.get(ty.name.as_str()).into_iter().flatten() {
                apply_line(line, object);
            }
            for (name, child) in object.iter_mut() {
                if let Some(field) = declared.fields.get(name) {
                    apply(&field.ty.get(), child);
                }
            }
        }
        (Shape::Map(values), Value::Object(object)) => {
            let ty = values.get();
            object.values_mut().for_each(|value| apply(&ty, value));
        }
        (Shape::List(list), Value::Array(items)) => {
            let ty = list.item.get();
            items.iter_mut().for_each(|item| apply(&ty, item));
        }
        _ => {}
    }
}

fn apply_line(line: &Line, object: &mut Map<String, Value>) {
    match line {
        Line::Rule(rule) => rule(object),
        Line::Set { path, value, also_zero, when } => {
            let holds = when.as_ref().is_none_or(|(path, test)| {
                let found = at(object, path);
                match test {
                    Test::Absent => is_absent(found, true),
                    Test::Present => !is_absent(found, true),
                    Test::Is(values) => found
                        .and_then(Value::as_str)
                        .is_some_and(|found| values.split('|').any(|value| value == found)),
                }
            });
            if holds {
                set(object, path, value, *also_zero);
            }
        }
    }
}

/// Whether a field counts as not given; with `zero`, zero values do too.
fn is_absent(value: Option<&Value>, zero: bool) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => zero && text.is_empty(),
        Some(Value::Number(number)) => zero && number.as_f64() == Some(0.0),
        Some(_) => false,
    }
}

fn at<'a>(object: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let found = object.get(first)?;
    if rest.is_empty() { Some(found) } else { at(found.as_object()?, rest) }
}

fn set(object: &mut Map<String, Value>, path: &str, value: &Value, also_zero: bool) {
    match path.split_once('.') {
        None if is_absent(object.get(path), also_zero) => {
            object.insert(path.to_owned(), value.clone());
        }
        None => {}
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert(Value::Null);
            if inner.is_null() {
                *inner = Value::Object(Map::new());
            }
            if let Some(inner) = inner.as_object_mut() {
                set(inner, rest, value, also_zero);
            }
        }
    }
}

#[cfg(test)]
mod tests;
