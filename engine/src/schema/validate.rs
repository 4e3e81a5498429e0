//! Validation: types of values, what is required, and the rules of built-in and custom kinds.

mod builtin;
mod named;

use serde_json::Value;

use super::rules::{is_of_type, type_of, wrong_type};
use super::types::{ListKind, Scalar, Shape, Type};
use super::{FieldError, at_field, at_index, format, quantity};

/// What is wrong with `value`; `old` is the object it replaces.
pub fn validate(ty: &Type, custom: bool, value: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    walk(ty, value, "", &mut errors);
    if !custom {
        return errors;
    }
    if errors.is_empty() {
        evaluate(ty, value, old, "", &mut errors);
    } else if has_expressions(ty, 0) {
        let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        errors.push(FieldError::invalid("", &Value::Null, detail));
    }
    errors
}

/// Adds where `value` is not of its type; nothing else is looked at.
pub fn check_types(ty: &Type, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if value.is_null() {
        return;
    }
    match (&ty.shape, value) {
        (Shape::Any, _) => {}
        (Shape::Scalar(scalar), value) => check_scalar(*scalar, value, path, errors),
        (Shape::Struct(declared), Value::Object(object)) => {
            for (name, child) in object {
                if let Some(field) = declared.fields.get(name) {
                    check_types(&field.ty.get(), child, &at_field(path, name), errors);
                }
            }
        }
        (Shape::Map(values), Value::Object(object)) => {
            let ty = values.get();
            object.iter().for_each(|(key, child)| check_types(&ty, child, &at_field(path, key), errors));
        }
        (Shape::List(list), Value::Array(items)) => {
            let ty = list.item.get();
            for (index, child) in items.iter().enumerate() {
                check_types(&ty, child, &at_index(path, index), errors);
            }
        }
        (Shape::Struct(_) | Shape::Map(_), value) => errors.push(wrong_type(path, value, "object")),
        (Shape::List(_), value) => errors.push(wrong_type(path, value, "array")),
    }
}

fn walk(ty: &Type, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    // Built-in types cannot tell null from absent.
    if value.is_null() && (ty.nullable || ty.rules.is_none()) {
        return;
    }
    match (&ty.shape, value) {
        (Shape::Any, _) => {}
        (Shape::Scalar(scalar), value) => check_scalar(*scalar, value, path, errors),
        (Shape::Struct(declared), Value::Object(object)) => {
            for (name, field) in &declared.fields {
                let at = at_field(path, name);
                match object.get(name) {
                    Some(child) => walk(&field.ty.get(), child, &at, errors),
                    None if field.required && ty.name.is_empty() => errors.push(FieldError::required(at, "")),
                    None => {}
                }
            }
            if declared.embedded {
                for name in ["apiVersion", "kind"] {
                    if object.get(name).and_then(Value::as_str).unwrap_or_default().is_empty() {
                        errors.push(FieldError::required(at_field(path, name), "must not be empty"));
                    }
                }
            }
            if !ty.name.is_empty() {
                builtin::check(&ty.name, object, path, errors);
            }
        }
        (Shape::Map(values), Value::Object(object)) => {
            let ty = values.get();
            for (key, child) in object {
                walk(&ty, child, &at_field(path, key), errors);
            }
        }
        (Shape::List(list), Value::Array(items)) => {
            let item = list.item.get();
            for (index, child) in items.iter().enumerate() {
                walk(&item, child, &at_index(path, index), errors);
            }
            if ty.rules.is_some() {
                check_unique(&list.kind, items, path, errors);
            }
        }
        (Shape::Struct(_) | Shape::Map(_), value) => errors.push(wrong_type(path, value, "object")),
        (Shape::List(_), value) => errors.push(wrong_type(path, value, "array")),
    }
    if let Some(rules) = &ty.rules {
        rules.check(value, path, errors);
    }
}

