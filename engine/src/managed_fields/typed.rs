//! Values seen through their type: what is one value, what is walked into, and which fields a value sets.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::path::Element;
use super::set::Set;
use crate::schema::builtin;
use crate::schema::types::{List, ListKind, Scalar, Shape, Type};

/// How ownership sees a value.
pub enum View<'a> {
    /// One value, owned as a whole.
    Leaf,
    /// An object whose fields have their own owners.
    Map,
    /// A list whose elements have their own owners.
    List(&'a List),
}

/// How ownership sees `value` (or an absent one) of type `ty`.
pub fn view<'a>(ty: &'a Type, value: Option<&Value>) -> View<'a> {
    match &ty.shape {
        _ if ty.atomic => View::Leaf,
        Shape::Scalar(_) => View::Leaf,
        Shape::Struct(_) | Shape::Map(_) => View::Map,
        Shape::List(list) if list.kind == ListKind::Atomic => View::Leaf,
        Shape::List(list) => View::List(list),
        Shape::Any if value.is_some_and(Value::is_object) => View::Map,
        Shape::Any => View::Leaf,
    }
}

/// The type of what is at `element` within a value of type `ty`.
pub fn child_type(ty: &Type, element: &Element) -> Option<Arc<Type>> {
    match element.field_name() {
        Some(name) => ty.child(name),
        None => ty.item(),
    }
}

/// The type under a key; anything for keys that are not declared.
pub fn type_under(ty: &Type, key: &str) -> Arc<Type> {
    ty.child(key).unwrap_or_else(builtin::any)
}

/// What identifies an element of a list with owners per element.
pub fn identity(list: &List, item: &Value) -> Result<Element, String> {
    let ListKind::Map(keys) = &list.kind else {
        return match item {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
            value => Ok(Element::value(value)),
        };
    };
    let Some(item) = item.as_object() else {
        return Err("associative list with keys may not have non-map elements".into());
    };
    let mut found = Map::new();
    let ty = list.item.get();
    for key in keys {
        let field = ty.field(key);
        let default = field.and_then(|field| field.default.clone());
        // Texts that cannot be absent are empty when they are, as in Go.
        let zero =
            || field.is_some_and(|field| field.required && !ty.name.is_empty()).then(|| Value::from(""));
        match item.get(key).cloned().or(default).or_else(zero) {
            Some(value) => found.insert(key.clone(), value),
            None => {
                return Err(format!(
                    "associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"
                ));
            }
        };
    }
    Ok(Element::keys(found))
}

/// The fields `value` sets: every leaf, every element of a list with owners, every entry of a map, every empty object.
pub fn field_set(ty: &Type, value: &Value) -> Set {
    let mut set = Set::default();
    collect(ty, value, &mut Vec::new(), &mut set);
    set
}

fn collect(ty: &Type, value: &Value, path: &mut Vec<Element>, set: &mut Set) {
    match (view(ty, Some(value)), value) {
        (View::Leaf, _) => set.insert(path),
        (View::Map, Value::Object(object)) => {
            for (key, child) in object {
                path.push(Element::field(key));
                collect(&type_under(ty, key), child, path, set);
                let empty = child.is_null() || child.as_object().is_some_and(Map::is_empty);
                if empty || ty.field(key).is_none() {
                    set.insert(path);
                }
                path.pop();
            }
        }
        (View::List(list), Value::Array(items)) => {
            let item_type = list.item.get();
            let identities: Vec<Option<Element>> =
                items.iter().map(|item| identity(list, item).ok()).collect();
            for (item, element) in items.iter().zip(&identities) {
                let Some(element) = element else { continue };
                let repeated = identities.iter().flatten().filter(|other| *other == element).count() > 1;
                path.push(element.clone());
                if !repeated {
                    collect(&item_type, item, path, set);
                }
                set.insert(path);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Checks that a configuration fits its type; the error lists what does not.
pub fn check(ty: &Type, value: &Value) -> Result<(), String> {
    let mut faults = Vec::new();
    walk(ty, value, "", &mut faults);
    match faults.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("errors:\n  {}", many.join("\n  "))),
    }
}

fn walk(ty: &Type, value: &Value, path: &str, faults: &mut Vec<String>) {
    let mut fault =
        |text: String| faults.push(if path.is_empty() { text } else { format!("{path}: {text}") });
    match (&ty.shape, value) {
        (_, Value::Null) | (Shape::Any, _) => {}
        (Shape::Scalar(scalar), value) => {
            let expected = match scalar {
                Scalar::Int32 | Scalar::Int64 | Scalar::Number if !value.is_number() => {
                    "numeric (int or float)"
                }
                Scalar::Boolean if !value.is_boolean() => "boolean",
                Scalar::String | Scalar::Bytes | Scalar::Time | Scalar::MicroTime if !value.is_string() => {
                    "string"
                }
                Scalar::IntOrString | Scalar::Quantity if value.is_object() || value.is_array() => {
                    "any scalar"
                }
                _ => return,
            };
            fault(format!("expected {expected}, got {value}"));
        }
        (Shape::Struct(declared), Value::Object(object)) => {
            for (key, child) in object {
                let at = format!("{path}.{key}");
                match declared.fields.get(key) {
                    Some(field) => walk(&field.ty.get(), child, &at, faults),
                    None if declared.open => {}
                    None => faults.push(format!("{at}: field not declared in schema")),
                }
            }
        }
        (Shape::Map(values), Value::Object(object)) => {
            let ty = values.get();
            for (key, child) in object {
                walk(&ty, child, &format!("{path}.{key}"), faults);
            }
        }
        (Shape::List(list), Value::Array(items)) => {
            let ty = list.item.get();
            let mut seen = Vec::new();
            for (index, item) in items.iter().enumerate() {
                let at = if list.kind == ListKind::Atomic {
                    format!("[{index}]")
                } else {
                    match identity(list, item) {
                        Ok(element) if seen.contains(&element) => {
                            faults.push(format!("{path}: duplicate entries for key {element}"));
                            continue;
                        }
                        Ok(element) => {
                            seen.push(element.clone());
                            element.to_string()
                        }
                        Err(text) => {
                            faults.push(format!("{path}: element {index}: {text}"));
                            continue;
                        }
                    }
                };
                walk(&ty, item, &format!("{path}{at}"), faults);
            }
        }
        (Shape::Struct(_) | Shape::Map(_), value) => fault(format!("expected map, got {value}")),
        (Shape::List(_), value) => fault(format!("expected list, got {value}")),
    }
}
