//! Who owns which field: server-side apply, and the record of every other write (`metadata.managedFields`).
//!
//! A port of structured-merge-diff and of `apimachinery/pkg/util/managedfields`. All versions of a resource share one schema
//! here, so nothing is converted between versions; a change of a schema between atomic and granular is not reconciled.

mod compare;
mod entries;
mod merge;
mod path;
mod remove;
mod set;
mod typed;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::schema::SchemaRef;
use crate::schema::types::Type;
use crate::status::{Cause, Status};
use compare::{Comparison, compare};
use entries::{Entry, Managers, Operation};
use path::Element;
use set::Set;

/// Most entries of operation `Update`; the oldest beyond are folded into one.
const MAX_UPDATERS: usize = 10;

/// Metadata the server owns or that identifies the object: nobody's field.
const UNOWNED: [&str; 9] = [
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// Who writes, how, and when.
#[derive(Debug, Clone)]
pub struct ApplyContext {
    /// Name of the field manager.
    pub manager: String,
    /// `apiVersion` of the request.
    pub api_version: String,
    /// Take fields from other managers instead of failing.
    pub force: bool,
    /// Subresource the request is for; empty for the object itself.
    pub subresource: String,
    /// Now, as `metav1.Time`.
    pub now: String,
}

/// Merges an applied configuration into the live object.
///
/// Fields this manager applied before and applies no more are removed unless others own them. Fields that others own and
/// that would change are a conflict (409) unless forced. A configuration that does not fit the schema is refused.
pub fn apply(
    schema: &SchemaRef,
    live: Option<&Value>,
    config: &Value,
    context: &ApplyContext,
) -> Result<Value, Status> {
    let ty = schema.ty();
    typed::check(&ty, config).map_err(|faults| {
        Status::new(500, "", format!("failed to create typed patch object ({}): {faults}", named(config)))
    })?;
    let before = live.map_or_else(|| Value::Object(Map::new()), without_managers);
    let mut managers = live.map(entries::decode).transpose().map_err(Status::internal)?.unwrap_or_default();
    if managers.is_empty() && live.is_some() {
        let origin = ApplyContext { manager: "before-first-apply".into(), ..context.clone() };
        let empty = Value::Object(Map::new());
        update(schema, &ty, &empty, &before, &mut managers, &origin);
    }
    let entry = Entry::new(context, Operation::Apply);
    let last = managers.get(&entry).map(|owned| owned.set.clone()).unwrap_or_default();
    let merged = merge::merge(&ty, Some(&before), Some(config)).unwrap_or(Value::Null);
    let applied = owned_by(schema, context, typed::field_set(&ty, config));
    managers.insert(entry.clone(), context, applied.clone());
    let mut new = prune(&ty, &merged, &managers, &last);
    // Built-in types cannot hold null: a null in the configuration owns the field and leaves it empty.
    schema.prune(&mut new);

    let comparison = owned_comparison(schema, context, compare(&ty, &before, &new));
    let changed = comparison.modified.union(&comparison.added);
    let conflicts = managers.others_within(&entry, &changed);
    if !context.force && !conflicts.is_empty() {
        return Err(conflict(&conflicts));
    }
    managers.take_from_others(&entry, &changed, &comparison.removed);

    let applied = applied.difference(&unowned());
    let same = before == new && last == applied;
    managers.set_own(&entry, context, applied, !same);
    entries::encode(&mut new, &managers);
    Ok(new)
}

/// Records a write that is no apply: the manager of the request owns what it set or changed. `new` may bring its own
/// `managedFields`; `[{}]` or an empty list clears the record.
pub fn track_update(schema: &SchemaRef, live: Option<&Value>, new: &mut Value, context: &ApplyContext) {
    let sent = &new["metadata"]["managedFields"];
    let cleared = sent.as_array().is_some_and(|sent| match sent.as_slice() {
        [] => true,
        [only] => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    });
    let of_live = || live.and_then(|live| entries::decode(live).ok()).unwrap_or_default();
    let mut managers = match entries::decode(new) {
        _ if !context.subresource.is_empty() => of_live(),
        _ if cleared => Managers::default(),
        Ok(sent) if !sent.is_empty() => sent,
        _ => of_live(),
    };
    let after = without_managers(new);
    // Without any record of the past there is nothing to add to, except when the object begins.
    if !managers.is_empty() || live.is_none() {
        let before = live.map_or_else(|| Value::Object(Map::new()), without_managers);
        update(schema, &schema.ty(), &before, &after, &mut managers, context);
    }
    *new = after;
    entries::encode(new, &managers);
}

fn update(
    schema: &SchemaRef,
    ty: &Type,
    before: &Value,
    after: &Value,
    managers: &mut Managers,
    context: &ApplyContext,
) {
    let comparison = owned_comparison(schema, context, compare(ty, before, after));
    let changed = comparison.modified.union(&comparison.added);
    let entry = Entry::new(context, Operation::Update);
    managers.take_from_all(&changed, &comparison.removed);
    let taken = changed.difference(&unowned());
    if !taken.is_empty() {
        let owned = managers.get(&entry).map(|owned| owned.set.union(&taken)).unwrap_or(taken);
        managers.set_own(&entry, context, owned, true);
    }
    managers.cap(MAX_UPDATERS);
}

/// Removes what was applied last time, is not applied now, and that nobody else owns.
fn prune(ty: &Type, merged: &Value, managers: &Managers, last: &Set) -> Value {
    if last.is_empty() {
        return merged.clone();
    }
    let named = |set: &Set| set.with_named_fields(ty);
    let all = named(&typed::field_set(ty, merged));
    let last = named(last);
    let pruned = remove::remove(ty, merged, &last);
    let owned = named(&managers.union());
    // What somebody owns stays.
    let kept = named(&typed::field_set(ty, &pruned)).union(&owned);
    let pruned = remove::remove(ty, merged, &all.difference(&kept));
    // What this manager did not own before stays, too.
    let gone = all.difference(&named(&typed::field_set(ty, &pruned))).intersection(&last);
    remove::remove(ty, merged, &gone)
}

fn without_managers(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}

/// What no manager owns.
fn unowned() -> Set {
    let mut set = Set::default();
    for field in ["apiVersion", "kind", "metadata"] {
        set.insert(&[Element::field(field)]);
    }
    for field in UNOWNED {
        set.insert(&[Element::field("metadata"), Element::field(field)]);
    }
    set
}

/// Without the part of the object that a request to this endpoint cannot write.
fn owned_by(schema: &SchemaRef, context: &ApplyContext, set: Set) -> Set {
    match context.subresource.as_str() {
        "" if schema.has_status() => set.filter_top(|field| field != "status"),
        "status" if schema.is_custom() => set.filter_top(|field| field == "status"),
        "status" => set.filter_top(|field| field != "spec"),
        "scale" => set.filter_top(|field| field == "spec"),
        _ => set,
    }
}

fn owned_comparison(schema: &SchemaRef, context: &ApplyContext, comparison: Comparison) -> Comparison {
    let Comparison { removed, modified, added } = comparison;
    let owned = |set| owned_by(schema, context, set);
    Comparison { removed: owned(removed), modified: owned(modified), added: owned(added) }
}

/// `namespace/name; group/version, Kind=kind`, as upstream names objects in errors.
fn named(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let version = text(&object["apiVersion"]);
    let version = if version.contains('/') { version } else { format!("/{version}") };
    format!(
        "{}/{}; {version}, Kind={}",
        text(&metadata["namespace"]),
        text(&metadata["name"]),
        text(&object["kind"])
    )
}

/// The answer to conflicts, by manager.
fn conflict(conflicts: &BTreeMap<Entry, Set>) -> Status {
    let mut causes = Vec::new();
    let mut groups = Vec::new();
    for (entry, set) in conflicts {
        let manager = entry.to_string();
        groups.push(format!("conflicts with {manager}:"));
        for path in set.paths() {
            causes.push(Cause::new("FieldManagerConflict", path.clone(), format!("conflict with {manager}")));
            groups.push(format!("- {path}"));
        }
    }
    let message = match causes.as_slice() {
        [only] => format!("Apply failed with 1 conflict: {}: {}", only.message, only.field),
        many => format!("Apply failed with {} conflicts: {}", many.len(), groups.join("\n")),
    };
    Status::apply_conflict(message, &causes)
}

#[cfg(test)]
mod tests;
