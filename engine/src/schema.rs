//! What the server knows of every kind: paths, fields, defaults, list keys, rules.
//!
//! Built-in kinds are data (`engine/schema/`), custom kinds come from CustomResourceDefinitions; both end in the same
//! [`SchemaRef`], which prunes, defaults and validates values and tells patches and field managers how lists and maps merge.

pub mod builtin;
mod custom;
mod defaults;
pub(crate) mod format;
mod openapi;
pub mod protobuf;
mod prune;
pub mod quantity;
mod registry;
mod resource;
mod rules;
pub mod types;
mod validate;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

pub use registry::Registry;
pub use resource::{Column, Resource, Scale, Subresources};
use types::{Type, TypeRef};

/// The type of the objects of a resource. Cheap to clone; a built-in one is parsed when first used.
#[derive(Clone)]
pub struct SchemaRef {
    reference: TypeRef,
    custom: bool,
    status: bool,
}

impl fmt::Debug for SchemaRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reference {
            TypeRef::Named(name) => formatter.write_str(name),
            TypeRef::Inline(_) => formatter.write_str("custom"),
        }
    }
}

impl SchemaRef {
    /// A built-in type by its short name, e.g. `core.v1.Pod` or `meta.v1.DeleteOptions`.
    pub fn named(name: &str) -> Self {
        Self { reference: TypeRef::Named(name.to_owned()), custom: false, status: false }
    }

    /// The type of a custom resource.
    pub(crate) fn custom(ty: Arc<Type>) -> Self {
        Self { reference: TypeRef::Inline(ty), custom: true, status: false }
    }

    /// The same for objects whose status is written through `/status` only.
    pub(crate) fn with_status(self, status: bool) -> Self {
        Self { status, ..self }
    }

    /// Whether the status of the objects is written through `/status` only.
    pub fn has_status(&self) -> bool {
        self.status
    }

    /// Whether the objects are custom resources.
    pub fn is_custom(&self) -> bool {
        self.custom
    }

    /// The type itself.
    pub fn ty(&self) -> Arc<Type> {
        self.reference.get()
    }

    /// Drops every field the type does not have and gives their paths (`spec.containers[0].foo`).
    pub fn prune(&self, value: &mut Value) -> Vec<String> {
        prune::prune(&self.ty(), value)
    }

    /// Fills in what is absent and has a default.
    pub fn apply_defaults(&self, value: &mut Value) {
        if self.custom {
            custom::apply_defaults(&self.ty(), value);
        } else {
            defaults::apply(&self.ty(), value);
        }
    }

    /// Where an object is not of its type.
    pub fn check_types(&self, value: &Value) -> Vec<FieldError> {
        let mut errors = Vec::new();
        validate::check_types(&self.ty(), value, "", &mut errors);
        errors
    }

    /// What is wrong with a complete object; `old` is the object it replaces.
    pub fn validate(&self, value: &Value, old: Option<&Value>) -> Vec<FieldError> {
        validate::validate(&self.ty(), self.custom, value, old)
    }
}

/// One fault of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// Where, e.g. `spec.ports[0].port`.
    pub path: String,
    /// `FieldValueRequired`, `FieldValueInvalid`, `FieldValueNotSupported`, …
    pub reason: &'static str,
    /// What, e.g. `Required value: must be set`.
    pub message: String,
    /// The value that is wrong.
    pub bad_value: Value,
}

impl FieldError {
    /// A field that must be there and is not.
    pub fn required(path: impl Into<String>, detail: &str) -> Self {
        let message =
            if detail.is_empty() { "Required value".to_owned() } else { format!("Required value: {detail}") };
        Self { path: path.into(), reason: "FieldValueRequired", message, bad_value: Value::Null }
    }

    /// A value that breaks a rule.
    pub fn invalid(path: impl Into<String>, value: &Value, detail: impl fmt::Display) -> Self {
        let message = format!("Invalid value: {}: {detail}", shown(value));
        Self { path: path.into(), reason: "FieldValueInvalid", message, bad_value: value.clone() }
    }

    /// A value of another type than declared.
    pub fn type_invalid(path: impl Into<String>, value: &Value, detail: impl fmt::Display) -> Self {
        let message = format!("Invalid value: {}: {detail}", shown(value));
        Self { path: path.into(), reason: "FieldValueTypeInvalid", message, bad_value: value.clone() }
    }

    /// A value that is not one of those supported.
    pub fn not_supported(path: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        let message = format!("Unsupported value: {}: supported values: {}", shown(value), quoted.join(", "));
        Self { path: path.into(), reason: "FieldValueNotSupported", message, bad_value: value.clone() }
    }

    /// A value that is there twice.
    pub fn duplicate(path: impl Into<String>, value: &Value) -> Self {
        let message = format!("Duplicate value: {}", shown(value));
        Self { path: path.into(), reason: "FieldValueDuplicate", message, bad_value: value.clone() }
    }

    /// A field that may not be set, or not be changed.
    pub fn forbidden(path: impl Into<String>, detail: impl fmt::Display) -> Self {
        let message = format!("Forbidden: {detail}");
        Self { path: path.into(), reason: "FieldValueForbidden", message, bad_value: Value::Null }
    }

    /// A reference to something that is not there.
    pub fn not_found(path: impl Into<String>, value: &Value) -> Self {
        let message = format!("Not found: {}", shown(value));
        Self { path: path.into(), reason: "FieldValueNotFound", message, bad_value: value.clone() }
    }

    /// More than the field may hold.
    pub fn too_long(path: impl Into<String>, limit: usize) -> Self {
        let message = format!("Too long: may not be more than {limit} bytes");
        Self { path: path.into(), reason: "FieldValueTooLong", message, bad_value: Value::Null }
    }
}

/// A value in a message: texts quoted, the rest as JSON.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}

/// The path of a field of an object, as messages write it.
pub(crate) fn at_field(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// The path of a value in a map, as messages write it.
pub(crate) fn at_key(path: &str, key: &str) -> String {
    format!("{path}[{key}]")
}

/// The path of an element of a list.
pub(crate) fn at_index(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}
