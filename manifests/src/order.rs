//! In which order things are applied: components after those they need, and within one component by kind.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use crate::object::Object;

/// The steps within a component. What a later step refers to exists after the earlier one; webhooks come last because from
/// then on they can refuse the writes of everybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Namespaces.
    Namespace,
    /// Custom resource definitions.
    Definition,
    /// Who may do what: accounts, roles and bindings.
    Access,
    /// What pods read: ConfigMaps, Secrets, and anything not named elsewhere.
    Config,
    /// Claims on storage, and classes.
    Storage,
    /// Services.
    Service,
    /// What runs pods.
    Workload,
    /// Objects of a group that no built-in API has.
    Custom,
    /// Admission webhooks.
    Webhook,
}

/// The step of an object.
pub fn step(group: &str, kind: &str) -> Step {
    match (group, kind) {
        ("", "Namespace") => Step::Namespace,
        ("apiextensions.k8s.io", _) => Step::Definition,
        ("rbac.authorization.k8s.io", _) | ("", "ServiceAccount") => Step::Access,
        ("storage.k8s.io", _) | ("", "PersistentVolume" | "PersistentVolumeClaim") => Step::Storage,
        ("", "Service" | "Endpoints") | ("discovery.k8s.io", _) => Step::Service,
        ("apps" | "batch", _) | ("", "Pod" | "ReplicationController") => Step::Workload,
        ("admissionregistration.k8s.io", _) => Step::Webhook,
        (group, _) if group.contains('.') && !group.ends_with(".k8s.io") => Step::Custom,
        _ => Step::Config,
    }
}

/// Sorts the objects of one component; objects of one step keep the order of the files.
pub fn objects(objects: &mut [Object]) {
    objects.sort_by_key(|object| step(object.group(), object.kind()));
}

/// Names in dependency order, ties in the order given; or the cycle, first name repeated at its end.
pub fn components(needs: &IndexMap<String, Vec<String>>) -> Result<Vec<String>, Vec<String>> {
    let mut done: Vec<String> = Vec::new();
    let mut placed: BTreeSet<&str> = BTreeSet::new();
    while placed.len() < needs.len() {
        let ready = needs.iter().find(|(name, needed)| {
            let settled = |need: &String| placed.contains(need.as_str()) || !needs.contains_key(need);
            !placed.contains(name.as_str()) && needed.iter().all(settled)
        });
        match ready {
            Some((name, _)) => {
                placed.insert(name);
                done.push(name.clone());
            }
            None => return Err(cycle(needs, &placed)),
        }
    }
    Ok(done)
}

/// Follows unplaced needs until a name comes up a second time.
fn cycle(needs: &IndexMap<String, Vec<String>>, placed: &BTreeSet<&str>) -> Vec<String> {
    let mut path: Vec<String> = Vec::new();
    let mut position: BTreeMap<String, usize> = BTreeMap::new();
    let mut current = needs.keys().find(|name| !placed.contains(name.as_str())).cloned();
    while let Some(name) = current {
        if let Some(start) = position.get(&name) {
            let mut cycle = path.split_off(*start);
            cycle.push(name);
            return cycle;
        }
        position.insert(name.clone(), path.len());
        let blocks = |need: &&String| !placed.contains(need.as_str()) && needs.contains_key(*need);
        current = needs.get(&name).and_then(|needed| needed.iter().find(blocks)).cloned();
        path.push(name);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edges(table: &[(&str, &[&str])]) -> IndexMap<String, Vec<String>> {
        table
            .iter()
            .map(|(name, needs)| ((*name).to_owned(), needs.iter().map(|need| (*need).to_owned()).collect()))
            .collect()
    }

    #[test]
    fn components_follow_what_they_need_and_ties_keep_the_file_order() {
        let table = edges(&[("web", &["db", "crds"]), ("db", &["crds"]), ("crds", &[]), ("extra", &[])]);
        assert_eq!(components(&table).unwrap(), ["crds", "db", "web", "extra"]);
    }

    #[test]
    fn a_need_that_was_left_out_does_not_block() {
        assert_eq!(components(&edges(&[("web", &["absent"])])).unwrap(), ["web"]);
    }

    #[test]
    fn a_cycle_is_named_without_what_leads_into_it() {
        let table = edges(&[("outer", &["a"]), ("a", &["b"]), ("b", &["c"]), ("c", &["a"])]);
        assert_eq!(components(&table).unwrap_err(), ["a", "b", "c", "a"]);
        assert_eq!(components(&edges(&[("a", &["a"])])).unwrap_err(), ["a", "a"]);
    }

    #[test]
    fn kinds_are_applied_in_steps() {
        let order = [
            ("", "Namespace"),
            ("apiextensions.k8s.io", "CustomResourceDefinition"),
            ("", "ServiceAccount"),
            ("", "ConfigMap"),
            ("", "PersistentVolumeClaim"),
            ("", "Service"),
            ("apps", "Deployment"),
            ("example.com", "Widget"),
            ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ];
        let steps: Vec<Step> = order.iter().map(|(group, kind)| step(group, kind)).collect();
        assert!(steps.is_sorted_by(|left, right| left < right), "{steps:?}");
        assert_eq!(step("coordination.k8s.io", "Lease"), Step::Config);
        assert_eq!(step("batch", "CronJob"), Step::Workload);
        assert_eq!(step("rbac.authorization.k8s.io", "ClusterRole"), Step::Access);
    }
}
