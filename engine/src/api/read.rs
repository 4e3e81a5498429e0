//! Get, list and watch.

mod list;
mod options;
mod page;
mod watch;

pub mod metadata;
pub mod scale;
pub mod table;

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::negotiate::{self, Form};
use super::{Answer, Api, Call};
use super::{answer, collection, event_versions};
use crate::schema::Resource;
use crate::status::Status;
use crate::store::{Key, Object};

pub use options::selection;

/// Answers `get`, `list` and `watch`.
pub async fn read(api: &Arc<Api>, call: Call) -> Result<Answer, Status> {
    match call.info.verb {
        "list" => list::list(api, &call),
        "watch" => watch::watch(api, call),
        _ => get(api, &call),
    }
}

fn get(api: &Api, call: &Call) -> Result<Answer, Status> {
    options::not_too_new(options::revision(&call.info)?, api.store.revision())?;
    let object = find(api, call)?;
    match (negotiate::form(&call.headers)?, call.info.subresource.as_str()) {
        (_, "scale") => answer::object(call, StatusCode::OK, &scale::of(&call.resource, &object.value())),
        (Form::Object, _) => Ok(answer::json_text(StatusCode::OK, text(&object, &call.resource))),
        _ => answer::object(call, StatusCode::OK, &value(&object, &call.resource)),
    }
}

/// The object a request names.
fn find(api: &Api, call: &Call) -> Result<Arc<Object>, Status> {
    let (resource, name) = (&call.resource, &call.info.name);
    let found = api.store.get(&collection(resource), &key(call));
    found.ok_or_else(|| Status::not_found(&resource.group, &resource.plural, name))
}

/// The key of the object a request names.
pub fn key(call: &Call) -> Key {
    // The path of a namespace itself has it as namespace too.
    let namespace = if call.resource.namespaced { call.info.namespace.clone() } else { String::new() };
    (namespace, call.info.name.clone())
}

/// A stored object in the version of `resource`.
fn value(object: &Object, resource: &Resource) -> Value {
    event_versions::shown(resource, object.value())
}

/// Its text: nearly always the very text that is stored.
fn text(object: &Object, resource: &Resource) -> Bytes {
    if object.api_version == resource.api_version() {
        object.json().clone()
    } else {
        value(object, resource).to_string().into()
    }
}
