//! The custom resource `NotificationRequest` (`kubernaut.ai/v1alpha1`): a message to be delivered. As much of it as this product
//! needs; the service that delivers it is written elsewhere.

#![expect(clippy::duplicated_attributes, reason = "each printer column has a type and a path of its own")]

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to deliver, and to whom.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kubernaut.ai",
    version = "v1alpha1",
    kind = "NotificationRequest",
    plural = "notificationrequests",
    singular = "notificationrequest",
    shortname = "nr",
    namespaced,
    status = "NotificationRequestStatus",
    derive = "PartialEq",
    doc = "A message to be delivered. Deleting it cancels it, and is recorded with who did.",
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Priority", type_ = "string", json_path = ".spec.priority"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct NotificationRequestSpec {
    /// The remediation it belongs to, if any; its name ties the audit events together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remediation_request_ref: Option<ObjectReference>,
    /// What it is about.
    #[serde(rename = "type")]
    pub type_: NotificationType,
    /// How urgent it is.
    pub priority: NotificationPriority,
    /// First line.
    pub subject: String,
    /// The rest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub body: String,
    /// To whom.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<Recipient>,
}

/// Where the message is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationRequestStatus {
    /// How far delivery has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<NotificationPhase>,
}

/// What a notification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NotificationType {
    /// A person is needed.
    Escalation,
    /// Anything.
    Simple,
    /// News about a remediation.
    StatusUpdate,
    /// A decision is needed.
    Approval,
    /// Somebody should look at it.
    ManualReview,
}

/// How urgent a notification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotificationPriority {
    /// Now.
    Critical,
    /// Soon.
    High,
    /// Today.
    Medium,
    /// Some day.
    Low,
}

/// How far delivery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
pub enum NotificationPhase {
    /// Not begun.
    Pending,
    /// Under way.
    Sending,
    /// Done.
    Sent,
    /// Given up.
    Failed,
    /// Not wanted any more.
    Cancelled,
}

/// By which ways somebody can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Recipient {
    /// Mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Channel or person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<String>,
    /// Channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teams: Option<String>,
    /// Number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// Address that is called.
    #[serde(default, rename = "webhookURL", skip_serializing_if = "Option::is_none")]
    pub webhook_url: Option<String>,
}

impl NotificationRequest {
    /// The audit trail's correlation id: name of the remediation request, or of this request if there is none.
    pub fn correlation_id(&self) -> String {
        let reference = self.spec.remediation_request_ref.clone().unwrap_or_default();
        crate::names::correlation_id(&reference, self.metadata.name.as_deref())
    }
}
