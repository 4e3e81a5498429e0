//! Rights and quotas.

use super::{Saying, between, distinct, sayings};
use crate::diagnose::Cause;
use crate::diagnose::snapshot::Snapshot;

/// RBAC's sentence: `x is forbidden: User "system:serviceaccount:ns:name" cannot list resource "jobs" in API group "batch" …`.
pub(super) fn forbidden(snapshot: &Snapshot) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    for saying in sayings(snapshot) {
        // Structured logs quote the quotes.
        let words = saying.words.replace("\\\"", "\"");
        // Others also write "cannot": only what follows the user is RBAC's.
        let Some((user, rest)) = words.split_once("User \"").and_then(|(_, rest)| rest.split_once('"'))
        else {
            continue;
        };
        let Some((verb, rest)) = rest.strip_prefix(" cannot ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        let Some(resource) = between(rest, "resource \"", "\"") else { continue };
        let group = between(rest, "API group \"", "\"").unwrap_or_default();
        let who =
            match user.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':')) {
                Some((namespace, name)) => format!("service account {namespace}/{name}"),
                None => format!("user {user}"),
            };
        let full = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let sentence = format!("{who} may not {verb} {full}");
        if causes.iter().any(|cause| cause.sentence == sentence) {
            continue;
        }
        causes.push(Cause {
            sentence,
            evidence: distinct([saying.evidence()], 1),
            hint: format!("add to a role it is bound to: {{apiGroups: [\"{group}\"], resources: [\"{resource}\"], verbs: [\"{verb}\"]}}"),
            weight: 94,
        });
    }
    causes
}

/// Pods that are never created: the ReplicaSet's or Job's event says why.
pub(super) fn account_or_quota(snapshot: &Snapshot) -> Vec<Cause> {
    let cause = |saying: &Saying, sentence: String, hint: &str| Cause {
        sentence,
        evidence: vec![saying.evidence()],
        hint: hint.to_owned(),
        weight: 98,
    };
    let mut causes: Vec<Cause> = Vec::new();
    for saying in sayings(snapshot) {
        let words = &saying.words;
        let found = if let Some(name) = between(words, "serviceaccount \"", "\" not found") {
            let sentence = format!("service account `{name}` does not exist, so no pod can be created");
            cause(&saying, sentence, "declare it, or correct `serviceAccountName`")
        } else if words.contains("exceeded quota") {
            let sentence = "a quota of the namespace is used up, so no pod can be created".to_owned();
            cause(
                &saying,
                sentence,
                "raise the quota, or lower the requests of the pods: kubectl describe quota",
            )
        } else if words.contains("violates PodSecurity") {
            let sentence = "the namespace's pod security level refuses the pod".to_owned();
            cause(&saying, sentence, "set the `securityContext` fields the event names")
        } else {
            continue;
        };
        if !causes.iter().any(|each| each.sentence == found.sentence) {
            causes.push(found);
        }
    }
    causes
}
