//! The conditions of a namespace that is being emptied, in upstream's words.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NamespaceCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Objects of one resource that are still there.
#[derive(Debug)]
pub(super) struct Remaining {
    /// `plural.group`.
    pub resource: String,
    /// The finalizers of each object.
    pub finalizers: Vec<Vec<String>>,
}

/// All five; an unchanged one keeps its time. Pure.
pub(super) fn conditions(
    before: &[NamespaceCondition],
    remaining: &[Remaining],
    failure: Option<&str>,
    now: Timestamp,
) -> Vec<NamespaceCondition> {
    let discovered = "All resources successfully discovered";
    let parsed = "All legacy kube types successfully parsed";
    let deleted = "All content successfully deleted, may be waiting on finalization";
    let content = resources(remaining);
    let waiting = finalizers(remaining);
    let rows = [
        ("NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered", discovered.to_owned()),
        ("NamespaceDeletionGroupVersionParsingFailure", false, "ParsedGroupVersions", parsed.to_owned()),
        match failure {
            Some(text) => {
                let text = format!("Failed to delete all resource types, 1 remaining: {text}");
                ("NamespaceDeletionContentFailure", true, "ContentDeletionFailed", text)
            }
            None => ("NamespaceDeletionContentFailure", false, "ContentDeleted", deleted.to_owned()),
        },
        match content {
            Some(text) => ("NamespaceContentRemaining", true, "SomeResourcesRemain", text),
            None => {
                let text = "All content successfully removed".to_owned();
                ("NamespaceContentRemaining", false, "ContentRemoved", text)
            }
        },
        match waiting {
            Some(text) => ("NamespaceFinalizersRemaining", true, "SomeFinalizersRemain", text),
            None => {
                let text = "All content-preserving finalizers finished".to_owned();
                ("NamespaceFinalizersRemaining", false, "ContentHasNoFinalizers", text)
            }
        },
    ];
    rows.into_iter()
        .map(|(type_, holds, reason, message)| {
            let status = if holds { "True" } else { "False" };
            let same = before.iter().find(|one| one.type_ == type_ && one.status == status);
            NamespaceCondition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_transition_time: same.map_or(Some(Time(now)), |same| same.last_transition_time.clone()),
            }
        })
        .collect()
}

fn resources(remaining: &[Remaining]) -> Option<String> {
    let mut parts: Vec<String> = remaining
        .iter()
        .map(|one| format!("{} has {} resource instances", one.resource, one.finalizers.len()))
        .collect();
    parts.sort();
    (!parts.is_empty()).then(|| format!("Some resources are remaining: {}", parts.join(", ")))
}

fn finalizers(remaining: &[Remaining]) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finalizer in remaining.iter().flat_map(|one| &one.finalizers).flatten() {
        *counts.entry(finalizer).or_default() += 1;
    }
    let parts: Vec<String> =
        counts.iter().map(|(name, count)| format!("{name} in {count} resource instances")).collect();
    let text = format!("Some content in the namespace has finalizers remaining: {}", parts.join(", "));
    (!parts.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_remains_is_counted_and_what_did_not_change_keeps_its_time() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let remaining = [
            Remaining { resource: "pods.".into(), finalizers: vec![vec![], vec!["x.org/wait".into()]] },
            Remaining { resource: "widgets.x.org".into(), finalizers: vec![vec!["x.org/wait".into()]] },
        ];
        let first = conditions(&[], &remaining, None, at("2030-01-01T00:00:00Z"));
        let second = conditions(&first, &[], Some("boom"), at("2030-01-01T00:00:09Z"));
        let lines = |conditions: &[NamespaceCondition]| {
            let line = |one: &NamespaceCondition| {
                let time = one.last_transition_time.as_ref().unwrap().0.to_string();
                format!("{} {} {}", one.status, &time[18..19], one.message.as_deref().unwrap())
            };
            conditions.iter().map(line).collect::<Vec<_>>()
        };
        assert_eq!(
            lines(&first)[2..],
            [
                "False 0 All content successfully deleted, may be waiting on finalization",
                "True 0 Some resources are remaining: pods. has 2 resource instances, widgets.x.org has 1 resource instances",
                "True 0 Some content in the namespace has finalizers remaining: x.org/wait in 2 resource instances",
            ]
        );
        assert_eq!(
            lines(&second),
            [
                "False 0 All resources successfully discovered",
                "False 0 All legacy kube types successfully parsed",
                "True 9 Failed to delete all resource types, 1 remaining: boom",
                "False 9 All content successfully removed",
                "False 9 All content-preserving finalizers finished",
            ]
        );
    }
}
