//! Admission webhooks: who wants to see a write, asking them over TLS, and doing what they say.
//!
//! Mutating webhooks are asked one after the other, in the order of their configurations' names, each seeing what those
//! before it changed; validating ones all at once.

mod call;
mod configuration;
mod connection;
mod matching;
mod review;

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use serde_json::Value;
use uuid::Uuid;

use super::{Attributes, Operation};
use crate::api::Api;
use crate::status::Status;
use crate::store::{GroupResource, Store};
use configuration::{Configurations, Webhook};
use connection::Connections;
use review::Verdict;

pub use connection::dial_error;

/// The webhooks of one server, with the connections to them.
#[derive(Default)]
pub struct Dispatcher {
    configurations: Configurations,
    connections: Connections,
}

/// Webhooks that have to see the object once more.
pub type Again = BTreeSet<String>;

impl Dispatcher {
    /// Lets mutating webhooks change `object`. The first pass asks all and says who has to be asked again, because the
    /// object changed after they saw it; the second asks only those.
    pub async fn mutate(
        &self,
        api: &Api,
        attributes: &Attributes<'_>,
        object: &mut Value,
        warnings: &mut Vec<String>,
        only: Option<&Again>,
    ) -> Result<Again, Status> {
        let webhooks = self.configurations.current(&api.store);
        let scene = Scene::new(api, attributes, webhooks.mutating.is_empty());
        let (mut seen, mut again) = (Again::new(), Again::new());
        for webhook in &webhooks.mutating {
            if only.is_some_and(|only| !only.contains(&webhook.id)) {
                continue;
            }
            let Some((verdict, version)) = self.ask(api, &scene, webhook, attributes, object, true).await?
            else {
                continue;
            };
            warnings.extend(verdict.warnings);
            if let Some(denial) = verdict.denial {
                return Err(denial);
            }
            if let Some(patch) = verdict.patch {
                let mut patched = review::apply(&webhook.name, attributes, object, &version, &patch)?;
                if ["", "status"].contains(&attributes.subresource) {
                    attributes.resource.schema.apply_defaults(&mut patched);
                }
                if patched != *object {
                    *object = patched;
                    again.append(&mut seen);
                }
            }
            if webhook.reinvoke {
                seen.insert(webhook.id.clone());
            }
        }
        Ok(again)
    }

    /// Lets validating webhooks refuse `object`.
    pub async fn validate(
        &self,
        api: &Api,
        attributes: &Attributes<'_>,
        object: &Value,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let webhooks = self.configurations.current(&api.store);
        let scene = Scene::new(api, attributes, webhooks.validating.is_empty());
        let asked = webhooks
            .validating
            .iter()
            .map(|webhook| self.ask(api, &scene, webhook, attributes, object, false));
        let mut refusal = None;
        for outcome in join_all(asked).await {
            match outcome {
                Ok(None) => {}
                Ok(Some((verdict, _))) => {
                    warnings.extend(verdict.warnings);
                    refusal = refusal.or(verdict.denial);
                }
                Err(status) => refusal = refusal.or(Some(status)),
            }
        }
        refusal.map_or(Ok(()), Err)
    }

    /// The verdict of one webhook and the version it was asked in; `None` if it does not want to see the write, or failed
    /// and may.
    async fn ask(
        &self,
        api: &Api,
        scene: &Scene,
        webhook: &Webhook,
        attributes: &Attributes<'_>,
        object: &Value,
        mutating: bool,
    ) -> Result<Option<(Verdict, String)>, Status> {
        let version = matching::version(webhook, attributes, object, &scene.versions, &scene.namespace);
        let Some(version) = version.map(String::from) else { return Ok(None) };
        let uid = Uuid::new_v4().to_string();
        let request = review::request(attributes, object, &version, &uid);
        if !matching::conditions_hold(webhook, attributes, &request, object)? {
            return Ok(None);
        }
        if attributes.dry_run && !webhook.dry_run {
            let message = format!("admission webhook {:?} does not support dry run", webhook.name);
            return Err(Status::bad_request(message));
        }
        let review = review::review(&request, attributes, object, &version);
        let answer = call::call(&self.connections, &api.store, webhook, &review).await;
        let verdict = answer.map_err(|why| format!("failed to call webhook: {why}")).and_then(|answer| {
            review::verdict(&webhook.name, mutating, &uid, &answer)
                .map_err(|why| format!("received invalid webhook response: {why}"))
        });
        match verdict {
            Ok(verdict) => Ok(Some((verdict, version))),
            Err(why) if webhook.fail => {
                Err(Status::internal(format!("failed calling webhook {:?}: {why}", webhook.name)))
            }
            Err(why) => {
                tracing::warn!(webhook = webhook.name, %why, "webhook failed and is ignored");
                Ok(None)
            }
        }
    }
}

/// What matching needs to know beside the write.
struct Scene {
    /// Versions in which the resource is served.
    versions: Vec<String>,
    /// Labels of the object's namespace.
    namespace: BTreeMap<String, String>,
}

impl Scene {
    fn new(api: &Api, attributes: &Attributes<'_>, unused: bool) -> Self {
        if unused {
            return Self { versions: Vec::new(), namespace: BTreeMap::new() };
        }
        let resource = attributes.resource;
        let registry = api.registry();
        let same = registry
            .resources()
            .filter(|other| other.group == resource.group && other.plural == resource.plural);
        let versions = same.map(|other| other.version.clone()).collect();
        Self { versions, namespace: namespace_labels(&api.store, attributes) }
    }
}

/// Labels of the namespace a write happens in; a namespace that is deleted is its own.
fn namespace_labels(store: &Store, attributes: &Attributes<'_>) -> BTreeMap<String, String> {
    let own = attributes.operation == Operation::Delete && attributes.resource.plural == "namespaces";
    let name = if own { attributes.name } else { attributes.namespace };
    let key = (String::new(), name.to_owned());
    let found = store.get(&GroupResource::new("", "namespaces"), &key);
    found.map(|namespace| namespace.labels.clone()).unwrap_or_default()
}
