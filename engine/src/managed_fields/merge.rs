//! The live object with the applied configuration laid over it. Nothing is removed.

use serde_json::{Map, Value};

use super::path::Element;
use super::typed::{View, identity, type_under, view};
use crate::schema::types::{List, Type};

/// Merges `right` over `left`; where both set a leaf, `right` wins.
pub fn merge(ty: &Type, left: Option<&Value>, right: Option<&Value>) -> Option<Value> {
    let keep = || right.or(left).cloned();
    let shape = if right.is_some_and(|value| !value.is_null()) { right } else { left };
    match view(ty, shape) {
        View::Leaf => keep(),
        View::Map => {
            let (left, right_map) = (left.and_then(Value::as_object), right.and_then(Value::as_object));
            if left.is_none_or(Map::is_empty) && right_map.is_none_or(Map::is_empty) {
                return keep();
            }
            let mut merged = Map::new();
            for (key, value) in left.into_iter().flatten() {
                let over = right_map.and_then(|right| right.get(key));
                if let Some(value) = merge(&type_under(ty, key), Some(value), over) {
                    merged.insert(key.clone(), value);
                }
            }
            for (key, value) in right_map.into_iter().flatten() {
                if !left.is_some_and(|left| left.contains_key(key))
                    && let Some(value) = merge(&type_under(ty, key), None, Some(value))
                {
                    merged.insert(key.clone(), value);
                }
            }
            (!merged.is_empty()).then_some(Value::Object(merged))
        }
        View::List(list) => {
            let items = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
            let (left_items, right_items) = (items(left), items(right));
            if left_items.is_empty() && right_items.is_empty() {
                return keep();
            }
            let merged = merge_lists(list, &left_items, &right_items);
            (!merged.is_empty()).then_some(Value::Array(merged))
        }
    }
}

/// Elements of both, each once: those of `right` in its order, those of `left` alone where they were between them.
fn merge_lists(list: &List, left: &[Value], right: &[Value]) -> Vec<Value> {
    let index = |items: &[Value]| -> Vec<(Element, Value)> {
        items.iter().filter_map(|item| Some((identity(list, item).ok()?, item.clone()))).collect()
    };
    let (left, right) = (index(left), index(right));
    let ty = list.item.get();
    let find = |items: &[(Element, Value)], element: &Element| {
        items.iter().find(|(known, _)| known == element).map(|(_, value)| value.clone())
    };
    let repeated = |element: &Element| left.iter().filter(|(known, _)| known == element).count() > 1;
    let mut shared =
        right.iter().map(|(element, _)| element).filter(|element| find(&left, element).is_some());
    let mut next_shared = shared.next();
    let mut done: Vec<&Element> = Vec::new();
    let mut merged = Vec::new();
    let (mut at_left, mut at_right) = (0, 0);
    loop {
        let (own, over) = (left.get(at_left), right.get(at_right));
        let Some((element, value)) = own else {
            let Some((element, value)) = over else { break };
            let under = find(&left, element).filter(|_| !repeated(element));
            if !done.contains(&element) {
                merged.extend(merge(&ty, under.as_ref(), Some(value)));
            }
            done.push(element);
            at_right += 1;
            continue;
        };
        let in_right = find(&right, element).is_some();
        if let Some((other, over)) = over {
            if element == other {
                let under = Some(value).filter(|_| !repeated(element));
                merged.extend(merge(&ty, under, Some(over)));
                done.push(element);
                at_left += 1;
                at_right += 1;
                next_shared = shared.next();
                continue;
            }
            if in_right && next_shared.is_some_and(|next| next != element) {
                // Shared, but its turn comes with the order of the configuration.
                at_left += 1;
                continue;
            }
        }
        if !in_right {
            merged.push(value.clone());
            at_left += 1;
            continue;
        }
        if done.contains(&element) {
            at_left += 1;
        }
        if let Some((element, value)) = over {
            let under = find(&left, element).filter(|_| !repeated(element));
            merged.extend(merge(&ty, under.as_ref(), Some(value)));
            done.push(element);
            at_right += 1;
            if next_shared == Some(element) {
                next_shared = shared.next();
            }
        } else if !done.contains(&element) {
            at_left += 1;
        }
    }
    merged
}
