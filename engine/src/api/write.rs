//! Everything that changes an object.
//!
//! A body is decoded (`body`, `options`) and becomes the next state of an object: a new one, a replacement, a patched or an
//! applied one (`change`). That state is completed, admitted, validated and stored (`commit`); `delete` does the same for
//! deletions. What may happen to one object is decided on values alone, in `metadata`, `strategy` and `deletion`.

pub(super) mod body;
mod change;
mod commit;
mod definitions;
mod delete;
mod deletion;
mod metadata;
mod options;
mod pods;
mod scale;
mod strategy;

use std::collections::HashSet;
use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;

use super::admission::{Attributes, Operation};
use super::user::User;
use super::{Answer, Api, Call, answer};
use crate::managed_fields::ApplyContext;
use crate::schema::{FieldError, Resource};
use crate::status::{Cause, Status};
use crate::store::Key;
use options::{FieldValidation, Options};

/// Field manager of what the server writes by itself.
const SERVER: &str = "kube-apiserver";

/// One write: of what, by whom, and how.
struct Write<'a> {
    api: &'a Arc<Api>,
    user: &'a User,
    resource: &'a Arc<Resource>,
    subresource: &'a str,
    /// Empty at cluster scope.
    namespace: &'a str,
    /// Empty for new objects and for collections.
    name: &'a str,
    options: Options,
}

/// What a write came to.
enum Outcome {
    /// The object is new.
    Created(Value),
    /// The object as it is now, or a status.
    Done(Value),
}

/// Answers `create`, `update`, `patch`, `delete` and `deletecollection`, of objects and of their subresources.
pub async fn write(api: &Arc<Api>, call: Call) -> Result<Answer, Status> {
    let apply = call.info.verb == "patch" && body::media_type(&call.headers) == change::APPLY;
    let write = Write {
        api,
        user: &call.user,
        resource: &call.resource,
        subresource: &call.info.subresource,
        namespace: if call.resource.namespaced { &call.info.namespace } else { "" },
        name: &call.info.name,
        options: Options::of_request(&call.info, &call.headers, apply)?,
    };
    let mut warnings = Vec::new();
    let outcome = match (call.info.verb, write.subresource) {
        ("create", "") => write.create(&call, &mut warnings).await,
        ("update", "" | "status" | "finalize") => write.replace(&call, &mut warnings).await,
        ("patch", "" | "status") => write.patch(&call, &mut warnings).await,
        ("update" | "patch", "scale") => write.scale(&call, &mut warnings).await,
        ("create", "binding") => write.bind(&call, &mut warnings).await,
        ("create", "eviction") => write.evict(&call, &mut warnings).await,
        ("delete", "") => write.delete(&call, &mut warnings).await,
        ("deletecollection", "") => write.delete_all(&call, &mut warnings).await,
        (verb, _) => Err(Status::method_not_allowed(&write.resource.group, &call.info.resource_path(), verb)),
    }?;
    answer(&call, outcome, warnings)
}

/// Creates an object on behalf of `user`, as if it had been sent to the server.
pub async fn create(
    api: &Arc<Api>,
    user: &User,
    resource: &Arc<Resource>,
    namespace: &str,
    mut object: Value,
) -> Result<Value, Status> {
    let options = Options::internal("CreateOptions", SERVER);
    let write = Write { api, user, resource, subresource: "", namespace, name: "", options };
    let mut warnings = Vec::new();
    write.understand(&mut object, Vec::new(), &mut warnings)?;
    metadata::locate(&mut object, namespace, "")?;
    commit::create(&write, object, commit::Origin::Sent, &mut warnings).await
}

