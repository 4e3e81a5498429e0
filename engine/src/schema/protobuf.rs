//! Objects in Kubernetes' protobuf encoding, read into values. `kubectl` and Go's typed clients send built-in kinds that way.
//!
//! Only reading: JSON is written to everyone. Numbers and types of the fields are data (`engine/schema/protobuf.txt`).

mod table;
mod wire;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use table::{Field, Kind, Place};
use wire::{Item, Reader};

/// What every encoded object begins with.
const MAGIC: &[u8] = b"k8s\0";

/// How deep messages may be nested; upstream's own limit for JSON is in the same order.
const DEEPEST: usize = 100;

/// Reads an encoded object. The error completes "cannot read the protobuf body:".
pub fn decode(bytes: &[u8]) -> Result<Value, String> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or("it does not begin with the four bytes of an object")?;
    let (mut api_version, mut kind, mut content) = (String::new(), String::new(), &[][..]);
    for field in Reader::new(envelope) {
        match field? {
            (1, item) => {
                for field in Reader::new(item.bytes()?) {
                    match field? {
                        (1, item) => api_version = item.text()?,
                        (2, item) => kind = item.text()?,
                        _ => {}
                    }
                }
            }
            (2, item) => content = item.bytes()?,
            _ => {}
        }
    }
    let name = table::root(&api_version, &kind)
        .ok_or_else(|| format!("no encoding is known of {kind:?} in {api_version:?}"))?;
    let mut object = Map::new();
    object.insert("apiVersion".into(), json!(api_version));
    object.insert("kind".into(), json!(kind));
    message(name, content, &mut object, 0)?;
    Ok(Value::Object(object))
}

/// Reads the fields of a message into `object`.
fn message(name: &str, bytes: &[u8], object: &mut Map<String, Value>, depth: usize) -> Result<(), String> {
    if depth > DEEPEST {
        return Err(format!("{name} is nested too deeply"));
    }
    let ty = table::message(name).ok_or_else(|| format!("no encoding is known of {name}"))?;
    for field in Reader::new(bytes) {
        let (number, item) = field?;
        // Fields of a newer version than this are left out, as unknown fields are.
        let Some(field) = ty.field(number) else { continue };
        match &field.place {
            Place::Within => {
                let Kind::Message(inner) = &field.kind else { continue };
                message(inner, item.bytes()?, object, depth + 1)?;
            }
            Place::At(name) => set(name, field, item, object, depth)?,
        }
    }
    Ok(())
}

fn set(
    name: &str,
    field: &Field,
    item: Item<'_>,
    object: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), String> {
    match &field.kind {
        Kind::List(kind) => {
            let list = object.entry(name).or_insert_with(|| json!([]));
            let element = value(kind, item, depth)?;
            list.as_array_mut().into_iter().for_each(|list| list.push(element.clone()));
        }
        Kind::Map(kind) => {
            let map = object.entry(name).or_insert_with(|| json!({}));
            let (mut key, mut content) = (String::new(), zero(kind));
            for field in Reader::new(item.bytes()?) {
                match field? {
                    (1, item) => key = item.text()?,
                    (2, item) => content = value(kind, item, depth)?,
                    _ => {}
                }
            }
            map.as_object_mut().into_iter().for_each(|map| drop(map.insert(key.clone(), content.clone())));
        }
        kind => {
            let content = value(kind, item, depth)?;
            // Go writes fields that were never set; they mean what absence means.
            if field.keeps_zero || content != zero(kind) {
                object.insert(name.to_owned(), content);
            }
        }
    }
    Ok(())
}

/// One value.
fn value(kind: &Kind, item: Item<'_>, depth: usize) -> Result<Value, String> {
    Ok(match kind {
        Kind::Text => json!(item.text()?),
        Kind::Bytes => json!(STANDARD.encode(item.bytes()?)),
        Kind::Integer => json!(item.integer()?),
        Kind::Boolean => json!(item.integer()? != 0),
        Kind::Double => json!(item.double()?),
        Kind::Quantity => json!(first_text(item.bytes()?)?),
        Kind::Time => moment(item.bytes()?, false)?,
        Kind::MicroTime => moment(item.bytes()?, true)?,
        Kind::IntOrString => int_or_string(item.bytes()?)?,
        Kind::Json => {
            let text = first_text(item.bytes()?)?;
            text.parse().map_err(|error| format!("embedded JSON: {error}"))?
        }
        Kind::Message(name) => {
            let mut object = Map::new();
            message(name, item.bytes()?, &mut object, depth + 1)?;
            Value::Object(object)
        }
        // A list that is a message of its own, with the elements in field 1.
        Kind::Wrapped(kind) => {
            let items = Reader::new(item.bytes()?).map(|field| value(kind, field?.1, depth + 1));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Kind::List(_) | Kind::Map(_) => return Err("a list within a list".to_owned()),
    })
}

/// What Go writes for a field that was never set.
fn zero(kind: &Kind) -> Value {
    match kind {
        Kind::Text | Kind::Bytes | Kind::Quantity => json!(""),
        Kind::Integer | Kind::IntOrString => json!(0),
        Kind::Boolean => json!(false),
        Kind::Double => json!(0.0),
        Kind::Time | Kind::MicroTime | Kind::Json => Value::Null,
        Kind::Message(_) | Kind::Map(_) => json!({}),
        Kind::List(_) | Kind::Wrapped(_) => json!([]),
    }
}

/// The text in field 1 of a message.
fn first_text(bytes: &[u8]) -> Result<String, String> {
    for field in Reader::new(bytes) {
        if let (1, item) = field? {
            return item.text();
        }
    }
    Ok(String::new())
}

/// Seconds and nanoseconds since 1970; nothing at all for the zero time.
fn moment(bytes: &[u8], micro: bool) -> Result<Value, String> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanoseconds) = (0, 0);
    for field in Reader::new(bytes) {
        match field? {
            (1, item) => seconds = item.integer()?,
            (2, item) => nanoseconds = item.integer()?,
            _ => {}
        }
    }
    let nanoseconds = i32::try_from(nanoseconds).map_err(|_| "a time is out of range")?;
    let moment = Timestamp::new(seconds, nanoseconds).map_err(|_| "a time is out of range")?;
    Ok(json!(if micro { format!("{moment:.6}") } else { format!("{moment:.0}") }))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, String> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for field in Reader::new(bytes) {
        match field? {
            (1, item) => is_text = item.integer()? == 1,
            (2, item) => number = item.integer()?,
            (3, item) => text = item.text()?,
            _ => {}
        }
    }
    Ok(if is_text { json!(text) } else { json!(number) })
}

#[cfg(test)]
mod tests;
