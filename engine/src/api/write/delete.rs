//! Deleting objects and collections.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::deletion::{self, Decision, DeleteOptions};
use super::{Outcome, Write, body, metadata};
use crate::api::admission::Operation;
use crate::api::{Call, collection, event_versions, read};
use crate::status::Status;
use crate::store::{Expect, Object};

/// How often a deletion that lost against another write is decided again.
const ATTEMPTS: usize = 5;

/// What a deletion left.
pub enum Left {
    /// The object, marked.
    Object(Value),
    /// Nothing; this was its last state.
    Nothing(Value),
}

impl Write<'_> {
    /// `DELETE` of one object.
    pub async fn delete(&self, call: &Call, warnings: &mut Vec<String>) -> Result<Outcome, Status> {
        let options = delete_options(call)?;
        let (group, plural) = (&self.resource.group, &self.resource.plural);
        Ok(Outcome::Done(match self.delete_one(self.name, &options, warnings).await? {
            Left::Object(object) => object,
            Left::Nothing(last) => Status::deleted(group, plural, self.name, metadata::text(&last, "uid")),
        }))
    }

    /// `DELETE` of all objects that are selected.
    pub async fn delete_all(&self, call: &Call, warnings: &mut Vec<String>) -> Result<Outcome, Status> {
        let options = delete_options(call)?;
        let selection = read::selection(&call.resource, &call.info)?;
        let snapshot = self.api.store.snapshot(&collection(self.resource));
        let mut items = Vec::new();
        for object in snapshot.objects.values().filter(|object| selection.matches(object)) {
            let one = Write { namespace: &object.namespace, options: self.options.clone(), ..*self };
            match one.delete_one(&object.name, &options, warnings).await {
                Ok(Left::Object(object) | Left::Nothing(object)) => items.push(object),
                Err(status) if status.reason() == "NotFound" => {}
                Err(status) => return Err(status),
            }
        }
        Ok(Outcome::Done(json!({
            "kind": self.resource.list_kind,
            "apiVersion": self.resource.api_version(),
            "metadata": {"resourceVersion": self.api.store.revision().to_string()},
            "items": items,
        })))
    }

    /// Deletes the object `name`.
    pub async fn delete_one(
        &self,
        name: &str,
        options: &DeleteOptions,
        warnings: &mut Vec<String>,
    ) -> Result<Left, Status> {
        let (api, resource) = (self.api, self.resource);
        let (group, plural) = (&resource.group, &resource.plural);
        let sent = options.to_json();
        for _ in 0..ATTEMPTS {
            let found = api.store.get(&collection(resource), &self.key(name));
            let found = found.ok_or_else(|| Status::not_found(group, plural, name))?;
            let old = event_versions::shown(resource, found.value());
            options.check_preconditions(resource, &old)?;
            let mut attributes = self.attributes(Operation::Delete, name, &sent, Some(&old));
            attributes.dry_run = options.dry_run;
            api.admission.mutate(api, &attributes, &mut Value::Null, warnings).await?;
            api.admission.validate(api, &attributes, &Value::Null, warnings).await?;
            let decision = deletion::decide(resource, &old, options, Timestamp::now());
            if let Some(left) = self.carry_out(name, options, &found, old, decision) {
                return Ok(left);
            }
        }
        Err(Status::stale(group, plural, name))
    }

    /// Does what was decided; nothing when the object has changed since.
    fn carry_out(
        &self,
        name: &str,
        options: &DeleteOptions,
        found: &Arc<Object>,
        old: Value,
        decision: Decision,
    ) -> Option<Left> {
        let expect = Expect::Revision(found.revision);
        match decision {
            Decision::Nothing => Some(Left::Object(old)),
            Decision::Remove if options.dry_run => Some(Left::Nothing(old)),
            Decision::Mark(next) if options.dry_run => Some(Left::Object(next)),
            Decision::Remove => self.remove(name, expect, old).ok().map(Left::Nothing),
            Decision::Mark(next) => self.store(name, expect, Some(&old), next).ok().map(Left::Object),
        }
    }
}

/// The options of a deletion, from its body or its query.
fn delete_options(call: &Call) -> Result<DeleteOptions, Status> {
    if call.body.is_empty() {
        return DeleteOptions::parse(None, &call.info);
    }
    let body = body::decode(&call.headers, &call.body)?;
    let mut options = DeleteOptions::parse(Some(&body.value), &call.info)?;
    options.dry_run |= call.info.params("dryRun").next().is_some();
    Ok(options)
}
