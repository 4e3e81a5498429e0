//! Finding the workflow for a signal: its labels must fit, and what else fits decides the order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{DetectedLabels, NewWorkflow, Workflow, WorkflowLabels};
use crate::audit::{FieldError, Validate, has_nul};

/// Results when the search does not say.
const DEFAULT_TOP: u32 = 10;
/// Most results.
const MAX_TOP: u32 = 100;
/// What the five mandatory labels are worth; a score is a tenth of all points.
const MANDATORY: f64 = 5.0;
/// What a workflow loses for each label that says how changes are made and says it differently.
const PENALTY: f64 = 0.10;
/// What a further label is worth, and half of it for `*`.
const CUSTOM: f64 = 0.05;

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkflowSearch {
    /// What has to fit, and what should.
    pub filters: WorkflowSearchFilters,
    /// Most results, 1 to 100, 10 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100, default = 10)]
    pub top_k: Option<u32>,
    /// Leave out what scores less, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0.0, maximum = 1.0)]
    pub min_score: Option<f64>,
    /// Also what is not active.
    #[serde(default)]
    pub include_disabled: bool,
    /// The remediation it is for: ties the audit event of the search to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 255)]
    pub remediation_id: Option<String>,
}

impl WorkflowSearch {
    /// Most results.
    pub fn top(&self) -> u32 {
        self.top_k.unwrap_or(DEFAULT_TOP)
    }
}

impl Validate for WorkflowSearch {
    fn validate(&self) -> Vec<FieldError> {
        let Self { filters, top_k: _, min_score, include_disabled: _, remediation_id } = self;
        let mut errors = filters.labels.validate("filters.");
        if !(1..=MAX_TOP).contains(&self.top()) {
            let reason = format!("must be between 1 and {MAX_TOP}, is {}", self.top());
            errors.push(FieldError::new("top_k", reason));
        }
        if min_score.is_some_and(|score| !(0.0..=1.0).contains(&score)) {
            errors.push(FieldError::new("min_score", "must be between 0 and 1"));
        }
        errors.extend(crate::audit::optional_text("remediation_id", remediation_id, 255));
        if errors.is_empty() && has_nul(&serde_json::to_value(filters).unwrap_or_default()) {
            errors.push(FieldError::new("filters", "must not contain the character U+0000"));
        }
        errors
    }
}

/// What has to fit, and what should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkflowSearchFilters {
    /// Has to fit.
    #[serde(flatten)]
    pub labels: WorkflowLabels,
    /// Should fit: each label with the values at hand.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_labels: BTreeMap<String, Vec<String>>,
    /// Should fit.
    #[serde(default, skip_serializing_if = "DetectedLabels::is_empty")]
    pub detected_labels: DetectedLabels,
}

/// What was found, best first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkflowSearchResponse {
    /// The best of them.
    pub workflows: Vec<WorkflowMatch>,
    /// All that fit.
    pub total_results: u64,
    /// What was looked for.
    pub filters: WorkflowSearchFilters,
}

/// A workflow that fits, and how well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkflowMatch {
    /// Of the catalog.
    #[schema(value_type = String, format = "uuid")]
    pub workflow_id: Uuid,
    /// Its name for people.
    pub title: String,
    /// What it does.
    pub description: String,
    /// Signal it answers.
    pub signal_type: String,
    /// Image it runs from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_image: Option<String>,
    /// Digest of that image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_digest: Option<String>,
    /// The score.
    pub confidence: f64,
    /// Points for labels that fit.
    pub label_boost: f64,
    /// Points lost for labels that do not.
    pub label_penalty: f64,
    /// The score, 0 to 1.
    pub final_score: f64,
    /// From 1.
    pub rank: u32,
    /// Its further labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_labels: BTreeMap<String, Vec<String>>,
    /// What it is made for.
    #[serde(default, skip_serializing_if = "DetectedLabels::is_empty")]
    pub detected_labels: DetectedLabels,
}

