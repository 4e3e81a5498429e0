//! The default cluster roles and their bindings, read from `engine/schema/roles.txt`.

use serde_json::{Map, Value, json};

/// The table; its format is described in `engine/schema/README.md`.
const ROLES: &str = include_str!("../../schema/roles.txt");

const GROUP: &str = "rbac.authorization.k8s.io";

/// Every ClusterRole, then every ClusterRoleBinding.
pub(super) fn objects() -> Vec<Value> {
    let roles: Vec<Role> = parse(ROLES);
    let bindings = roles.iter().filter(|role| !role.subjects.is_empty()).map(binding);
    let mut objects: Vec<Value> = roles.iter().map(cluster_role).collect();
    objects.extend(bindings);
    objects
}

/// One block of the table.
#[derive(Debug, Default, PartialEq)]
struct Role<'a> {
    name: &'a str,
    rules: Vec<Value>,
    /// The aggregate whose rules it takes over, e.g. `to-view`.
    aggregates: Option<&'a str>,
    /// The aggregate it is part of.
    joins: Option<&'a str>,
    subjects: Vec<Value>,
    /// Lines that say nothing known.
    unread: Vec<&'a str>,
}

fn parse(table: &str) -> Vec<Role<'_>> {
    let mut roles: Vec<Role<'_>> = Vec::new();
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix("role ") {
            roles.push(Role { name, ..Role::default() });
        } else if let Some(role) = roles.last_mut() {
            role.read(line.trim());
        }
    }
    roles
}

impl<'a> Role<'a> {
    fn read(&mut self, line: &'a str) {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["aggregates", which] => self.aggregates = Some(which),
            ["joins", which] => self.joins = Some(which),
            ["to", "group", name] => self.subjects.push(subject("Group", name)),
            ["to", "user", name] => self.subjects.push(subject("User", name)),
            [verbs, paths] if paths.starts_with('/') => {
                self.rules.push(json!({"nonResourceURLs": list(paths), "verbs": list(verbs)}));
            }
            [verbs, groups, resources] if groups.ends_with(':') => {
                let groups: Vec<&str> = list(groups.trim_end_matches(':'))
                    .into_iter()
                    .map(|group| if group == "core" { "" } else { group })
                    .collect();
                self.rules
                    .push(json!({"apiGroups": groups, "resources": list(resources), "verbs": list(verbs)}));
            }
            _ => self.unread.push(line),
        }
    }
}

fn list(text: &str) -> Vec<&str> {
    text.split(',').collect()
}

fn subject(kind: &str, name: &str) -> Value {
    json!({"apiGroup": GROUP, "kind": kind, "name": name})
}

/// `to-view` in the table is the label `rbac.authorization.k8s.io/aggregate-to-view`.
fn aggregate(which: &str) -> Value {
    json!({format!("{GROUP}/aggregate-{which}"): "true"})
}

fn metadata(name: &str, more: Option<Value>) -> Value {
    let mut labels = Map::from_iter([("kubernetes.io/bootstrapping".to_owned(), json!("rbac-defaults"))]);
    labels.extend(more.and_then(|more| more.as_object().cloned()).into_iter().flatten());
    json!({"name": name, "labels": labels, "annotations": {format!("{GROUP}/autoupdate"): "true"}})
}

fn cluster_role(role: &Role<'_>) -> Value {
    let mut object = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "ClusterRole",
        "metadata": metadata(role.name, role.joins.map(aggregate)),
        "rules": role.rules,
    });
    if let Some(which) = role.aggregates {
        object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": aggregate(which)}]});
    }
    object
}

fn binding(role: &Role<'_>) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "ClusterRoleBinding",
        "metadata": metadata(role.name, None),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role.name},
        "subjects": role.subjects,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood() {
        let unread: Vec<&str> = parse(ROLES).iter().flat_map(|role| role.unread.clone()).collect();
        assert_eq!(unread, [""; 0]);
    }

    #[test]
    fn a_block_becomes_a_role_and_a_binding() {
        let table = "role view\n  joins to-edit\n  aggregates to-view\n  get,list core,apps: pods,pods/log\n  \
                     get /healthz,/api/*\n  to user jane\n  to group ops\n";
        let roles = parse(table);
        let role = cluster_role(&roles[0]);
        assert_eq!(
            role["rules"],
            json!([
                {"apiGroups": ["", "apps"], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]},
                {"nonResourceURLs": ["/healthz", "/api/*"], "verbs": ["get"]},
            ])
        );
        assert_eq!(role["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"], "true");
        let selector = &role["aggregationRule"]["clusterRoleSelectors"][0]["matchLabels"];
        assert_eq!(selector["rbac.authorization.k8s.io/aggregate-to-view"], "true");
        let subjects = binding(&roles[0])["subjects"].clone();
        assert_eq!((&subjects[0]["kind"], &subjects[1]["name"]), (&json!("User"), &json!("ops")));
    }
}
