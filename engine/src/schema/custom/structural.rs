//! From an `openAPIV3Schema` to a type, with the rules that make a schema structural.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use crate::schema::rules;
use crate::schema::types::{Field, List, ListKind, Scalar, Shape, Struct, Type, TypeRef};

/// The type of whole objects: the declared fields, and the three that every object has.
pub fn root(schema: &Value, path: &str, faults: &mut Vec<String>) -> Type {
    if !schema.is_object() {
        faults.push(format!("{path}: Required value: schemas are required"));
        return Type::default();
    }
    if schema["type"] != "object" {
        faults.push(format!("{path}.type: Invalid value: {}: must be object at the root", schema["type"]));
    }
    let mut ty = node(schema, path, faults);
    if matches!(ty.shape, Shape::Any | Shape::Map(_)) {
        let open = matches!(ty.shape, Shape::Any);
        ty.shape = Shape::Struct(Struct { open, ..Struct::default() });
    }
    if let Shape::Struct(fields) = &mut ty.shape {
        object_fields(fields);
    }
    ty
}

/// `apiVersion`, `kind` and `metadata` are what they are everywhere, whatever the schema says.
fn object_fields(fields: &mut Struct) {
    let text = || TypeRef::inline(Shape::Scalar(Scalar::String));
    for (name, ty) in
        [("apiVersion", text()), ("kind", text()), ("metadata", TypeRef::Named("meta.v1.ObjectMeta".into()))]
    {
        fields.fields.insert(name.to_owned(), Field { ty, ..Field::default() });
    }
}

fn node(schema: &Value, path: &str, faults: &mut Vec<String>) -> Type {
    let rules = rules::parse(schema, false, path, faults);
    let preserve = schema["x-kubernetes-preserve-unknown-fields"] == true;
    let embedded = schema["x-kubernetes-embedded-resource"] == true;
    let int_or_string = schema["x-kubernetes-int-or-string"] == true;
    let shape = match schema["type"].as_str().unwrap_or_default() {
        _ if int_or_string => Shape::Scalar(Scalar::IntOrString),
        "object" => object(schema, preserve, embedded, path, faults),
        "array" => array(schema, path, faults),
        "string" => Shape::Scalar(Scalar::String),
        "boolean" => Shape::Scalar(Scalar::Boolean),
        "integer" => Shape::Scalar(Scalar::Int64),
        "number" => Shape::Scalar(Scalar::Number),
        "" if preserve => Shape::Any,
        "" => {
            faults
                .push(format!("{path}.type: Required value: must not be empty for specified object fields"));
            Shape::Any
        }
        other => {
            faults.push(format!("{path}.type: Unsupported value: {other:?}"));
            Shape::Any
        }
    };
    forbidden(schema, path, faults);
    Type {
        shape,
        nullable: schema["nullable"] == true,
        atomic: schema["x-kubernetes-map-type"] == "atomic",
        rules: Some(Box::new(rules)),
        ..Type::default()
    }
}

fn object(schema: &Value, preserve: bool, embedded: bool, path: &str, faults: &mut Vec<String>) -> Shape {
    let properties = schema["properties"].as_object();
    let additional =
        schema.get("additionalProperties").filter(|additional| **additional != Value::Bool(false));
    match (properties, additional) {
        (Some(properties), Some(_)) if !properties.is_empty() => {
            faults.push(format!("{path}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"));
        }
        _ => {}
    }
    if let (None, Some(values)) = (properties, additional) {
        let path = format!("{path}.additionalProperties");
        let values = match values {
            Value::Bool(_) => Type::default(),
            values => node(values, &path, faults),
        };
        return Shape::Map(TypeRef::Inline(Arc::new(values)));
    }
    if properties.is_none() && preserve && !embedded {
        return Shape::Any;
    }
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut fields: IndexMap<String, Field> = IndexMap::new();
    for (name, property) in properties.into_iter().flatten() {
        let path = format!("{path}.properties[{name}]");
        let ty = TypeRef::Inline(Arc::new(node(property, &path, faults)));
        let field = Field {
            ty,
            required: required.contains(&name.as_str()),
            default: property.get("default").cloned(),
            ..Field::default()
        };
        fields.insert(name.clone(), field);
    }
    // Required fields that are not declared are still required.
    for name in required {
        if !fields.contains_key(name) && preserve {
            fields.insert(name.to_owned(), Field { required: true, ..Field::default() });
        }
    }
    let mut declared = Struct { fields, open: preserve, embedded };
    if embedded {
        object_fields(&mut declared);
    }
    Shape::Struct(declared)
}

fn array(schema: &Value, path: &str, faults: &mut Vec<String>) -> Shape {
    let items = match schema.get("items") {
        Some(items) if items.is_object() => node(items, &format!("{path}.items"), faults),
        _ => {
            faults.push(format!("{path}.items: Required value: must be specified"));
            Type::default()
        }
    };
    let keys: Vec<String> = schema["x-kubernetes-list-map-keys"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|key| key.as_str().map(String::from))
        .collect();
    let kind = match schema["x-kubernetes-list-type"].as_str() {
        Some("set") => ListKind::Set,
        Some("map") => {
            if keys.is_empty() {
                faults.push(format!("{path}.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"));
            }
            for key in &keys {
                let has_default =
                    items.field(key).is_some_and(|field| field.required || field.default.is_some());
                if !has_default {
                    faults.push(format!("{path}.items.properties[{key}].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"));
                }
            }
            ListKind::Map(keys)
        }
        Some("atomic") | None => ListKind::Atomic,
        Some(other) => {
            faults.push(format!("{path}.x-kubernetes-list-type: Unsupported value: {other:?}: supported values: \"atomic\", \"map\", \"set\""));
            ListKind::Atomic
        }
    };
    Shape::List(List { item: TypeRef::Inline(Arc::new(items)), kind })
}

/// What no structural schema may contain.
fn forbidden(schema: &Value, path: &str, faults: &mut Vec<String>) {
    for key in [
        "$ref",
        "definitions",
        "dependencies",
        "deprecated",
        "discriminator",
        "id",
        "patternProperties",
        "readOnly",
        "writeOnly",
        "xml",
    ] {
        if schema.get(key).is_some() {
            faults.push(format!("{path}.{key}: Forbidden: {key} is not supported"));
        }
    }
    if schema["uniqueItems"] == true {
        faults.push(format!("{path}.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"));
    }
    if schema["additionalProperties"] == false {
        faults.push(format!(
            "{path}.additionalProperties: Forbidden: additionalProperties cannot be set to false"
        ));
    }
}
