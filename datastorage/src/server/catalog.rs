//! The workflow catalog. What changes it, and every search, is in the audit trail too.

mod audit;

use std::sync::Arc;
use std::time::Instant;

use api::audit::{FieldError, Validate, required_text};
use api::catalog::{
    DEFAULT_PAGE, DisableWorkflow, MAX_PAGE, NewWorkflow, Workflow, WorkflowList, WorkflowQuery,
    WorkflowSearch, WorkflowSearchResponse, WorkflowStatus, WorkflowUpdate, rank,
};
use api::problem::Problem;
use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use super::Service;
use super::answer::Failure;
use super::{body, query};
use crate::metrics::{Status, Table};
use crate::repository::CatalogError;

/// What a change of status may name; everything else of an entry never changes.
const CHANGEABLE: [&str; 3] = ["status", "disabled_by", "disabled_reason"];

/// Put a workflow into the catalog. It becomes the latest version of its name.
#[utoipa::path(
    post, path = "/api/v1/workflows", tag = "catalog", operation_id = "createWorkflow",
    request_body = NewWorkflow,
    responses(
        (status = 201, description = "The entry.", body = Workflow),
        (status = 400, description = "A field is refused; `field_errors` says why.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "The version exists.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn create(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<(StatusCode, Json<Workflow>), Failure> {
    let workflow: NewWorkflow = body::valid(&service, &headers, request_body).await?;
    let started = Instant::now();
    let created = service.repository.create_workflow(workflow).await;
    service.metrics.wrote(Table::workflow_catalog, status(&created), started.elapsed());
    let entry = created.map_err(refused)?;
    audit::record(&service, audit::created(&entry)).await;
    Ok((StatusCode::CREATED, Json(entry)))
}

/// List the catalog, newest first.
#[utoipa::path(
    get, path = "/api/v1/workflows", tag = "catalog", operation_id = "listWorkflows",
    params(WorkflowQuery),
    responses(
        (status = 200, description = "A page of the catalog.", body = WorkflowList),
        (status = 400, description = "A parameter is refused; `field_errors` says why.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(service): State<Arc<Service>>,
    query: Result<Query<WorkflowQuery>, QueryRejection>,
) -> Result<Json<WorkflowList>, Failure> {
    let query = query::parse(&service, query)?;
    let errors = query.validate();
    if !errors.is_empty() {
        return Err(body::invalid(&service, "invalid", &errors));
    }
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    page(&service, &query, limit).await
}

/// Every version of a workflow, newest first.
#[utoipa::path(
    get, path = "/api/v1/workflows/by-name/{workflow_name}/versions", tag = "catalog", operation_id = "listWorkflowVersions",
    params(("workflow_name" = String, Path, description = "Of the workflow.", min_length = 1, max_length = 255)),
    responses(
        (status = 200, description = "Its versions; none if there is no such workflow.", body = WorkflowList),
        (status = 400, description = "The name cannot be one.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn versions(
    State(service): State<Arc<Service>>,
    Path(workflow_name): Path<String>,
) -> Result<Json<WorkflowList>, Failure> {
    if let Some(error) = required_text("workflow_name", &workflow_name, 255) {
        return Err(body::invalid(&service, "invalid", &[error]));
    }
    let query = WorkflowQuery { workflow_name: Some(workflow_name), ..WorkflowQuery::default() };
    page(&service, &query, MAX_PAGE).await
}

async fn page(service: &Service, query: &WorkflowQuery, limit: u32) -> Result<Json<WorkflowList>, Failure> {
    let started = Instant::now();
    let listed = service.repository.workflows(query, limit).await;
    let status = if listed.is_ok() { Status::success } else { Status::failure };
    service.metrics.queried("list_workflows", status, started.elapsed());
    Ok(Json(listed?))
}

/// Find workflows for a signal, best first.
#[utoipa::path(
    post, path = "/api/v1/workflows/search", tag = "catalog", operation_id = "searchWorkflows",
    request_body = WorkflowSearch,
    responses(
        (status = 200, description = "What was found.", body = WorkflowSearchResponse),
        (status = 400, description = "A field is refused; `field_errors` says why.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn search(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<Json<WorkflowSearchResponse>, Failure> {
    let search: WorkflowSearch = body::valid(&service, &headers, request_body).await?;
    let started = Instant::now();
    let labels = &search.filters.labels;
    let candidates = service.repository.workflow_candidates(labels, search.include_disabled).await;
    let status = if candidates.is_ok() { Status::success } else { Status::failure };
    let elapsed = started.elapsed();
    service.metrics.queried("search_workflows", status, elapsed);
    let found = rank(&search, candidates?);
    audit::record(&service, audit::searched(&search, &found, elapsed)).await;
    Ok(Json(found))
}

/// An entry of the catalog.
#[utoipa::path(
    get, path = "/api/v1/workflows/{workflow_id}", tag = "catalog", operation_id = "getWorkflow",
    params(("workflow_id" = String, Path, description = "Of the entry.", format = "uuid")),
    responses(
        (status = 200, description = "The entry.", body = Workflow),
        (status = 400, description = "The id is not a UUID.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such entry.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn get(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
) -> Result<Json<Workflow>, Failure> {
    let id = uuid(&service, &id)?;
    let started = Instant::now();
    let found = service.repository.workflow(id).await;
    service.metrics.queried("get_workflow", status(&found), started.elapsed());
    Ok(Json(found.map_err(refused)?))
}

/// Change the status of an entry. Nothing else of it can be changed: create another version instead.
#[utoipa::path(
    patch, path = "/api/v1/workflows/{workflow_id}", tag = "catalog", operation_id = "updateWorkflow",
    params(("workflow_id" = String, Path, description = "Of the entry.", format = "uuid")),
    request_body = WorkflowUpdate,
    responses(
        (status = 200, description = "The entry as it is now.", body = Workflow),
        (status = 400, description = "A field is refused, or cannot be changed.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such entry.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn update(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<Json<Workflow>, Failure> {
    let id = uuid(&service, &id)?;
    let text = body::read(&service, &headers, request_body).await?;
    let document: Value = body::parse_one(&service, &text)?;
    let fixed: Vec<&str> = document
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .filter(|name| !CHANGEABLE.contains(name) && is_member(name))
        .collect();
    if !fixed.is_empty() {
        let detail = format!("{} cannot be changed; create another version", fixed.join(", "));
        let problem = Problem::new(400, "immutable-field-violation", "Immutable field", detail);
        return Err(problem.with("fields", fixed.into_iter().map(str::to_owned).collect::<Vec<_>>()).into());
    }
    let update: WorkflowUpdate = body::parse_one(&service, &text)?;
    let errors = update.validate();
    if !errors.is_empty() {
        return Err(body::invalid(&service, "invalid", &errors));
    }
    change(&service, id, update).await
}

/// Disable an entry.
#[utoipa::path(
    patch, path = "/api/v1/workflows/{workflow_id}/disable", tag = "catalog", operation_id = "disableWorkflow",
    params(("workflow_id" = String, Path, description = "Of the entry.", format = "uuid")),
    request_body = DisableWorkflow,
    responses(
        (status = 200, description = "The entry as it is now.", body = Workflow),
        (status = 400, description = "A field is refused; `field_errors` says why.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "There is no such entry.", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large.", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON.", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database failed; try again.", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(super) async fn disable(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    request_body: Body,
) -> Result<Json<Workflow>, Failure> {
    let id = uuid(&service, &id)?;
    let DisableWorkflow { reason, updated_by } = body::valid(&service, &headers, request_body).await?;
    let update = WorkflowUpdate {
        status: WorkflowStatus::Disabled,
        disabled_by: updated_by,
        disabled_reason: Some(reason),
    };
    change(&service, id, update).await
}

async fn change(service: &Service, id: Uuid, update: WorkflowUpdate) -> Result<Json<Workflow>, Failure> {
    let started = Instant::now();
    let changed = service.repository.update_workflow(id, update.clone()).await;
    service.metrics.wrote(Table::workflow_catalog, status(&changed), started.elapsed());
    let entry = changed.map_err(refused)?;
    audit::record(service, audit::updated(&entry, &update)).await;
    Ok(Json(entry))
}

/// Whether an entry has such a member.
fn is_member(name: &str) -> bool {
    const MEMBERS: [&str; 26] = [
        "workflow_id",
        "is_latest_version",
        "created_at",
        "updated_at",
        "disabled_at",
        "workflow_name",
        "version",
        "name",
        "description",
        "content",
        "content_hash",
        "labels",
        "execution_engine",
        "owner",
        "maintainer",
        "parameters",
        "container_image",
        "container_digest",
        "custom_labels",
        "detected_labels",
        "expected_success_rate",
        "expected_duration_seconds",
        "created_by",
        "version_notes",
        "change_summary",
        "approved_by",
    ];
    MEMBERS.contains(&name) || name == "approved_at"
}

fn uuid(service: &Service, id: &str) -> Result<Uuid, Failure> {
    id.parse().map_err(|_| {
        body::invalid(
            service,
            "malformed",
            &[FieldError::new("workflow_id", format!("`{id}` is not a UUID"))],
        )
    })
}

fn status<T>(outcome: &Result<T, CatalogError>) -> Status {
    match outcome {
        Ok(_) | Err(CatalogError::Missing(_)) => Status::success,
        Err(CatalogError::Exists { .. }) => Status::duplicate,
        Err(CatalogError::Database(_)) => Status::failure,
    }
}

fn refused(error: CatalogError) -> Failure {
    let detail = error.to_string();
    match error {
        CatalogError::Exists { version, .. } => {
            let problem = Problem::new(409, "conflict", "Conflict", detail).with("resource", "workflow");
            problem.with("field", "version").with("value", version).into()
        }
        CatalogError::Missing(id) => {
            let problem = Problem::new(404, "not-found", "Not found", detail).with("resource", "workflow");
            problem.with("id", id.to_string()).into()
        }
        CatalogError::Database(error) => error.into(),
    }
}
