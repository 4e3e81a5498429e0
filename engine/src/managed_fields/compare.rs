//! The difference of two objects as sets of fields.

use serde_json::{Map, Value};

use super::path::Element;
use super::set::Set;
use super::typed::{View, identity, type_under, view};
use crate::schema::types::{List, Type};

/// Fields of built-in types that are there even when nothing is in them, so that nobody adds or removes them.
const ALWAYS_THERE: [&str; 8] =
    ["jobTemplate", "metadata", "names", "spec", "status", "strategy", "template", "updateStrategy"];

/// What changed from one object to another.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Set before, not set now.
    pub removed: Set,
    /// Set to another value.
    pub modified: Set,
    /// Not set before.
    pub added: Set,
}

/// Compares two objects of one type.
pub fn compare(ty: &Type, before: &Value, after: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    walk(ty, Some(before), Some(after), &mut Vec::new(), &mut comparison);
    comparison
}

fn walk(
    ty: &Type,
    before: Option<&Value>,
    after: Option<&Value>,
    path: &mut Vec<Element>,
    comparison: &mut Comparison,
) {
    let leaf = |path: &[Element], comparison: &mut Comparison| match (before, after) {
        (None, Some(_)) => comparison.added.insert(path),
        (Some(_), None) => comparison.removed.insert(path),
        (Some(before), Some(after)) if !equal(before, after) => comparison.modified.insert(path),
        _ => {}
    };
    let shape = if after.is_some_and(|value| !value.is_null()) { after } else { before };
    match view(ty, shape) {
        View::Leaf => {
            if let (Some(Value::Object(_)), true) = (before, matches!(view(ty, before), View::Map)) {
                // An object became a single value: its fields are gone.
                walk(ty, before, None, path, comparison);
            }
            leaf(path, comparison);
        }
        View::Map => {
            let (left, right) = (before.and_then(Value::as_object), after.and_then(Value::as_object));
            if left.is_none_or(Map::is_empty) && right.is_none_or(Map::is_empty) {
                leaf(path, comparison);
                return;
            }
            if before.is_some_and(|before| !before.is_object() && !before.is_null()) {
                leaf(path, comparison);
            }
            for (key, value) in left.into_iter().flatten() {
                let other = right.and_then(|right| right.get(key));
                step(&type_under(ty, key), Element::field(key), (Some(value), other), path, comparison);
            }
            for (key, value) in right.into_iter().flatten() {
                if !left.is_some_and(|left| left.contains_key(key)) {
                    step(&type_under(ty, key), Element::field(key), (None, Some(value)), path, comparison);
                }
            }
            whole(ty, before, after, path, comparison);
        }
        View::List(list) => {
            let items = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
            let (left, right) = (items(before), items(after));
            if left.is_empty() && right.is_empty() {
                leaf(path, comparison);
                return;
            }
            compare_lists(list, &left, &right, path, comparison);
            whole(ty, before, after, path, comparison);
        }
    }
}

fn step(
    ty: &Type,
    element: Element,
    values: (Option<&Value>, Option<&Value>),
    path: &mut Vec<Element>,
    comparison: &mut Comparison,
) {
    path.push(element);
    walk(ty, values.0, values.1, path, comparison);
    path.pop();
}

/// An object or list that is on one side only is itself added or removed.
fn whole(
    ty: &Type,
    before: Option<&Value>,
    after: Option<&Value>,
    path: &[Element],
    comparison: &mut Comparison,
) {
    let name = path.last().and_then(Element::field_name).unwrap_or_default();
    if !ty.name.is_empty() && ALWAYS_THERE.contains(&name) {
        return;
    }
    match (before, after) {
        (None, Some(_)) => comparison.added.insert(path),
        (Some(_), None) => comparison.removed.insert(path),
        _ => {}
    }
}

fn compare_lists(
    list: &List,
    left: &[Value],
    right: &[Value],
    path: &mut Vec<Element>,
    comparison: &mut Comparison,
) {
    let index = |items: &[Value]| -> Vec<(Element, Value)> {
        items.iter().filter_map(|item| Some((identity(list, item).ok()?, item.clone()))).collect()
    };
    let (left, right) = (index(left), index(right));
    let of = |items: &[(Element, Value)], element: &Element| -> Vec<Value> {
        items.iter().filter(|(known, _)| known == element).map(|(_, value)| value.clone()).collect()
    };
    let ty = list.item.get();
    let mut seen: Vec<&Element> = Vec::new();
    for (element, _) in left.iter().chain(&right) {
        if seen.contains(&element) {
            continue;
        }
        seen.push(element);
        let (before, after) = (of(&left, element), of(&right, element));
        path.push(element.clone());
        match (before.as_slice(), after.as_slice()) {
            ([] | [_], [] | [_]) => walk(&ty, before.first(), after.first(), path, comparison),
            ([_, _, ..], [_, _, ..]) => {
                if before != after {
                    comparison.modified.insert(path);
                }
            }
            // Elements that repeat are one value, until they no longer do.
            ([_, _, ..], one) => {
                if let Some(after) = one.first() {
                    walk(&ty, None, Some(after), path, comparison);
                }
                comparison.removed.insert(path);
            }
            (one, _) => {
                if let Some(before) = one.first() {
                    walk(&ty, Some(before), None, path, comparison);
                }
                comparison.added.insert(path);
            }
        }
        path.pop();
    }
}

/// Numbers are equal by value, however they are written.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, left)| right.get(key).is_some_and(|right| equal(left, right)))
        }
        (left, right) => left == right,
    }
}
