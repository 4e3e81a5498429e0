//! From the next state of an object to the stored one: completed, admitted, validated, owned, stored.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Write, definitions, deletion, invalid, metadata, strategy};
use crate::api::admission::Operation;
use crate::api::{collection, event_versions};
use crate::managed_fields::track_update;
use crate::schema::FieldError;
use crate::status::Status;
use crate::store::{Expect, Object, Refused};

/// How often a write that lost against another is made again on the newer state.
const ATTEMPTS: usize = 5;

/// How often another name is generated.
const NAMES: usize = 8;

/// Where a state comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From the client; whoever changed a field owns it.
    Sent,
    /// From a server-side apply, which has settled who owns what.
    Applied,
    /// From an object of a subresource, which admission has seen.
    Derived,
}

/// Stores a new object.
pub async fn create(
    write: &Write<'_>,
    mut object: Value,
    origin: Origin,
    warnings: &mut Vec<String>,
) -> Result<Value, Status> {
    let Write { api, resource, .. } = write;
    if !metadata::text(&object, "resourceVersion").is_empty() {
        return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
    }
    strategy::complete(resource, &mut object);
    if origin != Origin::Applied {
        track_update(&resource.schema, None, &mut object, &write.manager());
    }
    let options = write.options.to_json();
    let name = metadata::text(&object, "name").to_owned();
    let attributes = write.attributes(Operation::Create, &name, &options, None);
    api.admission.mutate(api, &attributes, &mut object, warnings).await?;
    resource.schema.prune(&mut object);

    let generated = metadata::begin(&mut object, &metadata::now());
    strategy::prepare_create(resource, &mut object);
    let mut faults = strategy::check_create(resource, &object);
    faults.extend(resource.schema.validate(&object, None));
    if !faults.is_empty() {
        return Err(invalid(resource, &object, faults));
    }
    let name = metadata::text(&object, "name").to_owned();
    let attributes = write.attributes(Operation::Create, &name, &options, None);
    api.admission.validate(api, &attributes, &object, warnings).await?;

    let (group, plural) = (&resource.group, &resource.plural);
    for _ in 0..NAMES {
        let name = metadata::text(&object, "name").to_owned();
        let stored = if write.options.dry_run {
            let found = api.store.get(&collection(resource), &write.key(&name));
            found.map_or_else(|| Ok(object.clone()), |_| Err(Refused::Exists))
        } else {
            write.store(&name, Expect::Absent, None, object.clone())
        };
        match stored {
            Ok(stored) => return Ok(stored),
            Err(_) if generated => metadata::generate_name(&mut object),
            Err(_) => return Err(Status::already_exists(group, plural, &name)),
        }
    }
    let name = metadata::text(&object, "name");
    let what = crate::status::qualified(group, plural);
    let message = format!(
        "{what} {name:?} already exists, the server was not able to generate a unique name for the object"
    );
    Err(Status::new(409, "AlreadyExists", message))
}

/// Stores the state that `next` makes of the present one; made again when another write came between.
pub async fn update(
    write: &Write<'_>,
    origin: Origin,
    warnings: &mut Vec<String>,
    next: impl Fn(&Value, &mut Vec<String>) -> Result<Value, Status> + Send,
) -> Result<Value, Status> {
    let Write { api, resource, name, .. } = write;
    let key = write.key(name);
    for _ in 0..ATTEMPTS {
        let found = api.store.get(&collection(resource), &key).ok_or_else(|| write.not_found())?;
        let old = event_versions::shown(resource, found.value());
        let new = next(&old, warnings)?;
        metadata::check_preconditions(resource, &old, &new)?;
        if let Some(stored) = replace(write, origin, &found, old, new, warnings).await? {
            return Ok(stored);
        }
    }
    Err(Status::stale(&resource.group, &resource.plural, name))
}

/// Stores `new` in the place of `old`; nothing when `old` is not the present state any more.
async fn replace(
    write: &Write<'_>,
    origin: Origin,
    found: &Arc<Object>,
    old: Value,
    mut new: Value,
    warnings: &mut Vec<String>,
) -> Result<Option<Value>, Status> {
    let Write { api, resource, subresource, name, .. } = write;
    strategy::complete(resource, &mut new);
    if origin != Origin::Applied {
        track_update(&resource.schema, Some(&old), &mut new, &write.manager());
    }
    let options = write.options.to_json();
    let attributes = write.attributes(Operation::Update, name, &options, Some(&old));
    if origin != Origin::Derived {
        api.admission.mutate(api, &attributes, &mut new, warnings).await?;
        resource.schema.prune(&mut new);
    }
    strategy::prepare_update(resource, subresource, &old, &mut new);
    let mut faults = strategy::check_update(resource, subresource, &old, &new);
    faults.extend(news(write, &old, resource.schema.validate(&new, Some(&old))));
    if !faults.is_empty() {
        return Err(invalid(resource, &new, faults));
    }
    if origin != Origin::Derived {
        api.admission.validate(api, &attributes, &new, warnings).await?;
    }
    if new == old {
        return Ok(Some(old));
    }
    if write.options.dry_run {
        return Ok(Some(new));
    }
    let expect = Expect::Revision(found.revision);
    let stored = if deletion::is_finished(resource, &new) {
        write.remove(name, expect, new)
    } else {
        write.store(name, expect, Some(&old), new)
    };
    Ok(stored.ok())
}

impl Write<'_> {
    /// Writes an object that is `old` so far, and gives it as it is then.
    pub fn store(
        &self,
        name: &str,
        expect: Expect,
        old: Option<&Value>,
        mut object: Value,
    ) -> Result<Value, Refused> {
        let (collection, key) = (collection(self.resource), self.key(name));
        let value = event_versions::stored(self.resource, object.clone());
        let stored = self.api.store.put(&collection, &key, expect, value)?;
        let generation = |object: &Value| object["metadata"]["generation"].clone();
        if self.defines_resources() && old.map(generation) != Some(generation(&object)) {
            definitions::follow(self.api, name);
            if let Some(now) = self.api.store.get(&collection, &key) {
                return Ok(now.value());
            }
        }
        metadata::set(&mut object, "resourceVersion", json!(stored.revision.to_string()));
        Ok(object)
    }

    /// Removes an object whose last state this is.
    pub fn remove(&self, name: &str, expect: Expect, mut last: Value) -> Result<Value, Refused> {
        let value = event_versions::stored(self.resource, last.clone());
        let removed = self.api.store.remove(&collection(self.resource), &self.key(name), expect, value)?;
        if self.defines_resources() {
            definitions::follow(self.api, name);
        }
        metadata::set(&mut last, "resourceVersion", json!(removed.revision.to_string()));
        Ok(last)
    }

    fn defines_resources(&self) -> bool {
        strategy::id(self.resource) == ("apiextensions.k8s.io", "customresourcedefinitions")
    }
}

/// Faults of a custom resource that its former state did not have: a stricter schema does not block other changes.
fn news(write: &Write<'_>, old: &Value, mut faults: Vec<FieldError>) -> Vec<FieldError> {
    if write.resource.custom && !faults.is_empty() {
        let before = write.resource.schema.validate(old, None);
        faults.retain(|fault| !before.contains(fault));
    }
    faults
}
