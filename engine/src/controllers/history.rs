//! ControllerRevisions: the pod templates a StatefulSet or DaemonSet has had.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::context::Context;
use super::deployment::template::short_hash;
use super::pods::controller_reference;

/// Label of pods and revisions that says which template a pod is of.
pub(crate) const REVISION_LABEL: &str = "controller-revision-hash";

/// What the current template needs.
#[derive(Debug)]
pub(crate) enum Current {
    /// It is recorded, as the newest.
    Recorded(Arc<ControllerRevision>),
    /// It is recorded but something else came after it: it becomes the newest again under this number.
    Again(Arc<ControllerRevision>, i64),
    /// It has to be recorded.
    New(Box<ControllerRevision>),
}

impl Current {
    /// The name of the revision.
    pub(crate) fn name(&self) -> String {
        match self {
            Current::Recorded(revision) | Current::Again(revision, _) => revision.name_any(),
            Current::New(revision) => revision.name_any(),
        }
    }
}

/// Finds or makes the revision of `template`. Pure.
pub(crate) fn current<K: Resource<DynamicType = ()>>(
    owner: &K,
    template: &PodTemplateSpec,
    selector_labels: &BTreeMap<String, String>,
    revisions: &[Arc<ControllerRevision>],
) -> Current {
    let newest = revisions.iter().map(|one| one.revision).max().unwrap_or(0);
    let data = data(template);
    let same = revisions
        .iter()
        .filter(|one| one.data.as_ref().map(|data| &data.0) == Some(&data))
        .max_by_key(|one| one.revision);
    match same {
        Some(same) if same.revision == newest => Current::Recorded(same.clone()),
        Some(same) => Current::Again(same.clone(), newest + 1),
        None => {
            let hash = short_hash(data.to_string().as_bytes());
            let mut labels = selector_labels.clone();
            labels.insert(REVISION_LABEL.to_owned(), hash.clone());
            Current::New(Box::new(ControllerRevision {
                metadata: ObjectMeta {
                    name: Some(format!("{}-{hash}", owner.name_any())),
                    namespace: owner.namespace(),
                    labels: Some(labels),
                    owner_references: Some(vec![controller_reference(owner)]),
                    ..ObjectMeta::default()
                },
                data: Some(RawExtension(data)),
                revision: newest + 1,
            }))
        }
    }
}

/// Records what is not recorded yet.
pub(crate) async fn record(context: &Context, revision: Option<Current>) -> Result<(), kube::Error> {
    match revision {
        None | Some(Current::Recorded(_)) => {}
        Some(Current::Again(revision, number)) => {
            context.merge(&context.revisions, &*revision, json!({"revision": number})).await?;
        }
        Some(Current::New(revision)) => match context.create(&context.revisions, &*revision).await {
            // Made by an earlier attempt; the watch will bring it.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            other => drop(other?),
        },
    }
    Ok(())
}

/// As upstream writes it: a patch that replaces the whole template.
fn data(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).unwrap_or_default();
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

/// The template a revision records.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// Revisions beyond `limit` that nothing uses, oldest first.
pub(crate) fn expired(
    revisions: &[Arc<ControllerRevision>],
    limit: Option<i32>,
    is_used: impl Fn(&str) -> bool,
) -> Vec<Arc<ControllerRevision>> {
    let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or(0);
    let mut unused: Vec<_> = revisions.iter().filter(|one| !is_used(&one.name_any())).cloned().collect();
    unused.sort_by_key(|one| one.revision);
    unused.truncate(unused.len().saturating_sub(limit));
    unused
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::StatefulSet;

    use super::*;

    fn template_of(image: &str) -> PodTemplateSpec {
        let spec = json!({"containers": [{"name": "c", "image": image}]});
        serde_json::from_value(json!({"metadata": {"labels": {"app": "db"}}, "spec": spec})).unwrap()
    }

    fn now(image: &str, revisions: &[Arc<ControllerRevision>]) -> Current {
        let owner: StatefulSet =
            serde_json::from_value(json!({"metadata": {"name": "db", "namespace": "ns", "uid": "u"}}))
                .unwrap();
        current(&owner, &template_of(image), &BTreeMap::new(), revisions)
    }

    fn record(current: Current) -> Arc<ControllerRevision> {
        let Current::New(revision) = current else { panic!("{current:?}") };
        Arc::new(*revision)
    }

    #[test]
    fn templates_are_recorded_once_and_a_return_renumbers() {
        let first = record(now("v1", &[]));
        let second = record(now("v2", std::slice::from_ref(&first)));
        let both = [first.clone(), second.clone()];
        assert_eq!((first.revision, second.revision), (1, 2));
        assert_eq!(template(&second).unwrap(), template_of("v2"));
        assert!(matches!(now("v2", &both), Current::Recorded(same) if same.name_any() == second.name_any()));
        assert!(matches!(now("v1", &both), Current::Again(same, 3) if same.name_any() == first.name_any()));
    }

    #[test]
    fn the_oldest_unused_beyond_the_limit_expire() {
        let mut all: Vec<Arc<ControllerRevision>> = Vec::new();
        for image in ["v1", "v2", "v3", "v4"] {
            all.push(record(now(image, &all)));
        }
        let used = all[0].name_any();
        let expired = expired(&all, Some(1), |name| name == used);
        assert_eq!(expired.iter().map(|one| one.revision).collect::<Vec<_>>(), [2, 3]);
    }
}
