//! One Kubernetes object as it was declared, and the name by which it is known.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What identifies an object in a cluster, whatever version it was written in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectId {
    /// API group; empty for core.
    pub group: String,
    /// Kind, as in `Deployment`.
    pub kind: String,
    /// Namespace; `None` for cluster-wide objects.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(out, "{} {namespace}/{}", self.kind, self.name),
            None => write!(out, "{} {}", self.kind, self.name),
        }
    }
}

/// A declared object and where it was declared.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The file, relative to the workspace.
    pub file: PathBuf,
    /// The line its document begins at.
    pub line: usize,
    /// The object itself, with `apiVersion`, `kind` and `metadata.name` present.
    pub value: Value,
}

impl Object {
    /// `apiVersion`, as in `apps/v1`.
    pub fn api_version(&self) -> &str {
        text(&self.value, "/apiVersion")
    }

    /// `kind`.
    pub fn kind(&self) -> &str {
        text(&self.value, "/kind")
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        text(&self.value, "/metadata/name")
    }

    /// `metadata.namespace`.
    pub fn namespace(&self) -> Option<&str> {
        Some(text(&self.value, "/metadata/namespace")).filter(|namespace| !namespace.is_empty())
    }

    /// API group; empty for core.
    pub fn group(&self) -> &str {
        group_of(self.api_version())
    }

    /// What identifies the object.
    pub fn id(&self) -> ObjectId {
        id_of(&self.value)
    }

    /// `file:line`, for messages.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file.display(), self.line)
    }
}

/// What identifies any object value, declared or live.
pub fn id_of(value: &Value) -> ObjectId {
    let namespace = Some(text(value, "/metadata/namespace")).filter(|namespace| !namespace.is_empty());
    ObjectId {
        group: group_of(text(value, "/apiVersion")).to_owned(),
        kind: text(value, "/kind").to_owned(),
        namespace: namespace.map(str::to_owned),
        name: text(value, "/metadata/name").to_owned(),
    }
}

/// The group of an `apiVersion`; empty for core.
pub fn group_of(api_version: &str) -> &str {
    api_version.split_once('/').map_or("", |(group, _)| group)
}

/// The string at a JSON pointer; empty when absent or of another type.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The integer at a JSON pointer; `None` when absent or of another type.
pub(crate) fn number(value: &Value, pointer: &str) -> Option<i64> {
    value.pointer(pointer).and_then(Value::as_i64)
}

/// The elements at a JSON pointer; none when absent or of another type.
pub(crate) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