impl Write<'_> {
    /// Where the object is in the store.
    fn key(&self, name: &str) -> Key {
        (self.namespace.to_owned(), name.to_owned())
    }

    fn not_found(&self) -> Status {
        Status::not_found(&self.resource.group, &self.resource.plural, self.name)
    }

    /// The write as field managers are told.
    fn manager(&self) -> ApplyContext {
        ApplyContext {
            manager: self.options.manager.clone(),
            api_version: self.resource.api_version(),
            force: self.options.force,
            subresource: self.subresource.to_owned(),
            now: metadata::now(),
        }
    }

    /// The write as admission is told.
    fn attributes<'b>(
        &'b self,
        operation: Operation,
        name: &'b str,
        options: &'b Value,
        old: Option<&'b Value>,
    ) -> Attributes<'b> {
        let is_namespace = strategy::id(self.resource) == ("", "namespaces");
        Attributes {
            operation,
            resource: self.resource,
            subresource: self.subresource,
            namespace: if is_namespace { name } else { self.namespace },
            name,
            user: self.user,
            options,
            dry_run: self.options.dry_run,
            old,
        }
    }

    /// Turns what was sent into an object of the resource: of its kind, with known fields, each of its type.
    fn understand(
        &self,
        object: &mut Value,
        duplicates: Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        self.check_kind(object)?;
        let Resource { kind, version, .. } = self.resource.as_ref();
        let refused = |why: String| {
            Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
        };
        if let Some(strict) = self.prune(object, duplicates, warnings) {
            return Err(refused(strict));
        }
        // A custom resource of wrong types is invalid, which is found later; one of the server's own kinds is no such object.
        // Metadata is the server's own everywhere.
        let metadata = &object["metadata"];
        if self.resource.custom && (metadata.is_object() || metadata.is_null()) {
            return Ok(());
        }
        match self.resource.schema.check_types(object).into_iter().next() {
            Some(FieldError { path, message, .. }) => Err(refused(format!("{path}: {message}"))),
            None => Ok(()),
        }
    }

    /// What was sent has to be of the resource's version and kind; a built-in object may leave both out.
    fn check_kind(&self, object: &mut Value) -> Result<(), Status> {
        let Resource { kind, version, custom, .. } = self.resource.as_ref();
        let api_version = self.resource.api_version();
        let Some(fields) = object.as_object_mut() else {
            return Err(Status::bad_request(format!("the body has to be an object of kind {kind}")));
        };
        for (field, expected) in [("apiVersion", &api_version), ("kind", kind)] {
            let sent = fields.get(field).and_then(Value::as_str).unwrap_or_default();
            let message = match field {
                _ if sent == expected => continue,
                _ if sent.is_empty() && !custom => {
                    fields.insert(field.to_owned(), Value::from(expected.as_str()));
                    continue;
                }
                _ if sent.is_empty() => {
                    format!("Object 'Kind' is missing in '{}'", Value::Object(fields.clone()))
                }
                "kind" => format!("{sent} in version {version:?} cannot be handled as a {kind}"),
                _ => format!(
                    "the API version in the data ({sent}) does not match the expected API version ({expected})"
                ),
            };
            return Err(Status::bad_request(message));
        }
        Ok(())
    }

    /// Drops unknown fields, with a warning for each; under strict validation tells of them instead.
    fn prune(
        &self,
        object: &mut Value,
        duplicates: Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Option<String> {
        let unknown =
            self.resource.schema.prune(object).into_iter().map(|path| format!("unknown field {path:?}"));
        let duplicates = duplicates.into_iter().map(|path| format!("duplicate field {path:?}"));
        let faults: Vec<String> = unknown.chain(duplicates).collect();
        match self.options.validation {
            FieldValidation::Strict if !faults.is_empty() => {
                return Some(format!("strict decoding error: {}", faults.join(", ")));
            }
            FieldValidation::Warn => warnings.extend(faults),
            FieldValidation::Strict | FieldValidation::Ignore => {}
        }
        None
    }
}

/// The answer to an object that breaks rules.
fn invalid(resource: &Resource, object: &Value, faults: Vec<FieldError>) -> Status {
    let name = metadata::text(object, "name");
    let causes: Vec<Cause> = options::causes(faults);
    Status::invalid(&resource.group, &resource.kind, name, &causes)
}

fn answer(call: &Call, outcome: Outcome, mut warnings: Vec<String>) -> Result<Answer, Status> {
    let (code, value) = match outcome {
        Outcome::Created(value) => (StatusCode::CREATED, value),
        Outcome::Done(value) => (StatusCode::OK, value),
    };
    let mut answer = answer::object(call, code, &value)?;
    let mut said = HashSet::new();
    warnings.retain(|warning| said.insert(warning.clone()));
    answer::warn(&mut answer, &warnings);
    Ok(answer)
}
