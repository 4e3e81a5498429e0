//! Lists: a snapshot, what is selected of it, and the page that was asked for, built from the stored texts.

use std::ops::Bound;
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::options::{self, At};
use super::page::Continue;
use super::{metadata, table};
use crate::api::negotiate::{self, Form};
use crate::api::selector::Selection;
use crate::api::{Answer, Api, Call};
use crate::api::{answer, collection};
use crate::schema::Resource;
use crate::status::Status;
use crate::store::{Key, Object, Snapshot};

/// Answers `list`.
pub fn list(api: &Api, call: &Call) -> Result<Answer, Status> {
    let form = negotiate::form(&call.headers)?;
    let selection = options::selection(&call.resource, &call.info)?;
    let (snapshot, after, consistent) = snapshot(api, call)?;
    let page = select(&snapshot, &selection, after.as_ref(), options::limit(&call.info));
    let mut list_meta = Map::new();
    list_meta.insert("resourceVersion".into(), json!(snapshot.revision.to_string()));
    if let Some(next) = page.next {
        let revision = consistent.then_some(snapshot.revision);
        list_meta.insert("continue".into(), json!(Continue { revision, after: next }.encode()));
        if !selection.is_restricted() {
            list_meta.insert("remainingItemCount".into(), json!(page.remaining));
        }
        api.store.remember(&collection(&call.resource), &snapshot);
    }
    let resource = &call.resource;
    let list_meta = Value::Object(list_meta);
    let values = || page.objects.iter().map(|object| super::value(object, resource));
    Ok(match form {
        Form::Object => answer::json_text(StatusCode::OK, text(resource, &list_meta, &page.objects)),
        Form::Metadata => answer::json(StatusCode::OK, &metadata::of_list(list_meta, values())),
        Form::Table => answer::json(StatusCode::OK, &table::of_list(call, list_meta, values())?),
    })
}

/// The state to list from, the object to go on after, and whether the pages are of one moment.
fn snapshot(api: &Api, call: &Call) -> Result<(Snapshot, Option<Key>, bool), Status> {
    let (info, collection) = (&call.info, collection(&call.resource));
    let at = options::list_at(info)?;
    let token = info.param("continue");
    if !token.is_empty() {
        if !matches!(info.param("resourceVersion"), "" | "0") {
            let message = "specifying resource version is not allowed when using continue";
            return Err(Status::bad_request(message));
        }
        let token = Continue::decode(token)?;
        let snapshot = match token.revision {
            Some(revision) => api.store.snapshot_at(&collection, revision).ok_or_else(|| token.expired())?,
            None => api.store.snapshot(&collection),
        };
        return Ok((snapshot, Some(token.after), token.revision.is_some()));
    }
    let snapshot = api.store.snapshot(&collection);
    match at {
        At::Now(not_before) => {
            options::not_too_new(not_before, snapshot.revision)?;
            Ok((snapshot, None, true))
        }
        At::Exactly(revision) => {
            options::not_too_new(Some(revision), snapshot.revision)?;
            let exact = api.store.snapshot_at(&collection, revision);
            let expired = || Status::gone_expired("The resourceVersion for the provided list is too old.");
            Ok((exact.ok_or_else(expired)?, None, true))
        }
    }
}

/// A part of a list.
#[derive(Debug, Default)]
struct Page {
    objects: Vec<Arc<Object>>,
    /// Key of the last object, when there are more.
    next: Option<Key>,
    /// How many more; right only for an unrestricted selection.
    remaining: usize,
}

