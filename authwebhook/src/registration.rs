//! The webhook configurations: what is registered, and keeping it so.

use std::collections::BTreeMap;
use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference,
    ValidatingWebhook, ValidatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tracing::info;

use crate::certificate::{Bundle, Profile};
use crate::server::{APPROVAL_PATH, EXECUTION_PATH, NOTIFICATION_PATH};

const SERVICE_PORT: i32 = 443;
const TIMEOUT_SECONDS: i32 = 10;
const ROUNDS: usize = 5;

/// True for writes that touch the clearance, so that no other write depends on this webhook. Written with `has`, because
/// reading an absent field is an error, and an error refuses the write.
const TOUCHES_CLEARANCE: &str = "has(object.status) && has(object.status.blockClearance) \
    ? !(has(oldObject.status) && has(oldObject.status.blockClearance)) \
    || object.status.blockClearance != oldObject.status.blockClearance \
    : has(oldObject.status) && has(oldObject.status.blockClearance)";

/// The same for what belongs to a decision.
fn touches_decision() -> String {
    let differs = |field: &str| {
        let value = |object: &str| {
            format!(
                "(has({object}.status) && has({object}.status.{field}) ? string({object}.status.{field}) : '')"
            )
        };
        format!("{} != {}", value("object"), value("oldObject"))
    };
    ["decision", "decidedBy", "decidedAt", "decisionMessage"].map(differs).join(" || ")
}

/// True for deletions by people and their tools. What Kubernetes itself removes (a namespace's content, an owner's objects)
/// is nobody's decision, and must not wait for this webhook.
const BY_A_PERSON: &str = "!(request.userInfo.username in ['system:serviceaccount:kube-system:namespace-controller', \
    'system:serviceaccount:kube-system:generic-garbage-collector'])";

/// The registration could not be brought up to date.
#[derive(Debug, Error)]
pub enum RegistrationError {
    /// The API server refused.
    #[error("cannot {attempt} {kind} `{name}`")]
    Api {
        /// `read`, `create` or `update`.
        attempt: &'static str,
        /// Of the configuration.
        kind: String,
        /// Of the configuration.
        name: String,
        /// What the API server says.
        source: Box<kube::Error>,
    },
    /// Others kept changing it.
    #[error("{kind} `{name}` was changed by somebody else {ROUNDS} times in a row")]
    Contended {
        /// Of the configuration.
        kind: String,
        /// Of the configuration.
        name: String,
    },
}

/// Names of the configurations.
#[derive(Clone, Debug)]
pub struct Names {
    /// Of the MutatingWebhookConfiguration.
    pub mutating: String,
    /// Of the ValidatingWebhookConfiguration.
    pub validating: String,
}

/// A configuration, mutating or validating.
trait Configuration:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
    /// What is registered: every field explicit, so that it can be compared with what the API server has.
    fn desired(profile: &Profile, trusted: &Bundle) -> Self;
    fn same_webhooks(&self, other: &Self) -> bool;
    /// What it trusts now.
    fn trusted(&self) -> Bundle;
}

impl Configuration for MutatingWebhookConfiguration {
    fn desired(profile: &Profile, trusted: &Bundle) -> Self {
        let webhook = |name: &str, path, resource: &str, condition: MatchCondition| MutatingWebhook {
            name: name.to_owned(),
            admission_review_versions: vec!["v1".to_owned()],
            client_config: client_config(profile, trusted, path),
            failure_policy: Some("Fail".to_owned()),
            match_conditions: Some(vec![condition]),
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: Some(LabelSelector::default()),
            object_selector: Some(LabelSelector::default()),
            reinvocation_policy: Some("Never".to_owned()),
            rules: Some(vec![rule("UPDATE", resource)]),
            side_effects: "NoneOnDryRun".to_owned(),
            timeout_seconds: Some(TIMEOUT_SECONDS),
        };
        let webhooks = vec![
            webhook(
                "workflowexecution.mutate.kubernaut.ai",
                EXECUTION_PATH,
                "workflowexecutions/status",
                condition("touches-block-clearance", TOUCHES_CLEARANCE),
            ),
            webhook(
                "remediationapprovalrequest.mutate.kubernaut.ai",
                APPROVAL_PATH,
                "remediationapprovalrequests/status",
                condition("touches-decision", &touches_decision()),
            ),
        ];
        Self { metadata: metadata(profile), webhooks: Some(webhooks) }
    }

