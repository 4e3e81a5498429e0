//! What is done to pods through subresources of their own: binding to a node, and eviction.

use serde_json::{Value, json};

use super::commit::{self, Origin};
use super::deletion::DeleteOptions;
use super::{Outcome, Write, body, metadata, options};
use crate::api::Call;
use crate::api::admission::Operation;
use crate::api::selector::LabelSelector;
use crate::schema::{FieldError, SchemaRef};
use crate::status::{Cause, Status};
use crate::store::{Expect, GroupResource, labels_of};

impl Write<'_> {
    /// `POST` of a `Binding`: the pod is to run on a node.
    pub async fn bind(&self, call: &Call, warnings: &mut Vec<String>) -> Result<Outcome, Status> {
        let binding = self.admit(call, "core.v1.Binding", warnings).await?;
        let node = binding["target"]["name"].as_str().unwrap_or_default().to_owned();
        let mut faults = Vec::new();
        let kind = &binding["target"]["kind"];
        if !kind.is_null() && kind != "Node" && kind != "" {
            faults.push(FieldError::not_supported("target.kind", kind, &["Node", "<empty>"]));
        }
        if node.is_empty() {
            faults.push(FieldError::required("target.name", ""));
        }
        if !faults.is_empty() {
            return Err(Status::invalid("", "Binding", self.name, &options::causes(faults)));
        }
        let next = |pod: &Value, _: &mut Vec<String>| {
            assigned(pod, &binding, &node, &metadata::now())
                .map_err(|why| Status::conflict("", "pods/binding", self.name, why))
        };
        commit::update(self, Origin::Derived, warnings, next).await?;
        Ok(Outcome::Created(success()))
    }

    /// `POST` of an `Eviction`: the pod is deleted if every disruption budget over it allows.
    pub async fn evict(&self, call: &Call, warnings: &mut Vec<String>) -> Result<Outcome, Status> {
        let eviction = self.admit(call, "policy.v1.Eviction", warnings).await?;
        let sent = eviction.get("deleteOptions").filter(|options| options.is_object());
        let empty = json!({});
        let mut options = DeleteOptions::parse(Some(sent.unwrap_or(&empty)), &call.info)?;
        options.dry_run |= self.options.dry_run;
        let pods = GroupResource::new("", "pods");
        let pod = self.api.store.get(&pods, &self.key(self.name)).ok_or_else(|| self.not_found())?.value();
        if disrupts(&pod) {
            self.spend_budget(&pod, options.dry_run)?;
        }
        let deletion = Write { subresource: "", options: self.options.clone(), ..*self };
        deletion.delete_one(self.name, &options, warnings).await?;
        Ok(Outcome::Created(success()))
    }

    /// The object of a subresource, decoded and admitted.
    async fn admit(&self, call: &Call, schema: &str, warnings: &mut Vec<String>) -> Result<Value, Status> {
        let mut object = body::decode(&call.headers, &call.body)?.value;
        if !object.is_object() {
            return Err(Status::bad_request(format!("the body has to be an object of type {schema}")));
        }
        metadata::locate(&mut object, self.namespace, self.name)?;
        let schema = SchemaRef::named(schema);
        schema.prune(&mut object);
        let sent = self.options.to_json();
        let attributes = self.attributes(Operation::Create, self.name, &sent, None);
        self.api.admission.mutate(self.api, &attributes, &mut object, warnings).await?;
        self.api.admission.validate(self.api, &attributes, &object, warnings).await?;
        Ok(object)
    }

    /// Takes one disruption from the budget over the pod.
    fn spend_budget(&self, pod: &Value, dry_run: bool) -> Result<(), Status> {
        let budgets = GroupResource::new("policy", "poddisruptionbudgets");
        let labels = labels_of(pod);
        let snapshot = self.api.store.snapshot(&budgets);
        let over: Vec<_> = snapshot
            .objects
            .values()
            .filter(|budget| budget.namespace == self.namespace)
            .map(|budget| (budget.revision, budget.value()))
            .filter(|(_, budget)| {
                let selector = &budget["spec"]["selector"];
                selector.is_object()
                    && LabelSelector::from_object(selector).is_some_and(|selector| selector.matches(&labels))
            })
            .collect();
        let (revision, budget) = match over.as_slice() {
            [] => return Ok(()),
            [only] => only,
            _ => {
                let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
                return Err(Status::internal(message));
            }
        };
        let spent = spent(budget, self.name, &metadata::now())?;
        if dry_run {
            return Ok(());
        }
        let name = metadata::text(budget, "name");
        let stored = self.api.store.put(&budgets, &self.key(name), Expect::Revision(*revision), spent);
        stored.map(drop).map_err(|_| {
            Status::too_many_requests(
                format!("couldn't update PodDisruptionBudget {name:?} due to conflicts"),
                10,
            )
        })
    }
}

