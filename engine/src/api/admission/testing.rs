//! A write as the tests of plugins and webhooks need it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Attributes, Operation};
use crate::api::user::User;
use crate::schema::{Registry, Resource};

/// A write by `alice`; fields are changed where a test needs something else.
pub struct Write {
    pub operation: Operation,
    pub resource: Arc<Resource>,
    pub subresource: &'static str,
    pub namespace: String,
    pub name: String,
    pub user: User,
    pub options: Value,
    pub old: Option<Value>,
}

impl Write {
    /// Of a built-in resource, by its plural.
    pub fn new(operation: Operation, plural: &str, namespace: &str, name: &str) -> Self {
        let registry = Registry::builtin();
        let resource = registry.resources().find(|resource| resource.plural == plural).unwrap().clone();
        Self {
            operation,
            resource,
            subresource: "",
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            user: User::authenticated("alice", vec!["devs".to_owned()]),
            options: json!({"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}),
            old: None,
        }
    }

    pub fn attributes(&self) -> Attributes<'_> {
        Attributes {
            operation: self.operation,
            resource: &self.resource,
            subresource: self.subresource,
            namespace: &self.namespace,
            name: &self.name,
            user: &self.user,
            options: &self.options,
            dry_run: false,
            old: self.old.as_ref(),
        }
    }
}