    fn same_webhooks(&self, other: &Self) -> bool {
        self.webhooks == other.webhooks
    }

    fn trusted(&self) -> Bundle {
        bundle(self.webhooks.iter().flatten().map(|webhook| &webhook.client_config))
    }
}

impl Configuration for ValidatingWebhookConfiguration {
    fn desired(profile: &Profile, trusted: &Bundle) -> Self {
        let webhook = ValidatingWebhook {
            name: "notificationrequest.validate.kubernaut.ai".to_owned(),
            admission_review_versions: vec!["v1".to_owned()],
            client_config: client_config(profile, trusted, NOTIFICATION_PATH),
            failure_policy: Some("Fail".to_owned()),
            match_conditions: Some(vec![condition("by-a-person", BY_A_PERSON)]),
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: Some(LabelSelector::default()),
            object_selector: Some(LabelSelector::default()),
            rules: Some(vec![rule("DELETE", "notificationrequests")]),
            side_effects: "NoneOnDryRun".to_owned(),
            timeout_seconds: Some(TIMEOUT_SECONDS),
        };
        Self { metadata: metadata(profile), webhooks: Some(vec![webhook]) }
    }

    fn same_webhooks(&self, other: &Self) -> bool {
        self.webhooks == other.webhooks
    }

    fn trusted(&self) -> Bundle {
        bundle(self.webhooks.iter().flatten().map(|webhook| &webhook.client_config))
    }
}

fn metadata(profile: &Profile) -> ObjectMeta {
    ObjectMeta {
        labels: Some(BTreeMap::from([("app".to_owned(), profile.service.clone())])),
        ..ObjectMeta::default()
    }
}

fn client_config(profile: &Profile, trusted: &Bundle, path: &str) -> WebhookClientConfig {
    WebhookClientConfig {
        ca_bundle: Some(ByteString(trusted.pem().into_bytes())),
        service: Some(ServiceReference {
            name: profile.service.clone(),
            namespace: profile.namespace.clone(),
            path: Some(path.to_owned()),
            port: Some(SERVICE_PORT),
        }),
        url: None,
    }
}

fn condition(name: &str, expression: &str) -> MatchCondition {
    MatchCondition { name: name.to_owned(), expression: expression.to_owned() }
}

