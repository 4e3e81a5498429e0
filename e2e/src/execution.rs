//! Executions as the scenarios write, start, watch and delete them.

use anyhow::{Context, Result, anyhow, bail};
use api::workflow_execution::{Phase, WorkflowExecution, WorkflowExecutionStatus};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, NAMESPACE, unique};
use crate::events;
use crate::wait::{Seen, until};

/// An execution to be: one that succeeds at once on a target of its own, until told otherwise.
#[derive(Clone, Debug)]
pub struct Plan {
    name: String,
    target: String,
    image: String,
    parameters: Value,
    config: Value,
}

impl Plan {
    /// An execution that nothing else in the cluster has to do with.
    pub fn new(cluster: &Cluster, prefix: &str) -> Self {
        let name = unique(prefix);
        Self {
            target: format!("e2e/deployment/{name}"),
            image: cluster.workflow_image.clone(),
            parameters: json!({}),
            config: json!({}),
            name,
        }
    }

    /// Acts on `target`.
    #[must_use]
    pub fn on(mut self, target: &str) -> Self {
        self.target = target.to_owned();
        self
    }

    /// Hands a parameter to the workflow.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.parameters[name] = value.into();
        self
    }

    /// Takes that long.
    #[must_use]
    pub fn lasting(self, seconds: u32) -> Self {
        self.with("DURATION_SECONDS", &seconds.to_string())
    }

    /// Fails with this exit code and these last words.
    #[must_use]
    pub fn failing(self, exit_code: u8, message: &str) -> Self {
        self.with("MODE", "fail").with("EXIT_CODE", &exit_code.to_string()).with("MESSAGE", message)
    }

    /// Runs another image.
    #[must_use]
    pub fn image(mut self, image: &str) -> Self {
        self.image = image.to_owned();
        self
    }

    /// Sets a field of `spec.executionConfig`.
    #[must_use]
    pub fn config(mut self, field: &str, value: &str) -> Self {
        self.config[field] = value.into();
        self
    }

    /// Creates it.
    pub async fn create(self, cluster: &Cluster) -> Result<Execution> {
        let Self { name, target, image, parameters, config } = self;
        let object: WorkflowExecution = serde_json::from_value(json!({
            "apiVersion": "kubernaut.ai/v1alpha1",
            "kind": "WorkflowExecution",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "remediationRequestRef": {
                    "apiVersion": "kubernaut.ai/v1alpha1", "kind": "RemediationRequest",
                    "name": format!("rr-{name}"), "namespace": NAMESPACE,
                },
                "workflowRef": {"workflowId": "sample-workflow", "version": "1.0.0", "containerImage": image},
                "targetResource": target,
                "parameters": parameters,
                "executionConfig": config,
            },
        }))?;
        let api = Api::namespaced(cluster.client.clone(), NAMESPACE);
        let created: WorkflowExecution = api
            .create(&PostParams::default(), &object)
            .await
            .with_context(|| format!("failed to create execution {name} on {target}"))?;
        let uid = created.uid().context("the API server gives every object a uid")?;
        Ok(Execution { correlation: format!("rr-{name}"), name, target, uid, api, cluster: cluster.clone() })
    }
}

/// An execution in the cluster.
#[derive(Clone)]
pub struct Execution {
    /// Its name in [`NAMESPACE`].
    pub name: String,
    /// What it acts on.
    pub target: String,
    /// Its uid.
    pub uid: String,
    /// What its audit events are found by.
    pub correlation: String,
    api: Api<WorkflowExecution>,
    cluster: Cluster,
}

impl Execution {
    /// It as it is now.
    pub async fn get(&self) -> Result<WorkflowExecution> {
        self.api.get(&self.name).await.with_context(|| format!("failed to read execution {}", self.name))
    }

    /// Its status now; empty for a new one.
    pub async fn status(&self) -> Result<WorkflowExecutionStatus> {
        Ok(self.get().await?.status.unwrap_or_default())
    }

    /// Waits until its status satisfies `condition`. What it was instead is told with the object's events.
    pub async fn until(
        &self,
        what: &str,
        seconds: u64,
        condition: impl Fn(&WorkflowExecutionStatus) -> bool,
    ) -> Result<WorkflowExecutionStatus> {
        let what = format!("execution {} {what}", self.name);
        let waited = until(&what, seconds, async || {
            Ok(match self.api.get(&self.name).await {
                Ok(object) => {
                    let status = object.status.unwrap_or_default();
                    if condition(&status) {
                        Seen::Yes(status)
                    } else {
                        Seen::NotYet(serde_json::to_string_pretty(&status)?)
                    }
                }
                Err(kube::Error::Api(status)) if status.code == 404 => {
                    bail!("execution {} no longer exists while waiting until {what}", self.name)
                }
                Err(error) => Seen::NotYet(error.to_string()),
            })
        });
        match waited.await {
            Ok(status) => Ok(status),
            Err(error) => Err(anyhow!("{error:#}\nits Kubernetes events:\n{}", self.story().await)),
        }
    }

    /// Waits until it is in `phase`; fails at once if it ends in another.
    pub async fn until_phase(&self, phase: Phase) -> Result<WorkflowExecutionStatus> {
        let status = self
            .until(&format!("is {}", phase.as_str()), 90, |status| {
                status.phase == Some(phase) || status.phase.is_some_and(Phase::is_terminal)
            })
            .await?;
        if status.phase == Some(phase) {
            return Ok(status);
        }
        let seen = serde_json::to_string_pretty(&status)?;
        bail!(
            "execution {} ended otherwise than {}:\n{seen}\n{}",
            self.name,
            phase.as_str(),
            self.story().await
        )
    }

    /// Waits until condition `kind` has this status, and returns its reason.
    pub async fn until_condition(&self, kind: &str, holds: &str) -> Result<String> {
        let what = format!("has condition {kind} {holds}");
        let status = self
            .until(&what, 90, |status| condition(status, kind).is_some_and(|(is, _)| is == holds))
            .await?;
        Ok(condition(&status, kind).map(|(_, reason)| reason.to_owned()).unwrap_or_default())
    }

    /// Asks for its deletion.
    pub async fn delete(&self) -> Result<()> {
        self.api.delete(&self.name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Waits until it is gone.
    pub async fn until_gone(&self) -> Result<()> {
        until(&format!("execution {} is gone", self.name), 90, async || {
            Ok(match self.api.get_opt(&self.name).await {
                Ok(None) => Seen::Yes(()),
                Ok(Some(object)) if object.uid().as_deref() != Some(&self.uid) => Seen::Yes(()),
                Ok(Some(object)) => Seen::NotYet(serde_json::to_string_pretty(&object)?),
                Err(error) => Seen::NotYet(error.to_string()),
            })
        })
        .await
    }

    async fn story(&self) -> String {
        match events::of(&self.cluster, &self.uid).await {
            Ok(events) if events.is_empty() => "  none".to_owned(),
            Ok(events) => events.iter().map(|event| format!("  {} {}\n", event.reason, event.note)).collect(),
            Err(error) => format!("  unknown: {error:#}"),
        }
    }
}

/// Status and reason of condition `kind`.
pub fn condition<'a>(status: &'a WorkflowExecutionStatus, kind: &str) -> Option<(&'a str, &'a str)> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((&condition.status, &condition.reason))
}
