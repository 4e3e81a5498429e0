//! Roles and bindings, parsed, and the decision over them.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::Attributes;
use crate::api::selector::LabelSelector;
use crate::api::user::User;
use crate::store::{Key, Object, Snapshot};

/// All roles and bindings of one moment.
#[derive(Default)]
pub struct Policy {
    roles: HashMap<Key, Parsed<Vec<Rule>>>,
    bindings: HashMap<Key, Parsed<Binding>>,
}

/// A parsed object, with the revision it was parsed from so that an unchanged one is not parsed again.
struct Parsed<T> {
    revision: u64,
    value: Arc<T>,
}

/// One rule of a role.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rule {
    pub(super) verbs: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) resources: Vec<String>,
    pub(super) names: Vec<String>,
    pub(super) paths: Vec<String>,
}

struct Binding {
    subjects: Vec<Subject>,
    /// Namespace (empty for a cluster role) and name of the role.
    role: Key,
}

enum Subject {
    User(String),
    Group(String),
}

impl Policy {
    /// Reads the four collections, reusing what `previous` has parsed already.
    pub fn read(
        previous: &Self,
        roles: &Snapshot,
        cluster_roles: &Snapshot,
        bindings: &Snapshot,
        cluster_bindings: &Snapshot,
    ) -> Self {
        let mut policy = Self::default();
        let all_roles = || roles.objects.iter().chain(cluster_roles.objects.iter());
        for (key, object) in all_roles() {
            let parsed = reuse(&previous.roles, key, object, |value| rules(&value["rules"]));
            policy.roles.insert(key.clone(), parsed);
        }
        for (key, object) in cluster_roles.objects.iter() {
            if let Some(selectors) = aggregation(object) {
                let selected = cluster_roles.objects.iter().filter(|(other, candidate)| {
                    *other != key && selectors.iter().any(|selector| selector.matches(&candidate.labels))
                });
                let union: Vec<Rule> = selected
                    .filter_map(|(other, _)| policy.roles.get(other))
                    .flat_map(|parsed| parsed.value.iter().cloned())
                    .collect();
                policy.roles.insert(key.clone(), Parsed { revision: 0, value: Arc::new(union) });
            }
        }
        for (key, object) in bindings.objects.iter().chain(cluster_bindings.objects.iter()) {
            let parsed = reuse(&previous.bindings, key, object, |value| binding(value, &key.0));
            policy.bindings.insert(key.clone(), parsed);
        }
        policy
    }

    /// Whether some binding grants it. Cluster bindings hold everywhere, others in their namespace.
    pub fn allows(&self, user: &User, attributes: &Attributes<'_>) -> bool {
        self.rules_for(user, attributes.namespace).any(|rule| rule.allows(attributes))
    }

    /// The rules of a role: namespace (empty for a cluster role) and name.
    pub fn rules_of(&self, role: &Key) -> Option<&[Rule]> {
        self.roles.get(role).map(|role| role.value.as_slice())
    }

    /// The rules that apply to `user` in `namespace`.
    pub fn rules_for(&self, user: &User, namespace: &str) -> impl Iterator<Item = &Rule> {
        self.bindings
            .iter()
            .filter(move |((bound, _), _)| bound.is_empty() || bound == namespace)
            .filter(move |(_, binding)| binding.value.subjects.iter().any(|subject| subject.is(user)))
            .filter_map(|(_, binding)| self.roles.get(&binding.value.role))
            .flat_map(|role| role.value.iter())
    }
}

fn reuse<T>(
    previous: &HashMap<Key, Parsed<T>>,
    key: &Key,
    object: &Object,
    parse: impl FnOnce(&Value) -> T,
) -> Parsed<T> {
    match previous.get(key) {
        Some(known) if known.revision == object.revision => {
            Parsed { revision: known.revision, value: known.value.clone() }
        }
        _ => Parsed { revision: object.revision, value: Arc::new(parse(&object.value())) },
    }
}

fn aggregation(object: &Object) -> Option<Vec<LabelSelector>> {
    // The text test spares parsing the many roles that aggregate nothing.
    let text = std::str::from_utf8(object.json()).ok()?;
    text.contains("\"aggregationRule\"").then_some(())?;
    let value = object.value();
    let selectors = value.pointer("/aggregationRule/clusterRoleSelectors")?.as_array()?;
    Some(selectors.iter().filter_map(LabelSelector::from_object).collect())
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
}

/// Reads `rules` of a role.
pub fn rules(value: &Value) -> Vec<Rule> {
    let rules = value.as_array().into_iter().flatten();
    rules
        .map(|rule| Rule {
            verbs: strings(&rule["verbs"]),
            groups: strings(&rule["apiGroups"]),
            resources: strings(&rule["resources"]),
            names: strings(&rule["resourceNames"]),
            paths: strings(&rule["nonResourceURLs"]),
        })
        .collect()
}

fn binding(value: &Value, namespace: &str) -> Binding {
    let subjects = value["subjects"].as_array().into_iter().flatten();
    let subjects = subjects.filter_map(|subject| {
        let name = subject["name"].as_str()?;
        match subject["kind"].as_str()? {
            "User" => Some(Subject::User(name.to_owned())),
            "Group" => Some(Subject::Group(name.to_owned())),
            "ServiceAccount" => {
                let own = subject["namespace"].as_str().filter(|own| !own.is_empty()).unwrap_or(namespace);
                Some(Subject::User(format!("system:serviceaccount:{own}:{name}")))
            }
            _ => None,
        }
    });
    let reference = &value["roleRef"];
    let role_namespace = if reference["kind"] == "Role" { namespace } else { "" };
    let role = (role_namespace.to_owned(), reference["name"].as_str().unwrap_or_default().to_owned());
    Binding { subjects: subjects.collect(), role }
}

impl Subject {
    fn is(&self, user: &User) -> bool {
        match self {
            Self::User(name) => *name == user.name,
            Self::Group(name) => user.groups.contains(name),
        }
    }
}

impl Rule {
    fn allows(&self, attributes: &Attributes<'_>) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|item| item == "*" || item == wanted);
        if !has(&self.verbs, attributes.verb) {
            return false;
        }
        if let Some(path) = attributes.path {
            return self.paths.iter().any(|rule| match rule.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => rule == path,
            });
        }
        let resource = &attributes.resource;
        let any_subresource = resource.split_once('/').map(|(_, subresource)| format!("*/{subresource}"));
        has(&self.groups, attributes.group)
            && (has(&self.resources, resource)
                || any_subresource.is_some_and(|wanted| self.resources.contains(&wanted)))
            && (self.names.is_empty() || self.names.iter().any(|name| name == attributes.name))
    }

    /// The rule as `ResourceRule` or `NonResourceRule` of a rules review; the flag tells a resource rule.
    pub fn to_review(&self) -> (bool, Value) {
        if self.paths.is_empty() {
            let rule = serde_json::json!({"verbs": self.verbs, "apiGroups": self.groups, "resources": self.resources,
                "resourceNames": self.names});
            (true, rule)
        } else {
            (false, serde_json::json!({"verbs": self.verbs, "nonResourceURLs": self.paths}))
        }
    }
}
