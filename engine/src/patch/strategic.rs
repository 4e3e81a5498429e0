//! Strategic merge: like a merge patch, but lists with a merge key are merged by element, and directives say the rest.
//!
//! Directives: `$patch: replace|delete|merge`, `$retainKeys`, `$setElementOrder/<list>`, `$deleteFromPrimitiveList/<list>`.
//! After `apimachinery/pkg/util/strategicpatch`.

use serde_json::{Map, Value};

use crate::schema::types::Type;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

type Object = Map<String, Value>;

/// Merges `patch` into `original`, objects of type `ty`.
pub fn merge_objects(ty: &Type, mut original: Object, patch: &Object) -> Result<Object, String> {
    match patch.get(DIRECTIVE).map(|directive| directive.as_str().unwrap_or_default()) {
        Some("replace") => return Ok(without_directives(patch)),
        Some("delete") => return Ok(Object::new()),
        Some("merge") | None => {}
        Some(other) => return Err(format!("Unknown patch type found: {other}")),
    }
    if let Some(retained) = patch.get(RETAIN_KEYS) {
        let Some(retained) = retained.as_array() else { return Err(bad_type(RETAIN_KEYS)) };
        let stray = patch.iter().find(|(key, value)| {
            !key.starts_with('$') && !value.is_null() && !retained.iter().any(|kept| kept == key.as_str())
        });
        if let Some((key, _)) = stray {
            return Err(format!("not all keys in the patch are in the retainKeys list: {key}"));
        }
        original.retain(|key, _| retained.iter().any(|kept| kept == key.as_str()));
    }
    for (key, value) in patch {
        if key == DIRECTIVE || key == RETAIN_KEYS {
            continue;
        }
        if let Some(list) = key.strip_prefix(DELETE_PRIMITIVES) {
            delete_primitives(&mut original, list, value)?;
            continue;
        }
        if let Some(list) = key.strip_prefix(SET_ORDER) {
            // With the list itself in the patch, its merge sets the order.
            if !patch.contains_key(list) {
                reorder(ty, &mut original, list, value)?;
            }
            continue;
        }
        if value.is_null() {
            original.remove(key);
            continue;
        }
        let order = patch.get(&format!("{SET_ORDER}{key}"));
        let merged = merge_value(ty, key, original.remove(key), value, order)?;
        if let Some(merged) = merged {
            original.insert(key.clone(), merged);
        }
    }
    Ok(original)
}

/// The merged value of one field; nothing when the patch deletes it.
fn merge_value(
    ty: &Type,
    key: &str,
    original: Option<Value>,
    patch: &Value,
    order: Option<&Value>,
) -> Result<Option<Value>, String> {
    let child = ty.child(key).unwrap_or_else(crate::schema::builtin::any);
    match (original, patch) {
        (original, Value::Object(patch)) => {
            if patch.get(DIRECTIVE).is_some_and(|directive| directive == "delete") {
                return Ok(None);
            }
            let original = match original {
                Some(Value::Object(original)) => original,
                _ => Object::new(),
            };
            merge_objects(&child, original, patch).map(|merged| Some(Value::Object(merged)))
        }
        (original, Value::Array(patch)) => {
            let field = ty.field(key);
            if !field.is_some_and(|field| field.merge) {
                return Ok(Some(Value::Array(patch.clone())));
            }
            let original = match original {
                Some(Value::Array(original)) => original,
                _ => Vec::new(),
            };
            let item = child.item().unwrap_or_else(crate::schema::builtin::any);
            let merge_key = field.and_then(|field| field.merge_key.as_deref());
            let merged = match merge_key {
                Some(merge_key) => merge_lists(&item, merge_key, original, patch, order)?,
                None => merge_primitives(original, patch, order)?,
            };
            Ok(Some(Value::Array(merged)))
        }
        (_, patch) => Ok(Some(patch.clone())),
    }
}

fn bad_type(key: &str) -> String {
    format!("unable to parse directive {key}: it must be a list")
}

fn without_directives(object: &Object) -> Object {
    let kept = object.iter().filter(|(key, value)| !key.starts_with('$') && !value.is_null());
    kept.map(|(key, value)| (key.clone(), clean(value))).collect()
}

/// A value of the patch that meets nothing to merge with, without directives and deletions.
fn clean(value: &Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(without_directives(object)),
        Value::Array(items) => {
            let kept = items.iter().filter(|item| item.get(DIRECTIVE).is_none());
            Value::Array(kept.map(clean).collect())
        }
        other => other.clone(),
    }
}

