//! People decide about remediations and cancel notifications; who that was is not theirs to say, and all of it is on record.

use anyhow::{Context, Result, ensure};
use api::audit::AuditEvent;
use api::notification_request::NotificationRequest;
use api::remediation_approval_request::{ApprovalDecision, RemediationApprovalRequest};
use e2e::audit::{trail, type_of};
use e2e::cluster::{Cluster, NAMESPACE, unique};
use e2e::identity::{Operator, operator};
use e2e::wait::{Seen, until};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// A request for approval of a remediation of its own; its name and the remediation's.
async fn requested(cluster: &Cluster) -> Result<(String, String)> {
    let (name, remediation) = (unique("approval"), unique("rr"));
    let request: RemediationApprovalRequest = serde_json::from_value(json!({
        "apiVersion": "kubernaut.ai/v1alpha1", "kind": "RemediationApprovalRequest",
        "metadata": {"name": name},
        "spec": {"remediationRequestRef": {"name": remediation}, "aiAnalysisRef": {"name": "analysis"}},
    }))?;
    let api = Api::namespaced(cluster.client.clone(), NAMESPACE);
    api.create(&PostParams::default(), &request).await.context("failed to request approval")?;
    Ok((name, remediation))
}

async fn decide(operator: &Operator, name: &str, status: Value) -> kube::Result<RemediationApprovalRequest> {
    let api = Api::<RemediationApprovalRequest>::namespaced(operator.client.clone(), NAMESPACE);
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({ "status": status }))).await
}

/// The one event of a remediation that has this type.
async fn recorded(cluster: &Cluster, remediation: &str, event_type: &str) -> Result<AuditEvent> {
    until(&format!("{event_type} of {remediation} is recorded"), 60, async || {
        let all = match trail(cluster, remediation).await {
            Ok(all) => all,
            // Another scenario has switched DataStorage off.
            Err(error) => return Ok(Seen::NotYet(format!("{error:#}"))),
        };
        let found: Vec<_> = all.iter().filter(|event| type_of(event) == event_type).cloned().collect();
        ensure!(found.len() < 2, "it is recorded twice: {found:?}");
        Ok(found.into_iter().next().map_or_else(|| Seen::NotYet(format!("{all:?}")), Seen::Yes))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_attributed_to_the_caller_whatever_they_claim_and_recorded() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let operator = operator(&cluster).await?;
    let (name, remediation) = requested(&cluster).await?;
    let forged = json!({"decision": "Rejected", "decisionMessage": "too risky", "decidedBy": "somebody-else",
        "decidedAt": "2001-01-01T00:00:00Z"});
    let decided = decide(&operator, &name, forged).await.context("failed to decide")?;
    let status = decided.status.context("the decision is stored")?;
    ensure!(status.decision == Some(ApprovalDecision::Rejected), "{status:?}");
    ensure!(status.decided_by.as_deref() == Some(&*operator.username), "{status:?}");
    let year = status.decided_at.as_ref().map(|time| time.0.strftime("%Y").to_string());
    ensure!(year.is_some_and(|year| year != "2001"), "{status:?}");
    let event = recorded(&cluster, &remediation, "webhook.approval.decided").await?;
    ensure!(event.actor_id == operator.username && event.event_data["decision"] == "Rejected", "{event:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_final() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let operator = operator(&cluster).await?;
    let (name, _) = requested(&cluster).await?;
    decide(&operator, &name, json!({"decision": "Approved"})).await.context("failed to decide")?;
    for change in [json!({"decision": "Rejected"}), json!({"decision": null})] {
        let refusal = decide(&operator, &name, change.clone()).await.err().context("it was decided again")?;
        ensure!(refusal.to_string().contains("final"), "{change}: {refusal}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_request_is_not_recorded_as_approved() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let operator = operator(&cluster).await?;
    let (name, remediation) = requested(&cluster).await?;
    decide(&operator, &name, json!({"decision": "Expired"})).await.context("failed to let it expire")?;
    let event = recorded(&cluster, &remediation, "webhook.approval.decided").await?;
    ensure!(event.event_data["decision"] == "Expired", "{event:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cancels_a_notification_is_recorded() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let operator = operator(&cluster).await?;
    let (name, remediation) = (unique("notification"), unique("rr"));
    let notification: NotificationRequest = serde_json::from_value(json!({
        "apiVersion": "kubernaut.ai/v1alpha1", "kind": "NotificationRequest",
        "metadata": {"name": name},
        "spec": {"remediationRequestRef": {"name": remediation}, "type": "escalation", "priority": "high",
            "subject": "somebody is needed", "recipients": [{"slack": "#ops"}]},
    }))?;
    let api = Api::<NotificationRequest>::namespaced(cluster.client.clone(), NAMESPACE);
    api.create(&PostParams::default(), &notification).await.context("failed to create a notification")?;
    let api = Api::<NotificationRequest>::namespaced(operator.client.clone(), NAMESPACE);
    api.delete(&name, &DeleteParams::default()).await.context("failed to cancel the notification")?;
    let event = recorded(&cluster, &remediation, "webhook.notification.cancelled").await?;
    ensure!(event.actor_id == operator.username && event.actor_type == "user", "{event:?}");
    ensure!(
        event.event_data["notification_name"] == name && event.event_data["priority"] == "high",
        "{event:?}"
    );
    Ok(())
}
