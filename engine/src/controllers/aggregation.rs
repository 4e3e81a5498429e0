//! ClusterRoles with an `aggregationRule`: their rules are the union of those their selectors find.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::ResourceExt;
use serde_json::json;

use super::cache::Key;
use super::context::Context;
use super::pods::labels;
use super::queue::{Queue, Tasks};
use super::selector;

/// Registers the handlers and starts the worker.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let queue = Queue::new();
    context.cluster_roles.on_change({
        let (queue, weak) = (queue.clone(), Arc::downgrade(context));
        move |_| {
            // Any role may be part of any other, also one that is itself made of others.
            let Some(context) = weak.upgrade() else { return };
            let roles = context.cluster_roles.cache().all();
            let aggregates = roles.iter().filter(|role| role.aggregation_rule.is_some());
            aggregates.for_each(|role| queue.add(Key::of(&**role)));
        }
    });
    let context = context.clone();
    tasks.work("cluster role aggregation", 1, queue, move |key| {
        let context = context.clone();
        async move { sync(&context, key).await }
    });
}

async fn sync(context: &Context, key: Key) -> Result<Option<Duration>, kube::Error> {
    let Some(role) = context.cluster_roles.cache().get(&key) else { return Ok(None) };
    if let Some(rules) = aggregated(&role, &context.cluster_roles.cache().all())
        && rules != role.rules.as_deref().unwrap_or_default()
    {
        context.merge(&context.cluster_roles, &*role, json!({"rules": rules})).await?;
    }
    Ok(None)
}

/// The rules `role` should have, in the order of the names of the roles they come from; pure.
fn aggregated(role: &ClusterRole, all: &[Arc<ClusterRole>]) -> Option<Vec<PolicyRule>> {
    let selectors = role.aggregation_rule.as_ref()?.cluster_role_selectors.as_deref().unwrap_or_default();
    let mut rules: Vec<PolicyRule> = Vec::new();
    for part in all.iter().filter(|part| part.name_any() != role.name_any()) {
        if selectors.iter().any(|selector| selector::matches(selector, labels(&**part))) {
            for rule in part.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    Some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, label: &str, verbs: &[&str]) -> Arc<ClusterRole> {
        let rules: Vec<_> = verbs
            .iter()
            .map(|verb| json!({"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}))
            .collect();
        let object = json!({"metadata": {"name": name, "labels": {label: "true"}}, "rules": rules});
        Arc::new(serde_json::from_value(object).unwrap())
    }

    #[test]
    fn rules_are_the_union_of_the_selected_roles() {
        let mut view = (*role("view", "to-edit", &["stale"])).clone();
        view.aggregation_rule = serde_json::from_value(json!({
            "clusterRoleSelectors": [{"matchLabels": {"to-view": "true"}}, {"matchLabels": {"also": "true"}}],
        }))
        .unwrap();
        let all = [
            role("a", "to-view", &["get", "list"]),
            role("b", "to-edit", &["delete"]),
            role("c", "also", &["list", "watch"]),
            Arc::new(view.clone()),
        ];
        let rules = aggregated(&view, &all).unwrap();
        let verbs: Vec<&str> = rules.iter().map(|rule| rule.verbs[0].as_str()).collect();
        assert_eq!(verbs, ["get", "list", "watch"]);
        assert_eq!(aggregated(&all[0], &all), None);
    }
}
