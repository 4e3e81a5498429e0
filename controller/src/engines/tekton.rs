//! Engine `tekton`: a PipelineRun of the pipeline that the workflow's bundle holds.

pub mod resource;

mod read;

pub use read::{read, task_runs};

use api::duration;
use api::workflow_execution::WorkflowExecution;
use serde_json::json;

use super::child::{Place, parameters};
use resource::{Param, PipelineRun, PipelineRunSpec, ResolverRef, TaskRunTemplate, Timeouts};

/// Name that the pipeline has in every workflow's bundle.
const PIPELINE: &str = "workflow";

/// The PipelineRun that runs `execution`.
pub fn build(execution: &WorkflowExecution, place: &Place) -> PipelineRun {
    let param = |(name, value): (&str, &str)| Param { name: name.to_owned(), value: json!(value) };
    let bundle = execution.spec.workflow_ref.container_image.as_str();
    let pipeline_ref = ResolverRef {
        resolver: "bundles".to_owned(),
        params: [("bundle", bundle), ("name", PIPELINE), ("kind", "pipeline")].map(param).into(),
    };
    let spec = PipelineRunSpec {
        pipeline_ref,
        params: parameters(execution).map(param).collect(),
        task_run_template: TaskRunTemplate { service_account_name: place.service_account(execution) },
        timeouts: Timeouts { pipeline: duration::format(place.timeout(execution)) },
    };
    PipelineRun { metadata: place.metadata(execution), spec, status: None }
}

#[cfg(test)]
mod tests;
