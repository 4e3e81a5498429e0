//! Webhooks: registered when their pods answer, ready when the API server admits a dry run through them.

use kube::api::{Patch, PatchParams};
use serde_json::Value;

use super::assess::Verdict;
use super::live::Live;
use crate::FIELD_MANAGER;
use crate::apply::{Applied, AppliedComponent, apply_held_back, error_text};
use crate::components::Readiness;
use crate::event::Observer;
use crate::object::{Object, ObjectId, items, text};

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
        _live: &Live,
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
        let mut lacking = Vec::new();
        for object in &component.held_back {
            lacking.extend(without_authority(applied, object).await);
        }
        if lacking.is_empty()
            && let Some(probe) = &component.rendered.admission_probe
            && let Err(message) = dry_run(applied, probe).await
        {
            lacking.push((probe.id(), format!("the API server does not admit it in a dry run: {message}")));
        }
        if lacking.is_empty() { Verdict::Current } else { Verdict::Waiting(lacking) }
    }
}

/// Webhooks of a configuration that nobody has given a CA bundle yet.
async fn without_authority(applied: &Applied, configuration: &Object) -> Vec<(ObjectId, String)> {
    let live = match applied.directory.api(configuration.api_version(), configuration.kind(), None).await {
        Ok(Some(api)) => api.get(configuration.name()).await,
        Ok(None) => return vec![(configuration.id(), "its kind is not served".to_owned())],
        Err(error) => Err(error),
    };
    let data: Value = match live {
        Ok(live) => live.data,
        Err(error) => return vec![(configuration.id(), error_text(&error))],
    };
    let lacks = |webhook: &&Value| {
        webhook.pointer("/clientConfig/service").is_some()
            && text(webhook, "/clientConfig/caBundle").is_empty()
    };
    let message = |webhook: &Value| format!("webhook `{}` has no CA bundle", text(webhook, "/name"));
    items(&data, "/webhooks")
        .iter()
        .filter(lacks)
        .map(|webhook| (configuration.id(), message(webhook)))
        .collect()
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
