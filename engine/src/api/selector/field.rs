//! Field selectors: `metadata.name` and `metadata.namespace` everywhere, and a few fields per kind.

use serde_json::Value;

use super::ParseError;
use crate::store::Object;

/// A conjunction of `path=value` and `path!=value`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    path: String,
    value: String,
    equal: bool,
}

/// Fields that can be selected by, beside name and namespace; as upstream has them.
const SELECTABLE: [(&str, &str, &[&str]); 9] = [
    (
        "",
        "pods",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
    ),
    ("", "events", EVENT_FIELDS),
    ("events.k8s.io", "events", EVENT_FIELDS),
    ("", "secrets", &["type"]),
    ("", "nodes", &["spec.unschedulable"]),
    ("", "namespaces", &["status.phase"]),
    ("", "services", &["spec.clusterIP", "spec.type"]),
    ("batch", "jobs", &["status.successful"]),
    ("apps", "replicasets", &["status.replicas"]),
];

const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

impl FieldSelector {
    /// Parses the query form, for one resource; an unknown field is an error that names the known ones. `declared` are the
    /// paths (`.spec.color`) a CustomResourceDefinition adds.
    pub fn parse(text: &str, group: &str, resource: &str, declared: &[String]) -> Result<Self, ParseError> {
        let mut terms = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (path, value, equal) = if let Some((path, value)) = part.split_once("!=") {
                (path, value, false)
            } else if let Some((path, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (path, value, true)
            } else {
                return Err(ParseError(format!("invalid selector: {part:?}; can't understand it")));
            };
            let own = SELECTABLE.iter().find(|(g, r, _)| *g == group && *r == resource);
            let own = own.map_or(&[][..], |(_, _, fields)| fields).iter().copied();
            let declared = declared.iter().map(|path| path.trim_start_matches('.'));
            let mut known = ["metadata.name", "metadata.namespace"].into_iter().chain(own).chain(declared);
            if !known.clone().any(|field| field == path) {
                let known = known.by_ref().map(|field| format!("{field:?}")).collect::<Vec<_>>().join(", ");
                return Err(ParseError(format!("{path:?} is not a known field selector: only {known}")));
            }
            terms.push(Term { path: path.to_owned(), value: value.to_owned(), equal });
        }
        Ok(Self { terms })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The one name it can match, when it fixes the name: spares the walk over the collection.
    pub fn name(&self) -> Option<&str> {
        self.terms
            .iter()
            .find(|term| term.equal && term.path == "metadata.name")
            .map(|term| term.value.as_str())
    }

    /// Whether the object is selected. The text is parsed only when a field beside name and namespace is asked for.
    pub fn matches(&self, object: &Object) -> bool {
        let mut parsed: Option<Value> = None;
        self.terms.iter().all(|term| {
            let equal = match term.path.as_str() {
                "metadata.name" => object.name == term.value,
                "metadata.namespace" => object.namespace == term.value,
                path => field(parsed.get_or_insert_with(|| object.value()), path) == term.value,
            };
            equal == term.equal
        })
    }
}

fn field(value: &Value, path: &str) -> String {
    let default = match path {
        "status.successful" => return field(value, "status.succeeded"),
        "source" => return field(value, "source.component"),
        "spec.unschedulable" | "spec.hostNetwork" => "false",
        "status.phase" if value["kind"] == "Namespace" => "Active",
        _ => "",
    };
    match path.split('.').try_fold(value, |at, key| at.get(key)) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => default.to_owned(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::store::{Expect, GroupResource, Store};

    #[track_caller]
    fn check(selector: &str, expected: bool) {
        let store = Store::new(1);
        let pod =
            json!({"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running"}});
        let key = ("ns".to_owned(), "a".to_owned());
        let object = store.put(&GroupResource::new("", "pods"), &key, Expect::Absent, pod).unwrap();
        assert_eq!(
            FieldSelector::parse(selector, "", "pods", &[]).unwrap().matches(&object),
            expected,
            "{selector}"
        );
    }

    #[test]
    fn fields_of_pods_select() {
        check("metadata.name=a,metadata.namespace=ns", true);
        check("spec.nodeName=n1", true);
        check("spec.nodeName!=n1", false);
        check("status.phase!=Succeeded,status.phase!=Failed", true);
        check("spec.hostNetwork=false", true);
    }

    #[test]
    fn an_unknown_field_names_the_known_ones() {
        let error = FieldSelector::parse("spec.x=1", "", "secrets", &[]).unwrap_err();
        assert!(
            error.0.contains(r#""spec.x" is not a known field selector: only "metadata.name""#),
            "{error}"
        );
        assert!(error.0.contains(r#""type""#), "{error}");
    }
}
