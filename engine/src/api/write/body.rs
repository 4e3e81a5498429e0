//! Request bodies: from JSON or YAML to a value, with what strict validation wants to know about duplicate fields.

use std::fmt;

use http::{HeaderMap, header};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::schema::{self, at_field, at_index};
use crate::status::Status;

/// How Go's typed clients send built-in kinds.
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Media types that objects are sent as.
const ACCEPTED: [&str; 3] = ["application/json", "application/yaml", PROTOBUF];

/// A decoded body.
#[derive(Debug, Default, PartialEq)]
pub struct Body {
    /// What it says; of duplicate fields the last.
    pub value: Value,
    /// Paths of fields that are there more than once.
    pub duplicates: Vec<String>,
}

/// The media type of a request's body, without parameters; empty when there is none.
pub fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Decodes an object.
pub fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Body, Status> {
    match media_type(headers) {
        "" | "*/*" | "application/json" => json(body),
        "application/yaml" | "application/x-yaml" | "text/yaml" => yaml(body),
        PROTOBUF => protobuf(body),
        _ => Err(Status::unsupported_media_type(&ACCEPTED)),
    }
}

/// Decodes JSON.
pub fn json(body: &[u8]) -> Result<Body, Status> {
    let node: Node = serde_json::from_slice(body).map_err(|error| {
        Status::bad_request(format!("couldn't get version/kind; json parse error: {error}"))
    })?;
    Ok(Body { value: node.value, duplicates: node.duplicates })
}

fn protobuf(body: &[u8]) -> Result<Body, Status> {
    let decoded = schema::protobuf::decode(body);
    let value =
        decoded.map_err(|why| Status::bad_request(format!("cannot read the protobuf body: {why}")))?;
    Ok(Body { value, duplicates: Vec::new() })
}

/// Decodes YAML, of which JSON is a part.
pub fn yaml(body: &[u8]) -> Result<Body, Status> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Status::bad_request(format!("the body is not UTF-8: {error}")))?;
    let options =
        serde_saphyr::options! { duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::PassThrough };
    let node: Node = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| Status::bad_request(format!("error converting YAML to JSON: {error}")))?;
    Ok(Body { value: node.value, duplicates: node.duplicates })
}

/// A value and the paths of duplicate fields in it.
struct Node {
    value: Value,
    duplicates: Vec<String>,
}

impl Node {
    fn leaf(value: impl Into<Value>) -> Self {
        Self { value: value.into(), duplicates: Vec::new() }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::leaf(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::leaf(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::leaf(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a finite number"))?;
        Ok(Node::leaf(Value::Number(number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::leaf(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::leaf(value))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::leaf(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::leaf(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
        let (mut items, mut duplicates) = (Vec::new(), Vec::new());
        while let Some(node) = sequence.next_element::<Node>()? {
            let at = at_index("", items.len());
            duplicates.extend(node.duplicates.into_iter().map(|path| below(&at, &path)));
            items.push(node.value);
        }
        Ok(Node { value: Value::Array(items), duplicates })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let (mut fields, mut duplicates) = (Map::new(), Vec::new());
        while let Some(name) = entries.next_key::<String>()? {
            let node: Node = entries.next_value()?;
            duplicates.extend(node.duplicates.into_iter().map(|path| below(&name, &path)));
            if fields.insert(name.clone(), node.value).is_some() && !duplicates.contains(&name) {
                duplicates.push(name);
            }
        }
        Ok(Node { value: Value::Object(fields), duplicates })
    }
}

fn below(outer: &str, inner: &str) -> String {
    if inner.starts_with('[') { format!("{outer}{inner}") } else { at_field(outer, inner) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(decoded: Result<Body, Status>, value: Value, duplicates: &[&str]) {
        let decoded = decoded.unwrap();
        assert_eq!(decoded.value, value);
        assert_eq!(decoded.duplicates, duplicates);
    }

    #[test]
    fn the_last_of_duplicate_fields_counts_and_all_are_named() {
        check(
            json(br#"{"a": 1, "b": [{"c": 1.5, "c": null}], "a": {"d": -1, "d": true}}"#),
            json!({"a": {"d": true}, "b": [{"c": null}]}),
            &["b[0].c", "a.d", "a"],
        );
    }

    #[test]
    fn yaml_is_read_as_well() {
        check(
            yaml(b"a: 1\nb: [x, 'y']\nc:\n  80: z\n  d: ~\n  d: 0.5\n"),
            json!({"a": 1, "b": ["x", "y"], "c": {"80": "z", "d": 0.5}}),
            &["c.d"],
        );
    }

    #[test]
    fn other_media_types_are_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "application/cbor".parse().unwrap());
        assert_eq!(decode(&headers, b"").unwrap_err().code(), 415);
        assert_eq!(json(b"{").unwrap_err().code(), 400);
    }
}