/// Scores `candidates` and keeps the best. Candidates that score alike keep their order.
pub fn rank(search: &WorkflowSearch, candidates: Vec<Workflow>) -> WorkflowSearchResponse {
    let scored = candidates.into_iter().map(|candidate| score(&search.filters, candidate));
    let mut matches: Vec<WorkflowMatch> =
        scored.filter(|found| found.final_score >= search.min_score.unwrap_or_default()).collect();
    matches.sort_by(|left, right| right.final_score.total_cmp(&left.final_score));
    let total_results = matches.len() as u64;
    matches.truncate(search.top() as usize);
    for (found, rank) in matches.iter_mut().zip(1..) {
        found.rank = rank;
    }
    WorkflowSearchResponse { workflows: matches, total_results, filters: search.filters.clone() }
}

fn score(filters: &WorkflowSearchFilters, candidate: Workflow) -> WorkflowMatch {
    let Workflow { workflow_id, workflow, .. } = candidate;
    let (detected, penalty) = detected_points(&filters.detected_labels, &workflow.detected_labels);
    let boost = detected + custom_points(&filters.custom_labels, &workflow.custom_labels);
    let score = ((MANDATORY + boost - penalty) / 10.0).clamp(0.0, 1.0);
    let NewWorkflow { name, description, labels, container_image, container_digest, .. } = workflow;
    WorkflowMatch {
        workflow_id,
        title: name,
        description,
        signal_type: labels.signal_type,
        container_image,
        container_digest,
        confidence: score,
        label_boost: boost,
        label_penalty: penalty,
        final_score: score,
        rank: 0,
        custom_labels: workflow.custom_labels,
        detected_labels: workflow.detected_labels,
    }
}

/// Points won and lost by what is known about the environment.
fn detected_points(wanted: &DetectedLabels, offered: &DetectedLabels) -> (f64, f64) {
    let DetectedLabels {
        git_ops_managed,
        git_ops_tool,
        pdb_protected,
        service_mesh,
        network_isolated,
        helm_managed,
        stateful,
        hpa_enabled,
    } = wanted;
    let flags = [
        (0.10, git_ops_managed, &offered.git_ops_managed),
        (0.05, pdb_protected, &offered.pdb_protected),
        (0.03, network_isolated, &offered.network_isolated),
        (0.02, helm_managed, &offered.helm_managed),
        (0.02, stateful, &offered.stateful),
        (0.02, hpa_enabled, &offered.hpa_enabled),
    ];
    let texts = [(0.10, git_ops_tool, &offered.git_ops_tool), (0.05, service_mesh, &offered.service_mesh)];
    let mut points = 0.0;
    for (weight, wanted, offered) in flags {
        if *wanted == Some(true) && wanted == offered {
            points += weight;
        }
    }
    for (weight, wanted, offered) in texts {
        points += match (wanted.as_deref(), offered.as_deref()) {
            (Some(wanted), Some(offered)) if wanted == offered => weight,
            (Some(_), Some("*")) | (Some("*"), Some(_)) => weight / 2.0,
            _ => 0.0,
        };
    }
    let differs = |wanted: bool, offered: bool, same: bool| wanted && offered && !same;
    let managed = differs(
        git_ops_managed.is_some(),
        offered.git_ops_managed.is_some(),
        *git_ops_managed == offered.git_ops_managed,
    );
    let any_tool = [git_ops_tool, &offered.git_ops_tool].iter().any(|tool| tool.as_deref() == Some("*"));
    let tool = differs(
        git_ops_tool.is_some(),
        offered.git_ops_tool.is_some(),
        any_tool || *git_ops_tool == offered.git_ops_tool,
    );
    let lost = [managed, tool].into_iter().filter(|lost| *lost).count();
    (points, PENALTY * lost as f64)
}

