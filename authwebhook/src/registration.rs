//! The MutatingWebhookConfiguration: what is registered, and keeping it so.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference,
    WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use thiserror::Error;
use tracing::info;

use crate::certificate::Profile;
use crate::server::MUTATE_PATH;

/// Name of the webhook, as it appears in refusals.
pub const WEBHOOK: &str = "workflowexecution.mutate.kubernaut.ai";
const SERVICE_PORT: i32 = 443;
const TIMEOUT_SECONDS: i32 = 10;
const ROUNDS: usize = 5;

/// True for writes that touch the clearance, so that no other write depends on this webhook. Written with `has`, because
/// reading an absent field is an error, and an error refuses the write.
const TOUCHES_CLEARANCE: &str = "has(object.status) && has(object.status.blockClearance) \
    ? !(has(oldObject.status) && has(oldObject.status.blockClearance)) \
    || object.status.blockClearance != oldObject.status.blockClearance \
    : has(oldObject.status) && has(oldObject.status.blockClearance)";

/// The registration could not be brought up to date.
#[derive(Debug, Error)]
pub enum RegistrationError {
    /// The API server refused.
    #[error("cannot {attempt} MutatingWebhookConfiguration `{name}`")]
    Api {
        /// `read`, `create` or `update`.
        attempt: &'static str,
        /// Of the configuration.
        name: String,
        /// What the API server says.
        source: Box<kube::Error>,
    },
    /// Others kept changing it.
    #[error("MutatingWebhookConfiguration `{name}` was changed by somebody else {ROUNDS} times in a row")]
    Contended {
        /// Of the configuration.
        name: String,
    },
}

/// What is registered: every field explicit, so that it can be compared with what the API server has.
fn desired(name: &str, profile: &Profile, ca: &str) -> MutatingWebhookConfiguration {
    let text = |text: &str| Some(text.to_owned());
    MutatingWebhookConfiguration {
        metadata: ObjectMeta {
            name: text(name),
            labels: Some(BTreeMap::from([("app".to_owned(), profile.service.clone())])),
            ..ObjectMeta::default()
        },
        webhooks: Some(vec![MutatingWebhook {
            name: WEBHOOK.to_owned(),
            admission_review_versions: vec!["v1".to_owned()],
            client_config: WebhookClientConfig {
                ca_bundle: Some(ByteString(ca.as_bytes().to_vec())),
                service: Some(ServiceReference {
                    name: profile.service.clone(),
                    namespace: profile.namespace.clone(),
                    path: text(MUTATE_PATH),
                    port: Some(SERVICE_PORT),
                }),
                url: None,
            },
            failure_policy: text("Fail"),
            match_conditions: Some(vec![MatchCondition {
                name: "touches-block-clearance".to_owned(),
                expression: TOUCHES_CLEARANCE.to_owned(),
            }]),
            match_policy: text("Equivalent"),
            namespace_selector: Some(LabelSelector::default()),
            object_selector: Some(LabelSelector::default()),
            reinvocation_policy: text("Never"),
            rules: Some(vec![RuleWithOperations {
                api_groups: Some(vec![api::names::GROUP.to_owned()]),
                api_versions: Some(vec!["v1alpha1".to_owned()]),
                operations: Some(vec!["UPDATE".to_owned()]),
                resources: Some(vec!["workflowexecutions/status".to_owned()]),
                scope: text("Namespaced"),
            }]),
            side_effects: "NoneOnDryRun".to_owned(),
            timeout_seconds: Some(TIMEOUT_SECONDS),
        }]),
    }
}

/// Makes configuration `name` send clearances to the service of `profile` and trust `ca` (PEM).
pub async fn ensure(
    client: Client,
    name: &str,
    profile: &Profile,
    ca: &str,
) -> Result<(), RegistrationError> {
    let configurations: Api<MutatingWebhookConfiguration> = Api::all(client);
    let failed = |attempt| {
        move |source| RegistrationError::Api { attempt, name: name.to_owned(), source: Box::new(source) }
    };
    for _ in 0..ROUNDS {
        let mut desired = desired(name, profile, ca);
        let written = match configurations.get_opt(name).await.map_err(failed("read"))? {
            Some(present) if present.webhooks == desired.webhooks => return Ok(()),
            Some(present) => {
                info!(configuration = name, "updating the registration");
                let labels = present.metadata.labels.unwrap_or_default();
                desired.metadata.labels.get_or_insert_default().extend(labels);
                desired.metadata.resource_version = present.metadata.resource_version;
                configurations.replace(name, &PostParams::default(), &desired).await.map_err(failed("update"))
            }
            None => {
                info!(configuration = name, "registering");
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
    Err(RegistrationError::Contended { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_status_updates_of_executions_are_sent_and_failure_refuses() {
        let profile = Profile {
            service: "authwebhook".into(),
            namespace: "kubernaut-system".into(),
            lifetime: Duration::MAX,
        };
        let configuration = desired("authwebhook-mutating", &profile, "PEM");
        let value = serde_json::to_value(&configuration.webhooks.unwrap()[0]).unwrap();
        assert_eq!(value["rules"][0]["resources"], serde_json::json!(["workflowexecutions/status"]));
        assert_eq!(value["rules"][0]["operations"], serde_json::json!(["UPDATE"]));
        assert_eq!(value["failurePolicy"], "Fail");
        assert_eq!(value["sideEffects"], "NoneOnDryRun");
        assert_eq!(value["clientConfig"]["caBundle"], "UEVN");
        assert_eq!(value["clientConfig"]["service"]["path"], "/mutate-workflowexecution");
        // Sent explicitly, as the API server would fill them in: otherwise nothing would ever be equal.
        assert_eq!(value["namespaceSelector"], serde_json::json!({}));
    }
}
