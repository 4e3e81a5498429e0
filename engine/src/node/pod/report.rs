//! A pod's status on its way to the API: one patch for each change, of nothing but what the node owns.

use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Map, Value, json};

use super::status::OURS;

/// What was last written, to write nothing twice.
#[derive(Debug, Default)]
pub(crate) struct Report {
    status: PodStatus,
    sent: Option<Value>,
}

impl Report {
    /// The pod with the status to go by: conditions of others as they are now, our own as we last wrote them.
    pub(crate) fn basis(&self, pod: &Pod) -> Pod {
        let mut pod = pod.clone();
        let mut status = pod.status.take().unwrap_or_default();
        let ours = |condition: &PodCondition| OURS.contains(&condition.type_.as_str());
        if self.sent.is_some() {
            let mut conditions = status.conditions.unwrap_or_default();
            conditions.retain(|condition| !ours(condition));
            conditions.extend(self.status.conditions.iter().flatten().filter(|own| ours(own)).cloned());
            status.conditions = Some(conditions);
            status.pod_ip = self.status.pod_ip.clone().or(status.pod_ip);
        }
        pod.status = Some(status);
        pod
    }

    /// Writes a status, unless it is what was written last.
    pub(crate) async fn write(
        &mut self,
        client: &kube::Client,
        pod: &Pod,
        status: PodStatus,
    ) -> Result<(), kube::Error> {
        let patch = patch(pod, &status, self.sent.as_ref());
        if self.sent.as_ref() == Some(&patch) {
            return Ok(());
        }
        let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        let name = pod.name_any();
        pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(&patch)).await?;
        self.status = status;
        self.sent = Some(patch);
        Ok(())
    }
}

/// The patch that makes the stored status this one. What was in the last patch and is gone is removed.
fn patch(pod: &Pod, status: &PodStatus, last: Option<&Value>) -> Value {
    let mut fields = match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let scheduled = |type_: &str| type_ == "PodScheduled";
    let known = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let placed_by_another = known.into_iter().any(|condition| scheduled(&condition.type_));
    let conditions = status.conditions.iter().flatten().filter(|condition| {
        OURS.contains(&condition.type_.as_str()) || (scheduled(&condition.type_) && !placed_by_another)
    });
    let conditions: Vec<Value> = conditions
        .map(|condition| {
            // Conditions are merged: what a condition no longer says has to be removed.
            json!({
                "type": condition.type_,
                "status": condition.status,
                "reason": condition.reason,
                "message": condition.message,
                "lastTransitionTime": condition.last_transition_time,
            })
        })
        .collect();
    fields.insert("conditions".to_owned(), Value::Array(conditions));
    let gone = last.and_then(|last| last["status"].as_object()).into_iter().flatten();
    for (name, _) in gone {
        fields.entry(name.clone()).or_insert(Value::Null);
    }
    json!({"metadata": {"uid": pod.uid()}, "status": fields})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_patch_removes_what_is_no_longer_said_and_leaves_others_conditions_alone() {
        let pod: Pod = object(json!({
            "metadata": {"name": "p", "uid": "u"},
            "status": {"conditions": [{"type": "PodScheduled", "status": "True"}]},
        }));
        let status: PodStatus = object(json!({"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
            {"type": "PodScheduled", "status": "True"},
            {"type": "example.com/gate", "status": "True"},
        ]}));
        let last = json!({"status": {"phase": "Pending", "message": "old"}});
        assert_eq!(
            patch(&pod, &status, Some(&last)),
            json!({"metadata": {"uid": "u"}, "status": {
                "phase": "Running",
                "message": null,
                "conditions": [{
                    "type": "Ready", "status": "True", "reason": null, "message": null,
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            }})
        );
    }

    #[test]
    fn times_of_our_conditions_come_from_what_was_written() {
        let condition = |time: &str| json!({"type": "Ready", "status": "False", "lastTransitionTime": time});
        let pod: Pod = object(json!({
            "metadata": {"name": "p"},
            "status": {"conditions": [condition("2026-01-01T00:00:00Z"), {"type": "x", "status": "True"}]},
        }));
        let written: PodStatus = object(json!({"conditions": [condition("2026-01-01T00:00:09Z")]}));
        let report = Report { status: written, sent: Some(Value::Null) };
        let conditions = report.basis(&pod).status.unwrap().conditions.unwrap();
        let times: Vec<_> = conditions
            .iter()
            .map(|condition| {
                let time = condition.last_transition_time.as_ref().map(|time| time.0.to_string());
                (condition.type_.as_str(), time)
            })
            .collect();
        assert_eq!(times, [("x", None), ("Ready", Some("2026-01-01T00:00:09Z".to_owned()))]);
    }
}
