//! An object without a set of fields.

use serde_json::{Map, Value};

use super::path::Element;
use super::set::Set;
use super::typed::{View, identity, type_under, view};
use crate::schema::types::Type;

/// Removes the paths of `gone` from `value`. Objects and lists that become empty by it go, too.
pub fn remove(ty: &Type, value: &Value, gone: &Set) -> Value {
    keep(ty, value, gone).unwrap_or_else(|| Value::Object(Map::new()))
}

fn keep(ty: &Type, value: &Value, gone: &Set) -> Option<Value> {
    if gone.is_empty() {
        return Some(value.clone());
    }
    let rest = |ty: &Type, element: &Element, value: &Value| {
        if gone.has(element) {
            return None;
        }
        match gone.below(element) {
            Some(below) => keep(ty, value, below),
            None => Some(value.clone()),
        }
    };
    match (view(ty, Some(value)), value) {
        (View::Map, Value::Object(object)) => {
            let kept: Map<String, Value> = object
                .iter()
                .filter_map(|(key, child)| {
                    let child = rest(&type_under(ty, key), &Element::field(key), child)?;
                    Some((key.clone(), child))
                })
                .collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        (View::List(list), Value::Array(items)) => {
            let ty = list.item.get();
            let kept: Vec<Value> = items
                .iter()
                .filter_map(|item| match identity(list, item) {
                    Ok(element) => rest(&ty, &element, item),
                    Err(_) => Some(item.clone()),
                })
                .collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        (_, value) => Some(value.clone()),
    }
}
