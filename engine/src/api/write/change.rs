//! Creating, replacing, patching, applying: from what was sent to the next state of the object.

use serde_json::Value;

use super::commit::{self, Origin};
use super::{Outcome, Write, body, invalid, metadata, strategy};
use crate::api::{Call, collection};
use crate::schema::FieldError;
use crate::status::{Cause, Status};
use crate::{managed_fields, patch};

/// Media type of server-side apply.
pub const APPLY: &str = "application/apply-patch+yaml";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

/// Most operations of one JSON Patch.
const MAX_OPERATIONS: usize = 10_000;

/// A patch of one of the kinds that need no field managers.
pub enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// By the merge keys of the schema.
    Strategic(Value),
}

impl Patch {
    /// Reads a patch; gives the duplicate fields in it, too.
    pub fn parse(call: &Call, strategic: bool) -> Result<(Self, Vec<String>), Status> {
        let media_type = body::media_type(&call.headers);
        let kind = match media_type {
            JSON_PATCH => Self::Json,
            MERGE => Self::Merge,
            STRATEGIC if strategic => Self::Strategic,
            _ if strategic => {
                return Err(Status::unsupported_media_type(&[JSON_PATCH, MERGE, STRATEGIC, APPLY]));
            }
            _ => return Err(Status::unsupported_media_type(&[JSON_PATCH, MERGE, APPLY])),
        };
        let body::Body { value, duplicates } = body::json(&call.body)?;
        let operations = value.as_array().map_or(0, Vec::len);
        if media_type == JSON_PATCH && operations > MAX_OPERATIONS {
            let message = format!(
                "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {operations}"
            );
            return Err(Status::new(413, "RequestEntityTooLarge", message));
        }
        Ok((kind(value), duplicates))
    }

    /// The patched object.
    pub fn apply(&self, schema: &crate::schema::SchemaRef, object: &Value) -> Result<Value, Status> {
        match self {
            Self::Json(operations) => patch::json_patch(object, operations),
            Self::Merge(changes) => patch::merge_patch(object, changes),
            Self::Strategic(changes) => patch::strategic_merge(schema, object, changes),
        }
    }
}

impl Write<'_> {
    /// `POST` of an object.
    pub async fn create(&self, call: &Call, warnings: &mut Vec<String>) -> Result<Outcome, Status> {
        let object = self.decode(call, warnings)?;
        commit::create(self, object, Origin::Sent, warnings).await.map(Outcome::Created)
    }

    /// `PUT` of an object, or of its status or finalizers.
    pub async fn replace(&self, call: &Call, warnings: &mut Vec<String>) -> Result<Outcome, Status> {
        let object = self.decode(call, warnings)?;
        if strategy::needs_resource_version(self.resource)
            && metadata::text(&object, "resourceVersion").is_empty()
            && self.api.store.get(&collection(self.resource), &self.key(self.name)).is_some()
        {
            let path = "metadata.resourceVersion";
            let fault = FieldError::invalid(path, &Value::from(0), "must be specified for an update");
            return Err(invalid(self.resource, &object, vec![fault]));
        }
        let next = |_: &Value, _: &mut Vec<String>| Ok(object.clone());
        commit::update(self, Origin::Sent, warnings, next).await.map(Outcome::Done)
    }

    /// `PATCH` of an object or its status.
    pub async fn patch(&self, call: &Call, warnings: &mut Vec<String>) -> Result<Outcome, Status> {
        if body::media_type(&call.headers) == APPLY {
            return self.apply(call, warnings).await;
        }
        let (patch, duplicates) = Patch::parse(call, !self.resource.custom)?;
        let next = |old: &Value, warnings: &mut Vec<String>| {
            let mut object = patch.apply(&self.resource.schema, old)?;
            metadata::locate(&mut object, self.namespace, self.name)?;
            self.understand_patched(&mut object, duplicates.clone(), warnings)?;
            Ok(object)
        };
        commit::update(self, Origin::Sent, warnings, next).await.map(Outcome::Done)
    }

    /// `PATCH` by server-side apply; what is not there is created.
    async fn apply(&self, call: &Call, warnings: &mut Vec<String>) -> Result<Outcome, Status> {
        let body::Body { value: mut config, duplicates } = body::yaml(&call.body)?;
        let expected = self.resource.api_version();
        let sent = config["apiVersion"].as_str().unwrap_or_default();
        if sent != expected {
            return Err(Status::bad_request(format!(
                "Incorrect version specified in apply patch. Specified patch version: {sent}, expected: {expected}"
            )));
        }
        if config["metadata"].get("managedFields").is_some_and(|managers| !managers.is_null()) {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        metadata::locate(&mut config, self.namespace, self.name)?;
        let apply = |live: Option<&Value>, warnings: &mut Vec<String>| {
            let mut object = managed_fields::apply(&self.resource.schema, live, &config, &self.manager())?;
            self.understand_patched(&mut object, duplicates.clone(), warnings)?;
            Ok(object)
        };
        let is_there = || self.api.store.get(&collection(self.resource), &self.key(self.name)).is_some();
        if !is_there() && self.subresource.is_empty() {
            let uid = metadata::text(&config, "uid");
            if !uid.is_empty() {
                let why = format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                );
                let (group, plural) = (&self.resource.group, &self.resource.plural);
                return Err(Status::conflict(group, plural, self.name, why));
            }
            let object = apply(None, warnings)?;
            match commit::create(self, object, Origin::Applied, warnings).await {
                // Somebody else was faster: apply to what they created.
                Err(status) if status.reason() == "AlreadyExists" && is_there() => {}
                created => return created.map(Outcome::Created),
            }
        }
        let next = |old: &Value, warnings: &mut Vec<String>| apply(Some(old), warnings);
        commit::update(self, Origin::Applied, warnings, next).await.map(Outcome::Done)
    }

    /// The object in the body of a request.
    fn decode(&self, call: &Call, warnings: &mut Vec<String>) -> Result<Value, Status> {
        let body::Body { value: mut object, duplicates } = body::decode(&call.headers, &call.body)?;
        self.understand(&mut object, duplicates, warnings)?;
        metadata::locate(&mut object, self.namespace, self.name)?;
        Ok(object)
    }

    /// The object a patch led to. What is wrong with it is the patch's fault.
    fn understand_patched(
        &self,
        object: &mut Value,
        duplicates: Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Status> {
        let shown = object.clone();
        if let Some(strict) = self.prune(object, duplicates, warnings) {
            let message = format!("Invalid value: {:?}: {strict}", shown.to_string());
            return Err(Status::invalid("", "", "", &[Cause::new("FieldValueInvalid", "patch", message)]));
        }
        self.understand(object, Vec::new(), warnings)
    }
}
