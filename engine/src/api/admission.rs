//! Admission: what changes a write before it is validated, and what refuses it afterwards.

use std::sync::Arc;

use serde_json::Value;

use super::Api;
use super::user::User;
use crate::schema::Resource;
use crate::status::Status;

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `CREATE`
    Create,
    /// `UPDATE`
    Update,
    /// `DELETE`
    Delete,
    /// `CONNECT`
    Connect,
}

/// A write, as admission sees it.
#[derive(Debug, Clone)]
pub struct Attributes<'a> {
    /// What it does.
    pub operation: Operation,
    /// Of which resource, in the version of the request.
    pub resource: &'a Resource,
    /// And which subresource; empty for the object itself.
    pub subresource: &'a str,
    /// Namespace; empty at cluster scope.
    pub namespace: &'a str,
    /// Name; may be empty for a create with `generateName`.
    pub name: &'a str,
    /// By whom.
    pub user: &'a User,
    /// `CreateOptions`, `UpdateOptions`, `PatchOptions` or `DeleteOptions`, with apiVersion and kind.
    pub options: &'a Value,
    /// Nothing will be stored.
    pub dry_run: bool,
    /// The object before; `None` for a create.
    pub old: Option<&'a Value>,
}

/// The plugins and webhooks of one server, with what they remember between calls.
#[derive(Default)]
pub struct Admission {}

impl Admission {
    /// Lets built-in plugins and mutating webhooks change `object` (`Null` for a deletion). Called before validation; what
    /// is changed is defaulted and pruned again by the caller. Texts in `warnings` go into `Warning` headers.
    pub async fn mutate(
        &self,
        api: &Arc<Api>,
        attributes: &Attributes<'_>,
        object: &mut Value,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let _ = (api, attributes, object, warnings);
        Ok(())
    }

    /// Lets built-in plugins and validating webhooks refuse the final state of `object`.
    pub async fn validate(
        &self,
        api: &Arc<Api>,
        attributes: &Attributes<'_>,
        object: &Value,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let _ = (api, attributes, object, warnings);
        Ok(())
    }
}
