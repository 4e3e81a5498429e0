//! The workflow catalog. What is searched for has columns; the whole entry is one document.

use api::catalog::{
    NewWorkflow, Workflow, WorkflowLabels, WorkflowList, WorkflowQuery, WorkflowStatus, WorkflowUpdate,
};
use jiff::Timestamp;
use thiserror::Error;
use uuid::Uuid;

use super::either::{snapshot, transaction};
use super::holds::now;
use super::stored::{Stored, decoded};
use super::{DatabaseError, Repository};

/// Most entries that a search looks at, newest first; the labels leave few.
const MAX_CANDIDATES: i64 = 1000;

/// The catalog was not changed.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The version exists.
    #[error("version `{version}` of workflow `{workflow_name}` exists; create another version")]
    Exists {
        /// Of the workflow.
        workflow_name: String,
        /// That exists.
        version: String,
    },
    /// There is no such entry.
    #[error("there is no workflow `{0}`")]
    Missing(Uuid),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<sqlx::Error> for CatalogError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(DatabaseError(error))
    }
}

/// Conditions of a list; a parameter that is NULL matches all.
macro_rules! listed {
    ($start:literal, $end:literal) => {
        concat!(
            $start,
            " FROM workflow_catalog WHERE ($1 IS NULL OR workflow_name = $1) AND ($2 IS NULL OR status = $2) \
             AND ($3 IS NULL OR environment = $3) AND ($4 IS NULL OR priority = $4) \
             AND ($5 IS NULL OR component = $5)",
            $end
        )
    };
}

impl Repository {
    /// Adds an entry, which becomes the latest version of its workflow.
    pub async fn create_workflow(&self, workflow: NewWorkflow) -> Result<Workflow, CatalogError> {
        let now = now();
        let entry = Workflow {
            workflow_id: Uuid::new_v4(),
            is_latest_version: true,
            created_at: now,
            updated_at: now,
            disabled_by: None,
            disabled_at: None,
            disabled_reason: None,
            workflow,
        };
        let NewWorkflow { workflow_name, version, status, labels, .. } = &entry.workflow;
        let WorkflowLabels { signal_type, severity, component, environment, priority } = labels;
        transaction!(self, |connection| {
            sqlx::query(
                "UPDATE workflow_catalog SET is_latest = 0 WHERE workflow_name = $1 AND is_latest = 1",
            )
            .bind(workflow_name)
            .execute(&mut *connection)
            .await?;
            let created = sqlx::query(
                "INSERT INTO workflow_catalog (workflow_id, workflow_name, version, status, is_latest, signal_type, \
                 severity, component, environment, priority, created_at, document) \
                 VALUES ($1, $2, $3, $4, 1, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
            )
            .bind(entry.workflow_id.to_string())
            .bind(workflow_name)
            .bind(version)
            .bind(status.as_str())
            .bind(signal_type)
            .bind(severity.as_str())
            .bind(component)
            .bind(environment)
            .bind(priority.as_str())
            .bind(now.as_microsecond())
            .bind(document(&entry))
            .execute(&mut *connection)
            .await?
            .rows_affected();
            if created == 0 {
                return Err(CatalogError::Exists {
                    workflow_name: workflow_name.clone(),
                    version: version.clone(),
                });
            }
        });
        Ok(entry)
    }

    /// The entry with this id.
    pub async fn workflow(&self, id: Uuid) -> Result<Workflow, CatalogError> {
        let row = snapshot!(self, |connection| {
            let row = sqlx::query("SELECT document, is_latest FROM workflow_catalog WHERE workflow_id = $1")
                .bind(id.to_string())
                .fetch_optional(connection)
                .await?;
            row.as_ref().map(workflow).transpose()?
        });
        row.ok_or(CatalogError::Missing(id))
    }