fn select(snapshot: &Snapshot, selection: &Selection, after: Option<&Key>, limit: Option<usize>) -> Page {
    let mut page = Page::default();
    let first = (selection.namespace.clone().unwrap_or_default(), String::new());
    let from = after.map_or(Bound::Included(&first), Bound::Excluded);
    let in_namespace = |key: &Key| selection.namespace.as_ref().is_none_or(|namespace| *namespace == key.0);
    let range = snapshot.objects.range::<_, Key>((from, Bound::Unbounded));
    for (_, object) in range.take_while(|(key, _)| in_namespace(key)) {
        if page.next.is_some() {
            page.remaining += 1;
        } else if selection.matches(object) {
            match page.objects.last() {
                Some(last) if limit == Some(page.objects.len()) => {
                    page.next = Some((last.namespace.clone(), last.name.clone()));
                    page.remaining = 1;
                }
                _ => page.objects.push(object.clone()),
            }
        }
    }
    page
}

/// The list as text: the objects' own texts, joined.
fn text(resource: &Resource, list_meta: &Value, objects: &[Arc<Object>]) -> String {
    let start =
        json!({"kind": resource.list_kind, "apiVersion": resource.api_version(), "metadata": list_meta});
    let mut text = start.to_string();
    text.reserve(objects.iter().map(|object| object.json().len() + 1).sum::<usize>() + 16);
    text.pop();
    text.push_str(",\"items\":[");
    for (index, object) in objects.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&item(object, resource));
    }
    text.push_str("]}");
    text
}

/// One item as text. As with a real API server only those of custom kinds repeat what they are.
fn item(object: &Object, resource: &Resource) -> String {
    let text = super::text(object, resource);
    let text = String::from_utf8_lossy(&text);
    if resource.custom {
        return text.into_owned();
    }
    // Fields are in the order of their names, so that nearly every object begins with these two.
    let start = format!("{{\"apiVersion\":\"{}\",\"kind\":\"{}\",", resource.api_version(), resource.kind);
    if let Some(rest) = text.strip_prefix(&start) {
        return format!("{{{rest}");
    }
    let mut value = super::value(object, resource);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Expect, GroupResource, Store};

    fn snapshot() -> Snapshot {
        let store = Store::new(1);
        let pods = GroupResource::new("", "pods");
        for (namespace, name) in [("a", "1"), ("a", "2"), ("a", "3"), ("aa", "1"), ("b", "1")] {
            let labels = if name == "2" { json!({"even": "yes"}) } else { json!({}) };
            let value = json!({"metadata": {"namespace": namespace, "name": name, "labels": labels}});
            store.put(&pods, &(namespace.into(), name.into()), Expect::Absent, value).unwrap();
        }
        store.snapshot(&pods)
    }

    /// `expected`: the page's objects, then the number of objects that remain.
    #[track_caller]
    fn check(
        namespace: Option<&str>,
        labels: &str,
        after: Option<(&str, &str)>,
        limit: usize,
        expected: &str,
    ) {
        let selection = Selection {
            namespace: namespace.map(String::from),
            labels: crate::api::selector::LabelSelector::parse(labels).unwrap(),
            ..Selection::default()
        };
        let after = after.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
        let page = select(&snapshot(), &selection, after.as_ref(), (limit > 0).then_some(limit));
        let names: Vec<_> =
            page.objects.iter().map(|object| format!("{}/{}", object.namespace, object.name)).collect();
        assert_eq!(format!("{} +{}", names.join(" "), page.remaining), expected);
        assert_eq!(page.next.is_some(), page.remaining > 0);
    }

    #[test]
    fn pages_follow_each_other() {
        check(None, "", None, 2, "a/1 a/2 +3");
        check(None, "", Some(("a", "2")), 2, "a/3 aa/1 +1");
        check(None, "", Some(("aa", "1")), 2, "b/1 +0");
        check(None, "", None, 5, "a/1 a/2 a/3 aa/1 b/1 +0");
    }

    #[test]
    fn a_namespace_is_not_mixed_with_one_whose_name_begins_alike() {
        check(Some("a"), "", None, 0, "a/1 a/2 a/3 +0");
        check(Some("a"), "", None, 1, "a/1 +2");
        check(Some("a"), "even", None, 0, "a/2 +0");
        check(Some("c"), "", None, 0, " +0");
    }
}
