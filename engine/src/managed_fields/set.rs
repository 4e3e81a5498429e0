//! Sets of paths.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::path::Element;
use super::typed::child_type;
use crate::schema::types::{Shape, Type};

/// A set of paths, as a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    members: BTreeSet<Element>,
    /// No child is empty.
    children: BTreeMap<Element, Set>,
}

impl Set {
    /// Whether there is no path in it.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    /// Adds a path. The empty path stands for the whole object, which nobody owns: it is left out.
    pub fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// Whether the path of this one step is a member.
    pub fn has(&self, element: &Element) -> bool {
        self.members.contains(element)
    }

    /// The paths below a step.
    pub fn below(&self, element: &Element) -> Option<&Self> {
        self.children.get(element)
    }

    /// Paths in either.
    pub fn union(&self, other: &Self) -> Self {
        let members = self.members.union(&other.members).cloned().collect();
        let mut children = self.children.clone();
        for (element, theirs) in &other.children {
            let merged = children.get(element).map(|own| own.union(theirs));
            children.insert(element.clone(), merged.unwrap_or_else(|| theirs.clone()));
        }
        Self { members, children }
    }

    /// Paths in both.
    pub fn intersection(&self, other: &Self) -> Self {
        let members = self.members.intersection(&other.members).cloned().collect();
        let both = self.children.iter().filter_map(|(element, own)| {
            let common = own.intersection(other.children.get(element)?);
            (!common.is_empty()).then(|| (element.clone(), common))
        });
        Self { members, children: both.collect() }
    }

    /// Paths in this one only.
    pub fn difference(&self, other: &Self) -> Self {
        let members = self.members.difference(&other.members).cloned().collect();
        let rest = self.children.iter().filter_map(|(element, own)| {
            let rest =
                other.children.get(element).map_or_else(|| own.clone(), |theirs| own.difference(theirs));
            (!rest.is_empty()).then(|| (element.clone(), rest))
        });
        Self { members, children: rest.collect() }
    }

    /// Only what is below the top-level fields that are kept.
    pub fn filter_top(self, keep: impl Fn(&str) -> bool) -> Self {
        let kept = |element: &Element| element.field_name().is_some_and(&keep);
        Self {
            members: self.members.into_iter().filter(&kept).collect(),
            children: self.children.into_iter().filter(|(element, _)| kept(element)).collect(),
        }
    }

    /// With every declared field on the way to a path as a path of its own.
    pub fn with_named_fields(&self, ty: &Type) -> Self {
        let mut named = Self { members: self.members.clone(), children: BTreeMap::new() };
        for (element, below) in &self.children {
            let declared = element.field_name().is_some_and(|name| ty.field(name).is_some());
            if declared && matches!(ty.shape, Shape::Struct(_)) {
                named.members.insert(element.clone());
            }
            let below =
                child_type(ty, element).map_or_else(|| below.clone(), |ty| below.with_named_fields(&ty));
            named.children.insert(element.clone(), below);
        }
        named
    }

    /// Every path, as messages write it.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths("", &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &str, paths: &mut Vec<String>) {
        paths.extend(self.members.iter().map(|element| format!("{prefix}{element}")));
        for (element, below) in &self.children {
            below.collect_paths(&format!("{prefix}{element}"), paths);
        }
    }

    /// As `fieldsV1`.
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        let elements: BTreeSet<&Element> = self.members.iter().chain(self.children.keys()).collect();
        for element in elements {
            let mut inner = Map::new();
            if let Some(below) = self.children.get(element) {
                if self.members.contains(element) {
                    inner.insert(".".into(), Value::Object(Map::new()));
                }
                if let Value::Object(below) = below.to_json() {
                    inner.extend(below);
                }
            }
            fields.insert(element.as_str().to_owned(), Value::Object(inner));
        }
        Value::Object(fields)
    }

    /// From `fieldsV1`; nothing when it is malformed.
    pub fn from_json(fields: &Value) -> Option<Self> {
        let mut set = Self::default();
        for (key, inner) in fields.as_object()? {
            let inner = inner.as_object()?;
            if key == "." {
                continue;
            }
            let element = Element::parse(key)?;
            if inner.is_empty() || inner.contains_key(".") {
                set.members.insert(element.clone());
            }
            if inner.keys().any(|key| key != ".") {
                let below = Self::from_json(&Value::Object(inner.clone()))?;
                set.children.insert(element, below);
            }
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sets_survive_their_json_form() {
        let fields = json!({"f:a": {}, "f:l": {".": {}, "k:{\"name\":\"x\"}": {".": {}, "f:v": {}}, "v:\"s\"": {}, "i:0": {}}});
        let set = Set::from_json(&fields).unwrap();
        assert_eq!(set.to_json(), fields);
        assert_eq!(set.paths(), [".a", ".l", ".l[0]", ".l[name=\"x\"]", ".l[=\"s\"]", ".l[name=\"x\"].v"]);
        assert!(Set::from_json(&json!({"x": {}})).is_none());
    }

    #[test]
    fn keys_are_the_same_in_any_order() {
        let left = Element::parse("k:{\"b\":1,\"a\":\"x\"}").unwrap();
        assert_eq!(left, Element::parse("k:{ \"a\": \"x\", \"b\": 1}").unwrap());
        assert_eq!(left.to_string(), "[a=\"x\",b=1]");
    }

    #[test]
    fn operations_work_on_paths() {
        let set = |fields: Value| Set::from_json(&fields).unwrap();
        let left = set(json!({"f:a": {"f:x": {}, "f:y": {}}, "f:b": {}}));
        let right = set(json!({"f:a": {".": {}, "f:y": {}}, "f:c": {}}));
        assert_eq!(left.difference(&right).to_json(), json!({"f:a": {"f:x": {}}, "f:b": {}}));
        assert_eq!(left.intersection(&right).to_json(), json!({"f:a": {"f:y": {}}}));
        assert_eq!(
            left.union(&right).to_json(),
            json!({"f:a": {".": {}, "f:x": {}, "f:y": {}}, "f:b": {}, "f:c": {}})
        );
    }
}