    /// Gives an entry another status.
    pub async fn update_workflow(&self, id: Uuid, update: WorkflowUpdate) -> Result<Workflow, CatalogError> {
        let now = now();
        Ok(transaction!(self, |connection| {
            // Written first, so that nobody else changes the entry until this is done.
            let changed = sqlx::query("UPDATE workflow_catalog SET status = $1 WHERE workflow_id = $2")
                .bind(update.status.as_str())
                .bind(id.to_string())
                .execute(&mut *connection)
                .await?
                .rows_affected();
            if changed == 0 {
                return Err(CatalogError::Missing(id));
            }
            let row = sqlx::query("SELECT document, is_latest FROM workflow_catalog WHERE workflow_id = $1")
                .bind(id.to_string())
                .fetch_one(&mut *connection)
                .await?;
            let entry = updated(workflow(&row)?, update, now);
            sqlx::query("UPDATE workflow_catalog SET document = $1 WHERE workflow_id = $2")
                .bind(document(&entry))
                .bind(id.to_string())
                .execute(&mut *connection)
                .await?;
            entry
        }))
    }

    /// The page of entries that `query` asks for, newest first.
    pub async fn workflows(&self, query: &WorkflowQuery, limit: u32) -> Result<WorkflowList, DatabaseError> {
        let offset = query.offset.unwrap_or_default();
        let WorkflowQuery { workflow_name, status, environment, priority, component, limit: _, offset: _ } =
            query;
        let status = status.map(WorkflowStatus::as_str);
        let priority = priority.map(|priority| priority.as_str());
        snapshot!(self, |connection| {
            let total: i64 = sqlx::query_scalar(listed!("SELECT COUNT(*)", ""))
                .bind(workflow_name)
                .bind(status)
                .bind(environment)
                .bind(priority)
                .bind(component)
                .fetch_one(&mut *connection)
                .await?;
            let rows = sqlx::query(listed!(
                "SELECT document, is_latest",
                " ORDER BY created_at DESC, workflow_id DESC LIMIT $6 OFFSET $7"
            ))
            .bind(workflow_name)
            .bind(status)
            .bind(environment)
            .bind(priority)
            .bind(component)
            .bind(i64::from(limit))
            .bind(i64::from(offset))
            .fetch_all(&mut *connection)
            .await?;
            let workflows = rows.iter().map(workflow).collect::<Result<_, _>>()?;
            Ok(WorkflowList { workflows, limit, offset, total: u64::try_from(total).unwrap_or_default() })
        })
    }

    /// Latest versions with these labels, newest first; the component of an entry may be `*`.
    pub async fn workflow_candidates(
        &self,
        labels: &WorkflowLabels,
        include_disabled: bool,
    ) -> Result<Vec<Workflow>, DatabaseError> {
        let WorkflowLabels { signal_type, severity, component, environment, priority } = labels;
        let active = i64::from(!include_disabled);
        snapshot!(self, |connection| {
            let rows = sqlx::query(
                "SELECT document, is_latest FROM workflow_catalog WHERE is_latest = 1 \
                 AND ($1 = 0 OR status = 'active') AND signal_type = $2 AND severity = $3 \
                 AND (component = $4 OR component = '*') AND environment = $5 AND priority = $6 \
                 ORDER BY created_at DESC, workflow_id DESC LIMIT $7",
            )
            .bind(active)
            .bind(signal_type)
            .bind(severity.as_str())
            .bind(component)
            .bind(environment)
            .bind(priority.as_str())
            .bind(MAX_CANDIDATES)
            .fetch_all(connection)
            .await?;
            Ok(rows.iter().map(workflow).collect::<Result<_, _>>()?)
        })
    }
}

fn updated(mut entry: Workflow, update: WorkflowUpdate, now: Timestamp) -> Workflow {
    let WorkflowUpdate { status, disabled_by, disabled_reason } = update;
    let disabled = status == WorkflowStatus::Disabled;
    entry.workflow.status = status;
    entry.updated_at = now;
    entry.disabled_at = disabled.then_some(now);
    entry.disabled_by = disabled_by.filter(|_| disabled);
    entry.disabled_reason = disabled_reason.filter(|_| disabled);
    entry
}

/// An entry is made of text, numbers and JSON: it always has a JSON form.
fn document(entry: &Workflow) -> String {
    serde_json::to_string(entry).unwrap_or_default()
}

fn workflow<R: Stored>(row: &R) -> Result<Workflow, sqlx::Error> {
    let entry: Workflow = decoded("document", serde_json::from_str(&row.text("document")?))?;
    Ok(Workflow { is_latest_version: row.number("is_latest")? == 1, ..entry })
}