/// The pod as it is when it belongs to a node.
fn assigned(pod: &Value, binding: &Value, node: &str, now: &str) -> Result<Value, String> {
    let name = metadata::text(pod, "name");
    if metadata::is_terminating(pod) {
        return Err(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let present = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if !present.is_empty() {
        return Err(format!("pod {name} is already assigned to node {present:?}"));
    }
    let uid = metadata::text(binding, "uid");
    if !uid.is_empty() && uid != metadata::text(pod, "uid") {
        return Err(format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            metadata::text(pod, "uid")
        ));
    }
    let mut pod = pod.clone();
    pod["spec"]["nodeName"] = json!(node);
    for (key, value) in binding["metadata"]["annotations"].as_object().into_iter().flatten() {
        pod["metadata"]["annotations"][key] = value.clone();
    }
    let scheduled = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": now});
    match pod["status"]["conditions"].as_array_mut() {
        Some(conditions) => {
            conditions.retain(|condition| condition["type"] != "PodScheduled");
            conditions.push(scheduled);
        }
        None => pod["status"]["conditions"] = json!([scheduled]),
    }
    Ok(pod)
}

/// Whether the end of the pod takes something away.
fn disrupts(pod: &Value) -> bool {
    !metadata::is_terminating(pod)
        && !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Pending"))
}

/// The budget after one more disruption; 429 when it allows none.
fn spent(budget: &Value, pod: &str, now: &str) -> Result<Value, Status> {
    let name = metadata::text(budget, "name");
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let refuse = |seconds: Option<u32>, why: String| {
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        let status = match seconds {
            Some(seconds) => Status::too_many_requests(message, seconds),
            None => Status::new(429, "TooManyRequests", message),
        };
        Err(status.with_causes(&[Cause::new("DisruptionBudget", "", why)]))
    };
    let status = &budget["status"];
    if number(&status["observedGeneration"]) < number(&budget["metadata"]["generation"]) {
        return refuse(
            Some(10),
            format!("The disruption budget {name} is still being processed by the server."),
        );
    }
    if number(&status["disruptionsAllowed"]) <= 0 {
        let (needed, present) = (number(&status["desiredHealthy"]), number(&status["currentHealthy"]));
        return refuse(
            None,
            format!("The disruption budget {name} needs {needed} healthy pods and has {present} currently"),
        );
    }
    let mut next = budget.clone();
    next["status"]["disruptionsAllowed"] = json!(number(&status["disruptionsAllowed"]) - 1);
    next["status"]["disruptedPods"][pod] = json!(now);
    Ok(next)
}

fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    #[test]
    fn a_pod_is_bound_once() {
        let pod = json!({"metadata": {"name": "a"}, "spec": {}, "status": {"conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}});
        let binding = json!({"metadata": {"annotations": {"k": "v"}}});
        let bound = assigned(&pod, &binding, "n", NOW).unwrap();
        assert_eq!(bound["spec"]["nodeName"], "n");
        assert_eq!(bound["metadata"]["annotations"], json!({"k": "v"}));
        assert_eq!(
            bound["status"]["conditions"],
            json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": NOW}])
        );
        assert_eq!(
            assigned(&bound, &binding, "m", NOW).unwrap_err(),
            "pod a is already assigned to node \"n\""
        );
    }

    #[test]
    fn a_budget_is_spent_until_it_allows_nothing() {
        let budget = json!({"metadata": {"name": "b", "generation": 1},
            "status": {"observedGeneration": 1, "disruptionsAllowed": 1, "desiredHealthy": 1, "currentHealthy": 2}});
        let next = spent(&budget, "p", NOW).unwrap();
        assert_eq!(next["status"]["disruptionsAllowed"], 0);
        assert_eq!(next["status"]["disruptedPods"], json!({"p": NOW}));
        let refused = spent(&next, "q", NOW).unwrap_err();
        assert_eq!(refused.code(), 429);
        assert_eq!(
            refused.to_json()["details"]["causes"][0]["message"],
            "The disruption budget b needs 1 healthy pods and has 2 currently"
        );
    }
}
