//! The subresources of each resource: what discovery shows, and what a request may name.

use crate::schema::Resource;

/// A part of an object, or an action on it, with a path of its own below the object's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subresource {
    /// Name in paths.
    pub name: &'static str,
    /// Group, version and kind of what is sent there; `None` for the object's own.
    pub kind: Option<(&'static str, &'static str, &'static str)>,
    /// Verbs.
    pub verbs: &'static [&'static str],
}

const READ_AND_CHANGE: &[&str] = &["get", "patch", "update"];
const CREATE: &[&str] = &["create"];
const PROXY: &[&str] = &["create", "delete", "get", "patch", "update"];

/// Group, plural and the subresource's name, kind and verbs.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    Option<(&'static str, &'static str, &'static str)>,
    &'static [&'static str],
);

/// Those that only some resources have.
const SPECIAL: [Row; 7] = [
    ("", "pods", "binding", Some(("", "v1", "Binding")), CREATE),
    ("", "pods", "eviction", Some(("policy", "v1", "Eviction")), CREATE),
    ("", "pods", "log", None, &["get"]),
    ("", "pods", "proxy", Some(("", "v1", "PodProxyOptions")), PROXY),
    ("", "services", "proxy", Some(("", "v1", "ServiceProxyOptions")), PROXY),
    ("", "namespaces", "finalize", None, &["update"]),
    ("", "serviceaccounts", "token", Some(("authentication.k8s.io", "v1", "TokenRequest")), CREATE),
];

/// Subresources of pods that people know and this server does not have: asked for, it says so.
pub const MISSING: [&str; 3] = ["attach", "exec", "portforward"];

/// The subresources of a resource.
pub fn of(resource: &Resource) -> Vec<Subresource> {
    let mut all = Vec::new();
    if resource.subresources.scale.is_some() {
        let kind = Some(("autoscaling", "v1", "Scale"));
        all.push(Subresource { name: "scale", kind, verbs: READ_AND_CHANGE });
    }
    if resource.subresources.status {
        all.push(Subresource { name: "status", kind: None, verbs: READ_AND_CHANGE });
    }
    let special = SPECIAL.iter().filter(|(group, plural, ..)| {
        !resource.custom && *group == resource.group && *plural == resource.plural
    });
    all.extend(special.map(|(_, _, name, kind, verbs)| Subresource { name, kind: *kind, verbs }));
    all
}

/// The subresource of this name.
pub fn find(resource: &Resource, name: &str) -> Option<Subresource> {
    of(resource).into_iter().find(|subresource| subresource.name == name)
}
