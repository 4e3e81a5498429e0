//! Removal of fields a type does not have.

use serde_json::Value;

use super::types::{Shape, Type};
use super::{at_field, at_index};

/// Drops unknown fields everywhere in `value` and gives their paths.
pub fn prune(ty: &Type, value: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(ty, value, "", &mut unknown);
    unknown
}

fn walk(ty: &Type, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match (&ty.shape, value) {
        (Shape::Struct(declared), Value::Object(object)) => {
            // A typed server cannot tell null from absent in its own kinds.
            let typed = !ty.name.is_empty();
            object.retain(|name, value| {
                let known = declared.fields.contains_key(name);
                if !known && !declared.open {
                    unknown.push(at_field(path, name));
                }
                (known || declared.open) && !(typed && value.is_null())
            });
            for (name, child) in object.iter_mut() {
                if let Some(field) = declared.fields.get(name) {
                    walk(&field.ty.get(), child, &at_field(path, name), unknown);
                }
            }
        }
        (Shape::Map(values), Value::Object(object)) => {
            let ty = values.get();
            for (key, child) in object.iter_mut() {
                walk(&ty, child, &at_field(path, key), unknown);
            }
        }
        (Shape::List(list), Value::Array(items)) => {
            let ty = list.item.get();
            for (index, item) in items.iter_mut().enumerate() {
                walk(&ty, item, &at_index(path, index), unknown);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::schema::SchemaRef;

    #[test]
    fn unknown_fields_are_dropped_and_named_by_path() {
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "foo": 1, "creationTimestamp": null,
            "labels": {"x": "y"}}, "spec": {"containers": [{"name": "a", "imagee": "b"}], "nodeSelector": {"k": "v"}}, "extra": 1});
        let unknown = SchemaRef::named("core.v1.Pod").prune(&mut pod);
        assert_eq!(unknown, ["extra", "metadata.foo", "spec.containers[0].imagee"]);
        assert_eq!(
            pod,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"x": "y"}},
                "spec": {"containers": [{"name": "a"}], "nodeSelector": {"k": "v"}}})
        );
    }
}