fn check_scalar(scalar: Scalar, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let mut need = |declared: &str, fits: bool| {
        if !fits {
            errors.push(wrong_type(path, value, declared));
        }
    };
    match scalar {
        Scalar::String => need("string", value.is_string()),
        Scalar::Boolean => need("boolean", value.is_boolean()),
        Scalar::Int64 => need("integer", is_of_type("integer", value)),
        Scalar::Int32 => need("integer", value.as_i64().is_some_and(|number| i32::try_from(number).is_ok())),
        Scalar::Number => need("number", value.is_number()),
        Scalar::IntOrString => need("integer,string", value.is_string() || is_of_type("integer", value)),
        Scalar::Quantity => {
            let text = value.as_str().map_or_else(|| value.to_string(), String::from);
            if quantity::nanos(&text).is_none() {
                let detail = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
                errors.push(FieldError::invalid(path, value, detail));
            }
        }
        Scalar::Bytes if value.as_str().is_some_and(|text| !format::is_base64(text)) => {
            errors.push(FieldError::invalid(path, value, "illegal base64 data"));
        }
        Scalar::Time | Scalar::MicroTime if value.as_str().is_some_and(|text| !format::is_time(text)) => {
            errors.push(FieldError::invalid(path, value, "must be a time in RFC 3339"));
        }
        Scalar::Bytes | Scalar::Time | Scalar::MicroTime => need("string", value.is_string()),
    }
}

/// Elements of sets and maps may not repeat.
fn check_unique(kind: &ListKind, items: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let mut seen: Vec<Value> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let identity = match kind {
            ListKind::Atomic => return,
            ListKind::Set => item.clone(),
            ListKind::Map(keys) => keys.iter().map(|key| (key.clone(), item[key].clone())).collect(),
        };
        if seen.contains(&identity) {
            errors.push(FieldError::duplicate(at_index(path, index), &identity));
        }
        seen.push(identity);
    }
}

/// Evaluates the expressions of custom types, with the value that was in the same place before.
fn evaluate(ty: &Type, value: &Value, old: Option<&Value>, path: &str, errors: &mut Vec<FieldError>) {
    if value.is_null() {
        return;
    }
    if let Some(rules) = &ty.rules {
        rules.evaluate(value, old.filter(|old| type_of(old) == type_of(value)), path, errors);
    }
    match (&ty.shape, value) {
        (Shape::Struct(declared), Value::Object(object)) => {
            for (name, field) in &declared.fields {
                if let Some(child) = object.get(name) {
                    let old = old.and_then(|old| old.get(name));
                    evaluate(&field.ty.get(), child, old, &at_field(path, name), errors);
                }
            }
        }
        (Shape::Map(values), Value::Object(object)) => {
            let ty = values.get();
            for (key, child) in object {
                evaluate(&ty, child, old.and_then(|old| old.get(key)), &super::at_key(path, key), errors);
            }
        }
        (Shape::List(list), Value::Array(items)) => {
            let ty = list.item.get();
            for (index, child) in items.iter().enumerate() {
                // Only lists with keys tell which element a new one was before.
                let old = match &list.kind {
                    ListKind::Map(keys) => old
                        .and_then(Value::as_array)
                        .and_then(|old| old.iter().find(|old| keys.iter().all(|key| old[key] == child[key]))),
                    _ => None,
                };
                evaluate(&ty, child, old, &at_index(path, index), errors);
            }
        }
        _ => {}
    }
}

fn has_expressions(ty: &Type, depth: usize) -> bool {
    if !ty.name.is_empty() || depth > 32 {
        return false;
    }
    let own = ty.rules.as_ref().is_some_and(|rules| !rules.expressions.is_empty());
    own || match &ty.shape {
        Shape::Struct(declared) => {
            declared.fields.values().any(|field| has_expressions(&field.ty.get(), depth + 1))
        }
        Shape::Map(values) => has_expressions(&values.get(), depth + 1),
        Shape::List(list) => has_expressions(&list.item.get(), depth + 1),
        Shape::Any | Shape::Scalar(_) => false,
    }
}

#[cfg(test)]
mod tests;
