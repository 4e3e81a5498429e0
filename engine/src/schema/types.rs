//! What is known of a type: its shape, how its lists and maps merge, and the rules its values follow.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use super::builtin;
use super::rules::Rules;

/// A type: of a built-in kind, or of a part of a custom resource.
#[derive(Debug, Default)]
pub struct Type {
    /// `core.v1.PodSpec` for built-in named types; empty for types written in place.
    pub name: String,
    /// What values look like.
    pub shape: Shape,
    /// Whether `null` is a value of its own (custom resources only).
    pub nullable: bool,
    /// Owned and replaced as a whole, whatever is inside.
    pub atomic: bool,
    /// Rules on values from a CustomResourceDefinition.
    pub rules: Option<Box<Rules>>,
}

/// The shape of a type's values.
#[derive(Debug, Default)]
pub enum Shape {
    /// Anything goes; owners and merges are worked out from the values.
    #[default]
    Any,
    /// A single value.
    Scalar(Scalar),
    /// An object with declared fields.
    Struct(Struct),
    /// An object with any keys and values of one type.
    Map(TypeRef),
    /// A list.
    List(List),
}

/// Kinds of single values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    String,
    /// Base64.
    Bytes,
    /// `true` or `false`.
    Boolean,
    /// An integer of 32 bits.
    Int32,
    /// An integer of 64 bits.
    Int64,
    /// Any number.
    Number,
    /// An integer or a text such as `25%`.
    IntOrString,
    /// `500m`, `1Gi`, or a plain number.
    Quantity,
    /// RFC 3339, whole seconds.
    Time,
    /// RFC 3339, microseconds.
    MicroTime,
}

/// An object with declared fields.
#[derive(Debug, Default)]
pub struct Struct {
    /// Fields in the order of the declaration.
    pub fields: IndexMap<String, Field>,
    /// Unknown fields are kept.
    pub open: bool,
    /// `apiVersion`, `kind` and `metadata` are those of an object embedded in another.
    pub embedded: bool,
}

/// One field of a [`Struct`].
#[derive(Debug, Default)]
pub struct Field {
    /// Type of the value.
    pub ty: TypeRef,
    /// An object without the field is invalid.
    pub required: bool,
    /// Value of the field when it is absent.
    pub default: Option<Value>,
    /// Strategic merge: fields the patch does not name are dropped from this object.
    pub retain_keys: bool,
    /// Strategic merge: lists and maps are merged, not replaced.
    pub merge: bool,
    /// Strategic merge: the field that identifies an element.
    pub merge_key: Option<String>,
}

/// A list.
#[derive(Debug)]
pub struct List {
    /// Type of the elements.
    pub item: TypeRef,
    /// What identifies an element.
    pub kind: ListKind,
}

/// What identifies an element of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListKind {
    /// Nothing: the list is one value.
    Atomic,
    /// The element itself.
    Set,
    /// These fields of the element.
    Map(Vec<String>),
}

/// A type, in place or by name. Names let types contain themselves.
#[derive(Debug, Clone)]
pub enum TypeRef {
    /// Written in place.
    Inline(Arc<Type>),
    /// A built-in type by its name.
    Named(String),
}

impl Default for TypeRef {
    fn default() -> Self {
        Self::Inline(builtin::any())
    }
}

impl TypeRef {
    /// A type written in place.
    pub fn inline(shape: Shape) -> Self {
        Self::Inline(Arc::new(Type { shape, ..Type::default() }))
    }

    /// The type; anything for a name that does not exist.
    pub fn get(&self) -> Arc<Type> {
        match self {
            Self::Inline(ty) => Arc::clone(ty),
            Self::Named(name) => builtin::named(name).unwrap_or_else(builtin::any),
        }
    }
}

impl Type {
    /// The declared field `name`, if this is an object that has it.
    pub fn field(&self, name: &str) -> Option<&Field> {
        match &self.shape {
            Shape::Struct(fields) => fields.fields.get(name),
            _ => None,
        }
    }

    /// The type of the value under `key` of an object of this type: a field's, a map's values', or anything.
    pub fn child(&self, key: &str) -> Option<Arc<Type>> {
        match &self.shape {
            Shape::Struct(fields) => match fields.fields.get(key) {
                Some(field) => Some(field.ty.get()),
                None if fields.open => Some(builtin::any()),
                None => None,
            },
            Shape::Map(values) => Some(values.get()),
            Shape::Any => Some(builtin::any()),
            Shape::Scalar(_) | Shape::List(_) => None,
        }
    }

    /// The type of the elements, if this is a list (or anything).
    pub fn item(&self) -> Option<Arc<Type>> {
        match &self.shape {
            Shape::List(list) => Some(list.item.get()),
            Shape::Any => Some(builtin::any()),
            _ => None,
        }
    }
}
