//! Webhooks: registered when their pods answer, ready when the API server admits a dry run through them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde::Deserialize;
use serde_json::Value;

use super::assess::Verdict;
use super::trust::distrust;
use crate::FIELD_MANAGER;
use crate::apply::{Applied, AppliedComponent, apply_held_back, error_text};
use crate::components::Readiness;
use crate::event::Observer;
use crate::object::{Object, ObjectId, items, text};
use crate::render::RenderedComponent;

/// How far the webhooks of a component are.
#[derive(Default)]
pub(super) struct Progress {
    registered: bool,
}

impl Progress {
    /// Called while the component's other objects are current.
    pub(super) async fn advance(
        &mut self,
        applied: &Applied,
        component: &AppliedComponent,
        observer: Observer<'_>,
    ) -> Verdict {
        if !self.registered {
            for object in &component.held_back {
                if let Err(error) = apply_held_back(applied, component, object, observer).await {
                    return Verdict::Failed(vec![(object.id(), error.to_string())]);
                }
            }
            self.registered = true;
        }
        if component.rendered.readiness != Readiness::Admission {
            return Verdict::Current;
        }
        let mut lacking = match unregistered(applied, &component.rendered).await {
            Ok(lacking) => lacking,
            Err(message) => vec![(nameless(), message)],
        };
        if lacking.is_empty()
            && let Some(probe) = &component.rendered.admission_probe
            && let Err(message) = dry_run(applied, probe).await
        {
            lacking.push((probe.id(), format!("the API server does not admit it in a dry run: {message}")));
        }
        if lacking.is_empty() { Verdict::Current } else { Verdict::Waiting(lacking) }
    }
}

/// Webhooks that lead to the component's services, declared or registered by the component itself, and that the API server
/// would not trust; or that there is none at all.
async fn unregistered(
    applied: &Applied,
    component: &RenderedComponent,
) -> Result<Vec<(ObjectId, String)>, String> {
    let mut found = 0;
    let mut lacking = Vec::new();
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let api = applied.directory.api("admissionregistration.k8s.io/v1", kind, None).await;
        let Some(api) = api.map_err(|error| error_text(&error))? else { continue };
        let configurations = api.list(&ListParams::default()).await.map_err(|error| error_text(&error))?;
        for configuration in configurations {
            let name = configuration.metadata.name.clone().unwrap_or_default();
            let ours = |webhook: &&Value| leads_to(component, webhook);
            for webhook in items(&configuration.data, "/webhooks").iter().filter(ours) {
                found += 1;
                if let Some(lack) = untrusted(applied, component, webhook).await {
                    let id = ObjectId { kind: kind.to_owned(), name: name.clone(), ..nameless() };
                    lacking.push((id, lack));
                }
            }
        }
    }
    if found == 0 {
        lacking.push((nameless(), "no webhook leads to the component's services yet".to_owned()));
    }
    Ok(lacking)
}

/// Why the API server's calls of the webhook would fail, as far as the certificates that the component keeps in Secrets tell.
async fn untrusted(applied: &Applied, component: &RenderedComponent, webhook: &Value) -> Option<String> {
    let name = text(webhook, "/name");
    let bundle = webhook.pointer("/clientConfig/caBundle").map(ByteString::deserialize);
    let Some(Ok(ByteString(bundle))) = bundle else {
        return Some(format!("webhook `{name}` has no CA bundle"));
    };
    let namespace = text(webhook, "/clientConfig/service/namespace");
    let server = format!("{}.{namespace}.svc", text(webhook, "/clientConfig/service/name"));
    let certificates = certificates(applied, component, namespace).await;
    let doubts: Option<Vec<String>> = certificates
        .iter()
        .map(|(secret, chain)| {
            let reason = distrust(&bundle, chain, &server, Timestamp::now())?;
            Some(format!("webhook `{name}` is not trusted with the certificate in Secret/{secret}: {reason}"))
        })
        .collect();
    // One certificate that fits is enough: the others may be for something else.
    doubts?.into_iter().next()
}

/// The serving certificates that the component provides, by the name of their Secret.
async fn certificates(
    applied: &Applied,
    component: &RenderedComponent,
    namespace: &str,
) -> BTreeMap<String, Vec<u8>> {
    let secrets = Api::<Secret>::namespaced(applied.directory.client().clone(), namespace);
    let mut found = BTreeMap::new();
    for name in component.provides.iter().filter_map(|provided| provided.strip_prefix("Secret/")) {
        // One that cannot be read says nothing either way.
        let Ok(Some(secret)) = secrets.get_opt(name).await else { continue };
        if let Some(ByteString(chain)) = secret.data.and_then(|mut data| data.remove("tls.crt")) {
            found.insert(name.to_owned(), chain);
        }
    }
    found
}

fn leads_to(component: &RenderedComponent, webhook: &Value) -> bool {
    let Some(target) = webhook.pointer("/clientConfig/service") else { return false };
    component.objects.iter().any(|object| {
        object.kind() == "Service"
            && object.name() == text(target, "/name")
            && object.namespace().unwrap_or("default") == text(target, "/namespace")
    })
}

/// Stands for whichever configuration the component would register.
fn nameless() -> ObjectId {
    ObjectId {
        group: "admissionregistration.k8s.io".to_owned(),
        kind: "WebhookConfiguration".to_owned(),
        namespace: None,
        name: "*".to_owned(),
    }
}

async fn dry_run(applied: &Applied, probe: &Object) -> Result<(), String> {
    let api = applied.directory.api(probe.api_version(), probe.kind(), probe.namespace()).await;
    let Some(api) = api.map_err(|error| error_text(&error))? else {
        return Err("its kind is not served".to_owned());
    };
    let params = PatchParams::apply(FIELD_MANAGER).force().dry_run();
    let outcome = api.patch(probe.name(), &params, &Patch::Apply(&probe.value)).await;
    outcome.map(|_| ()).map_err(|error| error_text(&error))
}