fn rule(operation: &str, resource: &str) -> RuleWithOperations {
    RuleWithOperations {
        api_groups: Some(vec![api::names::GROUP.to_owned()]),
        api_versions: Some(vec!["v1alpha1".to_owned()]),
        operations: Some(vec![operation.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        scope: Some("Namespaced".to_owned()),
    }
}

fn bundle<'a>(configs: impl Iterator<Item = &'a WebhookClientConfig>) -> Bundle {
    configs
        .filter_map(|config| config.ca_bundle.as_ref())
        .fold(Bundle::default(), |all, pem| all.and(&Bundle::parse(&pem.0), Timestamp::MIN))
}

/// Makes both configurations send reviews to the service of `profile` and trust `ca`; and with `keep` also what they trust
/// already, for replicas that still show a certificate of before.
pub async fn ensure(
    client: Client,
    names: &Names,
    profile: &Profile,
    ca: &Bundle,
    keep: bool,
) -> Result<(), RegistrationError> {
    ensure_one::<MutatingWebhookConfiguration>(client.clone(), &names.mutating, profile, ca, keep).await?;
    ensure_one::<ValidatingWebhookConfiguration>(client, &names.validating, profile, ca, keep).await
}

async fn ensure_one<C: Configuration>(
    client: Client,
    name: &str,
    profile: &Profile,
    ca: &Bundle,
    keep: bool,
) -> Result<(), RegistrationError> {
    let configurations: Api<C> = Api::all(client);
    let kind = C::kind(&());
    let failed = |attempt| {
        let (kind, name) = (kind.to_string(), name.to_owned());
        move |source| RegistrationError::Api { attempt, kind, name, source: Box::new(source) }
    };
    for _ in 0..ROUNDS {
        let present = configurations.get_opt(name).await.map_err(failed("read"))?;
        let trusted = match &present {
            Some(present) if keep => ca.and(&present.trusted(), Timestamp::now()),
            _ => ca.clone(),
        };
        let mut desired = C::desired(profile, &trusted);
        desired.meta_mut().name = Some(name.to_owned());
        let written = match present {
            Some(present) if present.same_webhooks(&desired) => return Ok(()),
            Some(present) => {
                info!(kind = %kind, configuration = name, "updating the registration");
                let labels = present.meta().labels.clone().unwrap_or_default();
                desired.meta_mut().labels.get_or_insert_default().extend(labels);
                desired.meta_mut().annotations.clone_from(&present.meta().annotations);
                desired.meta_mut().resource_version.clone_from(&present.meta().resource_version);
                configurations.replace(name, &PostParams::default(), &desired).await.map_err(failed("update"))
            }
            None => {
                info!(kind = %kind, configuration = name, "registering");
                configurations.create(&PostParams::default(), &desired).await.map_err(failed("create"))
            }
        };
        match written {
            Ok(_) => return Ok(()),
            // Another replica was faster.
            Err(RegistrationError::Api { source, .. }) if matches!(&*source, kube::Error::Api(status) if matches!(status.code, 404 | 409)) =>
                {}
            Err(error) => return Err(error),
        }
    }
    Err(RegistrationError::Contended { kind: kind.to_string(), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn profile() -> Profile {
        Profile {
            service: "authwebhook".into(),
            namespace: "kubernaut-system".into(),
            lifetime: Duration::from_secs(3600),
            ca_lifetime: Duration::from_secs(36_000),
        }
    }

    #[test]
    fn only_what_people_decide_is_sent_and_failure_refuses() {
        let mutating = MutatingWebhookConfiguration::desired(&profile(), &Bundle::default());
        let mutating = serde_json::to_value(mutating.webhooks).unwrap();
        let validating = ValidatingWebhookConfiguration::desired(&profile(), &Bundle::default());
        let validating = serde_json::to_value(validating.webhooks).unwrap();
        for (webhook, operation, resource, path) in [
            (&mutating[0], "UPDATE", "workflowexecutions/status", "/mutate-workflowexecution"),
            (
                &mutating[1],
                "UPDATE",
                "remediationapprovalrequests/status",
                "/mutate-remediationapprovalrequest",
            ),
            (&validating[0], "DELETE", "notificationrequests", "/validate-notificationrequest-delete"),
        ] {
            assert_eq!(webhook["rules"][0]["resources"], serde_json::json!([resource]));
            assert_eq!(webhook["rules"][0]["operations"], serde_json::json!([operation]));
            assert_eq!(webhook["clientConfig"]["service"]["path"], path);
            assert_eq!(
                (&webhook["failurePolicy"], &webhook["sideEffects"]),
                (&"Fail".into(), &"NoneOnDryRun".into())
            );
            assert_eq!(webhook["matchConditions"].as_array().map(Vec::len), Some(1), "{resource}");
            // Sent explicitly, as the API server would fill them in: otherwise nothing would ever be equal.
            assert_eq!(webhook["namespaceSelector"], serde_json::json!({}));
        }
    }

    #[test]
    fn a_registration_tells_what_it_trusts() {
        let ca = crate::certificate::issue(&profile(), "2026-01-10T12:00:00Z".parse().unwrap()).unwrap();
        let ca = Bundle::parse(ca.ca_certificate.as_bytes());
        assert_eq!(MutatingWebhookConfiguration::desired(&profile(), &ca).trusted(), ca);
        assert_eq!(ValidatingWebhookConfiguration::desired(&profile(), &ca).trusted(), ca);
    }
}
