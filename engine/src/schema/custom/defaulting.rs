//! Defaults of custom resources: those their schema states.

use serde_json::Value;

use crate::schema::types::{Shape, Type};

/// Fills in defaults. A `null` where none is allowed counts as absent.
pub fn apply_defaults(ty: &Type, value: &mut Value) {
    match (&ty.shape, value) {
        (Shape::Struct(declared), Value::Object(object)) => {
            for (name, field) in &declared.fields {
                if object.get(name).is_some_and(Value::is_null) && !field.ty.get().nullable {
                    object.shift_remove(name);
                }
                if let Some(default) = &field.default
                    && !object.contains_key(name)
                {
                    object.insert(name.clone(), default.clone());
                }
            }
            for (name, child) in object.iter_mut() {
                if let Some(field) = declared.fields.get(name) {
                    apply_defaults(&field.ty.get(), child);
                }
            }
        }
        (Shape::Map(values), Value::Object(object)) => {
            let ty = values.get();
            object.values_mut().for_each(|value| apply_defaults(&ty, value));
        }
        (Shape::List(list), Value::Array(items)) => {
            let ty = list.item.get();
            items.iter_mut().for_each(|item| apply_defaults(&ty, item));
        }
        _ => {}
    }
}