/// Points won by further labels.
fn custom_points(wanted: &BTreeMap<String, Vec<String>>, offered: &BTreeMap<String, Vec<String>>) -> f64 {
    wanted
        .iter()
        .filter_map(|(label, values)| {
            let offered = offered.get(label)?;
            if values.iter().any(|value| offered.contains(value)) {
                return Some(CUSTOM);
            }
            offered.iter().any(|value| value == "*").then_some(CUSTOM / 2.0)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn workflow(id: u128, detected: Value, custom: Value) -> Workflow {
        serde_json::from_value(json!({
            "workflow_id": Uuid::from_u128(id), "is_latest_version": true,
            "created_at": "2026-01-10T12:00:00Z", "updated_at": "2026-01-10T12:00:00Z",
            "workflow_name": "restart", "version": id.to_string(), "name": "Restart", "description": "d",
            "content": "c", "content_hash": "0".repeat(64), "execution_engine": "job", "status": "active",
            "labels": {"signal_type": "OOMKilled", "severity": "high", "component": "*",
                "environment": "production", "priority": "P1"},
            "detected_labels": detected, "custom_labels": custom,
        }))
        .unwrap()
    }

    fn search(detected: Value, custom: Value) -> WorkflowSearch {
        serde_json::from_value(json!({"filters": {
            "signal_type": "OOMKilled", "severity": "high", "component": "deployment",
            "environment": "production", "priority": "P1",
            "detected_labels": detected, "custom_labels": custom,
        }}))
        .unwrap()
    }

    #[track_caller]
    fn check(wanted: Value, offered: Value, boost: f64, penalty: f64) {
        let found = rank(&search(wanted.clone(), json!({})), vec![workflow(1, offered.clone(), json!({}))]);
        let found = &found.workflows[0];
        assert!((found.label_boost - boost).abs() < 1e-9, "{wanted} by {offered}: {found:?}");
        assert!((found.label_penalty - penalty).abs() < 1e-9, "{wanted} by {offered}: {found:?}");
        assert!((found.final_score - (5.0 + boost - penalty) / 10.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn labels_that_fit_win_points_and_those_about_git_ops_lose_them() {
        check(json!({}), json!({}), 0.0, 0.0);
        check(json!({"stateful": true, "pdbProtected": true}), json!({"stateful": true}), 0.02, 0.0);
        check(json!({"gitOpsManaged": true}), json!({"gitOpsManaged": true}), 0.10, 0.0);
        check(json!({"gitOpsManaged": true}), json!({"gitOpsManaged": false}), 0.0, 0.10);
        check(json!({"gitOpsManaged": true}), json!({}), 0.0, 0.0);
        check(json!({"gitOpsTool": "argocd"}), json!({"gitOpsTool": "*"}), 0.05, 0.0);
        check(json!({"gitOpsTool": "argocd"}), json!({"gitOpsTool": "flux"}), 0.0, 0.10);
        check(json!({"serviceMesh": "istio"}), json!({"serviceMesh": "linkerd"}), 0.0, 0.0);
    }

    #[test]
    fn the_best_come_first_and_equals_keep_their_order() {
        let custom = |value: &str| json!({"team": [value]});
        let candidates = vec![
            workflow(1, json!({}), custom("b")),
            workflow(2, json!({}), custom("*")),
            workflow(3, json!({}), custom("a")),
            workflow(4, json!({}), custom("c")),
        ];
        let wanted = WorkflowSearch { top_k: Some(3), ..search(json!({}), custom("a")) };
        let found = rank(&wanted, candidates);
        let ids: Vec<u128> = found.workflows.iter().map(|found| found.workflow_id.as_u128()).collect();
        assert_eq!((ids, found.total_results), (vec![3, 2, 1], 4));
        assert_eq!(found.workflows.iter().map(|found| found.rank).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn what_scores_too_little_is_left_out() {
        let wanted =
            WorkflowSearch { min_score: Some(0.501), ..search(json!({"stateful": true}), json!({})) };
        let candidates =
            vec![workflow(1, json!({}), json!({})), workflow(2, json!({"stateful": true}), json!({}))];
        let found = rank(&wanted, candidates);
        assert_eq!(found.workflows.iter().map(|found| found.workflow_id.as_u128()).collect::<Vec<_>>(), [2]);
    }
}
