//! The format of the type files, which `engine/schema/README.md` describes.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use crate::schema::types::{Field, List, ListKind, Scalar, Shape, Struct, Type, TypeRef};

/// The package line at the top of a file: short and full name.
pub fn package(file: &'static str) -> Option<(&'static str, &'static str)> {
    file.lines().next()?.strip_prefix("package ")?.split_once(' ')
}

/// One block: the heading, then a line for each field.
pub fn parse_type(package: &str, name: &str, text: &str) -> Type {
    let mut lines = text.lines();
    let heading = lines.next().unwrap_or_default();
    let fields: IndexMap<String, Field> = lines.filter_map(|line| parse_field(package, line)).collect();
    Type {
        name: name.to_owned(),
        shape: Shape::Struct(Struct { fields, open: false, embedded: false }),
        atomic: heading.ends_with(" atomic"),
        ..Type::default()
    }
}

fn parse_field(package: &str, line: &str) -> Option<(String, Field)> {
    let (declaration, default) = match line.split_once(" = ") {
        Some((declaration, default)) => (declaration, serde_json::from_str::<Value>(default).ok()),
        None => (line, None),
    };
    let mut words = declaration.split_whitespace();
    let name = words.next()?;
    let ty = words.next()?;
    let mut field = Field { default, required: name.ends_with('!'), ..Field::default() };
    let (mut atomic, mut kind) = (false, None);
    for word in words {
        match word.split_once('(').map_or((word, ""), |(word, rest)| (word, rest.trim_end_matches(')'))) {
            ("atomic", _) => atomic = true,
            ("set", _) => kind = Some(ListKind::Set),
            ("map", keys) => kind = Some(ListKind::Map(keys.split(',').map(String::from).collect())),
            ("retainKeys", _) => field.retain_keys = true,
            ("merge", key) => {
                field.merge = true;
                field.merge_key = (!key.is_empty()).then(|| key.to_owned());
            }
            _ => {}
        }
    }
    // Lists that say only how they are patched are owned by the same key.
    let kind = kind.unwrap_or_else(|| match (&field.merge_key, field.merge) {
        (Some(key), _) => ListKind::Map(vec![key.clone()]),
        (None, true) => ListKind::Set,
        (None, false) => ListKind::Atomic,
    });
    field.ty = reference(package, ty, kind, atomic);
    Some((name.trim_end_matches('!').to_owned(), field))
}

fn reference(package: &str, text: &str, kind: ListKind, atomic: bool) -> TypeRef {
    let inner = |text: &str| reference(package, text, ListKind::Atomic, false);
    let bracketed = |open: char, close: char| text.strip_prefix(open)?.strip_suffix(close);
    let shape = if let Some(item) = bracketed('[', ']') {
        Shape::List(List { item: inner(item), kind })
    } else if let Some(values) = bracketed('{', '}') {
        Shape::Map(inner(values))
    } else {
        match scalar(text) {
            Some(shape) => shape,
            None if text.contains('.') => return TypeRef::Named(text.to_owned()),
            None => return TypeRef::Named(format!("{package}.{text}")),
        }
    };
    TypeRef::Inline(Arc::new(Type { shape, atomic, ..Type::default() }))
}

fn scalar(text: &str) -> Option<Shape> {
    Some(Shape::Scalar(match text {
        "any" => return Some(Shape::Any),
        "string" => Scalar::String,
        "bytes" => Scalar::Bytes,
        "bool" => Scalar::Boolean,
        "int32" => Scalar::Int32,
        "int64" => Scalar::Int64,
        "number" => Scalar::Number,
        "int-or-string" => Scalar::IntOrString,
        "quantity" => Scalar::Quantity,
        "time" => Scalar::Time,
        "micro-time" => Scalar::MicroTime,
        _ => return None,
    }))
}
