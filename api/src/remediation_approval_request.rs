//! The custom resource `RemediationApprovalRequest` (`kubernaut.ai/v1alpha1`): a remediation that a person has to approve. As
//! much of it as this product needs; the service that creates it is written elsewhere.

#![expect(clippy::duplicated_attributes, reason = "each printer column has a type and a path of its own")]

use k8s_openapi::api::core::v1::{LocalObjectReference, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is to be approved.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "kubernaut.ai",
    version = "v1alpha1",
    kind = "RemediationApprovalRequest",
    plural = "remediationapprovalrequests",
    singular = "remediationapprovalrequest",
    shortname = "rar",
    namespaced,
    status = "RemediationApprovalRequestStatus",
    derive = "PartialEq",
    doc = "A remediation that a person has to approve.",
    printcolumn(name = "Decision", type_ = "string", json_path = ".status.decision"),
    printcolumn(name = "DecidedBy", type_ = "string", json_path = ".status.decidedBy"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = ("self == oldSelf", "spec is immutable after creation (ADR-001)"))]
#[serde(rename_all = "camelCase")]
pub struct RemediationApprovalRequestSpec {
    /// The remediation it belongs to; its name ties the audit events together.
    pub remediation_request_ref: ObjectReference,
    /// The analysis that asks for approval.
    pub ai_analysis_ref: LocalObjectReference,
    /// Why approval is needed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Without a decision until then it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub required_by: Option<Time>,
}

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RemediationApprovalRequestStatus {
    /// The decision; it is final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<ApprovalDecision>,
    /// Who decided; stamped by the admission webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// When; stamped by the admission webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Time>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision_message: Option<String>,
}

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, ToSchema)]
pub enum ApprovalDecision {
    /// The remediation may proceed.
    Approved,
    /// It may not.
    Rejected,
    /// Nobody decided in time: it may not.
    Expired,
}

impl RemediationApprovalRequest {
    /// The audit trail's correlation id: name of the remediation request, or of this request if that is empty.
    pub fn correlation_id(&self) -> String {
        crate::names::correlation_id(&self.spec.remediation_request_ref, self.metadata.name.as_deref())
    }
}
