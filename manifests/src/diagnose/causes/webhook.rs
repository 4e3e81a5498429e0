//! Admission webhooks: those of the component, and those that stand in its way.

use serde_json::Value;

use super::{Saying, between, sayings};
use crate::diagnose::Cause;
use crate::diagnose::snapshot::Snapshot;
use crate::object::{items, text};

/// The API server's sentence: `failed calling webhook "name": failed to call webhook: …`.
pub(super) fn failing(snapshot: &Snapshot) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    for saying in sayings(snapshot) {
        let words = saying.words.replace("\\\"", "\"");
        let lower = words.to_lowercase();
        let name = between(&words, "failed calling webhook \"", "\"");
        let distrust = [
            "x509",
            "unknownissuer",
            "unknown authority",
            "bad certificate",
            "invalid peer certificate",
            "unknownca",
            "notvalidforname",
            "not valid for name",
        ];
        let is_distrusted = distrust.iter().any(|word| lower.contains(word));
        let found = match name {
            Some(name) if is_distrusted => distrusted(snapshot, name, &saying),
            Some(name) => silent(snapshot, name, &saying),
            // The other end of the same connection: the server's own log.
            None if is_distrusted && lower.contains("tls") && own_webhook(snapshot).is_some() => {
                let name =
                    own_webhook(snapshot).map(|(_, webhook)| text(webhook, "/name")).unwrap_or_default();
                Cause { weight: 85, ..distrusted(snapshot, name, &saying) }
            }
            None => continue,
        };
        match causes.iter_mut().find(|cause| cause.sentence == found.sentence) {
            Some(cause) => cause.weight = cause.weight.max(found.weight),
            None => causes.push(found),
        }
    }
    causes
}

fn distrusted(snapshot: &Snapshot, name: &str, saying: &Saying) -> Cause {
    let configuration = configuration_of(snapshot, name);
    let place = configuration.map(|each| format!("{} {}", text(each, "/kind"), text(each, "/metadata/name")));
    let place = place.unwrap_or_else(|| "its webhook configuration".to_owned());
    Cause {
        sentence: format!("the API server does not trust webhook `{name}`: the CA bundle of {place} did not sign the certificate its service shows"),
        evidence: vec![saying.evidence()],
        hint: "let the webhook write its CA bundle again (see in its log that it may update the configuration), or delete its certificate Secret so that both are made anew".to_owned(),
        weight: 97,
    }
}

/// What the wait for readiness found out by itself, before anything called the webhook.
pub(super) fn mistrusted(snapshot: &Snapshot) -> Vec<Cause> {
    let notes = snapshot.notes.iter().filter_map(|note| {
        let (name, doubt) = note.split_once("webhook `")?.1.split_once("` is not trusted with ")?;
        let saying = Saying { place: "the wait for readiness".to_owned(), words: note.clone() };
        let sentence = format!("the API server does not trust webhook `{name}` with {doubt}");
        Some(Cause { sentence, ..distrusted(snapshot, name, &saying) })
    });
    notes.collect()
}

fn silent(snapshot: &Snapshot, name: &str, saying: &Saying) -> Cause {
    let own =
        configuration_of(snapshot, name).is_some_and(|configuration| leads_here(snapshot, configuration));
    let consequence = match own {
        true => "and refuses writes its own component needs to start",
        false => "and refuses writes as long as it does not",
    };
    Cause {
        sentence: format!("webhook `{name}` does not answer {consequence}"),
        evidence: vec![saying.evidence()],
        hint: "bring its pods up; until then narrow its `rules` or `namespaceSelector`, or remove its configuration".to_owned(),
        weight: 93,
    }
}

/// A webhook whose service belongs to the component, without a CA bundle.
pub(super) fn without_authority(snapshot: &Snapshot) -> Vec<Cause> {
    let configurations = snapshot.webhooks.iter().filter(|configuration| leads_here(snapshot, configuration));
    let lacking = configurations.flat_map(|configuration| {
        let lacks = |webhook: &&Value| text(webhook, "/clientConfig/caBundle").is_empty();
        items(configuration, "/webhooks").iter().filter(lacks).map(move |webhook| (configuration, webhook))
    });
    lacking
        .map(|(configuration, webhook)| {
            let (kind, name) = (text(configuration, "/kind"), text(configuration, "/metadata/name"));
            Cause {
                sentence: format!("webhook `{}` has no CA bundle, so every call to it fails", text(webhook, "/name")),
                evidence: vec![format!("{kind} {name}: `clientConfig.caBundle` is empty")],
                hint: "see in the log of the webhook's pods why they have not written it; they need the right to patch the configuration".to_owned(),
                weight: 88,
            }
        })
        .collect()
}

fn configuration_of<'a>(snapshot: &'a Snapshot, webhook: &str) -> Option<&'a Value> {
    let has = |configuration: &&Value| {
        items(configuration, "/webhooks").iter().any(|each| text(each, "/name") == webhook)
    };
    snapshot.webhooks.iter().find(has)
}

fn own_webhook(snapshot: &Snapshot) -> Option<(&Value, &Value)> {
    let configuration = snapshot.webhooks.iter().find(|configuration| leads_here(snapshot, configuration))?;
    Some((configuration, items(configuration, "/webhooks").first()?))
}

/// Whether a configuration's service is one of the component's.
fn leads_here(snapshot: &Snapshot, configuration: &Value) -> bool {
    items(configuration, "/webhooks")
        .iter()
        .filter_map(|webhook| webhook.pointer("/clientConfig/service"))
        .any(|service| {
            snapshot.objects.iter().any(|object| {
                text(object, "/kind") == "Service"
                    && text(object, "/metadata/name") == text(service, "/name")
                    && text(object, "/metadata/namespace") == text(service, "/namespace")
            })
        })
}