/// Elements are the same when their merge keys are.
fn merge_lists(
    item: &Type,
    merge_key: &str,
    original: Vec<Value>,
    patch: &[Value],
    order: Option<&Value>,
) -> Result<Vec<Value>, String> {
    let server_order: Vec<Value> = original.iter().map(|item| item[merge_key].clone()).collect();
    let replaced = patch.iter().any(|item| item[DIRECTIVE] == "replace" && item.get(merge_key).is_none());
    let mut merged = if replaced { Vec::new() } else { original };
    for element in patch {
        let Some(element) = element.as_object() else {
            return Err(format!("a list with merge key {merge_key} may hold only objects"));
        };
        if replaced && element.contains_key(DIRECTIVE) {
            continue;
        }
        let Some(key) = element.get(merge_key) else {
            return Err(format!(
                "map: {} does not contain declared merge key: {merge_key}",
                Value::Object(element.clone())
            ));
        };
        let place = merged.iter().position(|item| &item[merge_key] == key);
        if element.get(DIRECTIVE).is_some_and(|directive| directive == "delete") {
            merged.retain(|item| &item[merge_key] != key);
            continue;
        }
        match place.and_then(|place| merged.get_mut(place)) {
            Some(found) => {
                let own = match found.take() {
                    Value::Object(own) => own,
                    _ => Object::new(),
                };
                *found = Value::Object(merge_objects(item, own, element)?);
            }
            None => merged.push(Value::Object(merge_objects(item, Object::new(), element)?)),
        }
    }
    match order {
        Some(order) => {
            let order = order_keys(order, Some(merge_key))?;
            Ok(in_order(merged, &order, &server_order, |item| item[merge_key].clone()))
        }
        None => Ok(merged),
    }
}

fn merge_primitives(
    original: Vec<Value>,
    patch: &[Value],
    order: Option<&Value>,
) -> Result<Vec<Value>, String> {
    let server_order = original.clone();
    let mut merged = original;
    for element in patch {
        if !merged.contains(element) {
            merged.push(element.clone());
        }
    }
    match order {
        Some(order) => Ok(in_order(merged, &order_keys(order, None)?, &server_order, Value::clone)),
        None => Ok(merged),
    }
}

fn delete_primitives(original: &mut Object, list: &str, gone: &Value) -> Result<(), String> {
    let Some(gone) = gone.as_array() else { return Err(bad_type(DELETE_PRIMITIVES)) };
    if let Some(items) = original.get_mut(list).and_then(Value::as_array_mut) {
        items.retain(|item| !gone.contains(item));
    }
    Ok(())
}

/// Only the order of a list changes.
fn reorder(ty: &Type, original: &mut Object, list: &str, order: &Value) -> Result<(), String> {
    let merge_key = ty.field(list).and_then(|field| field.merge_key.as_deref());
    let order = order_keys(order, merge_key)?;
    if let Some(Value::Array(items)) = original.get_mut(list) {
        let identity = |item: &Value| merge_key.map_or_else(|| item.clone(), |key| item[key].clone());
        let server_order: Vec<Value> = items.iter().map(identity).collect();
        let sorted = in_order(std::mem::take(items), &order, &server_order, identity);
        *items = sorted;
    }
    Ok(())
}

fn order_keys(order: &Value, merge_key: Option<&str>) -> Result<Vec<Value>, String> {
    let Some(order) = order.as_array() else { return Err(bad_type(SET_ORDER)) };
    Ok(order.iter().map(|item| merge_key.map_or_else(|| item.clone(), |key| item[key].clone())).collect())
}

/// Elements the patch orders come in its order; the others stay before those they were before.
fn in_order(
    items: Vec<Value>,
    order: &[Value],
    server_order: &[Value],
    identity: impl Fn(&Value) -> Value,
) -> Vec<Value> {
    let place = |item: &Value, order: &[Value]| {
        let identity = identity(item);
        order.iter().position(|known| *known == identity)
    };
    let (mut ordered, others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| place(item, order).is_some());
    ordered.sort_by_key(|item| place(item, order));
    let mut ordered = ordered.into_iter().peekable();
    let mut sorted = Vec::new();
    for other in others {
        while let Some(next) = ordered.peek() {
            let before = match (place(&other, server_order), place(next, server_order)) {
                (Some(other), Some(next)) => other < next,
                _ => false,
            };
            if before {
                break;
            }
            sorted.extend(ordered.next());
        }
        sorted.push(other);
    }
    sorted.extend(ordered);
    sorted
}
