//! The chain every request goes through before it is answered: authenticate, impersonate, authorize, find the resource.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, HeaderName, HeaderValue};
use http::{Method, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Body as _;
use uuid::Uuid;

use super::rbac::Attributes;
use super::request::RequestInfo;
use super::user::User;
use super::{Answer, Api, Call};
use super::{answer, connect, impersonate, negotiate, paths, read, review, subresource, write};
use crate::schema::{Registry, Resource};
use crate::status::Status;

/// The largest body that is read, in bytes.
pub const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// Answers one request; `peer` is the identity the connection has, if it has one.
pub async fn handle(api: &Arc<Api>, peer: Option<&User>, request: Request<Body>) -> Answer {
    let only_head = request.method() == Method::HEAD;
    let mut answer = match chain(api, peer, request).await {
        Ok(answer) => answer,
        Err(status) => answer::error(&status),
    };
    if only_head {
        // HTTP/2 takes a body after HEAD for a broken stream.
        let body = std::mem::take(answer.body_mut());
        if let Some(length) = body.size_hint().exact() {
            answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
    let id = Uuid::new_v4().to_string();
    answer::set(&mut answer, HeaderName::from_static("audit-id"), &id);
    let private = HeaderValue::from_static("no-cache, private");
    answer.headers_mut().entry(CACHE_CONTROL).or_insert(private);
    answer
}

async fn chain(api: &Arc<Api>, peer: Option<&User>, request: Request<Body>) -> Result<Answer, Status> {
    let (parts, body) = request.into_parts();
    let user = api.authenticator.authenticate(&api.store, peer, &parts.headers)?;
    let user = impersonate::impersonate(api, user, &parts.headers)?;
    let info = RequestInfo::parse(&parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default());
    let selected = selected_name(&info);
    let mut attributes = Attributes::of(&info);
    attributes.name = selected.as_deref().unwrap_or(attributes.name);
    api.authorizer.authorize(&api.store, &user, &attributes)?;
    if !info.resource_request {
        return Ok(paths::answer(api, &parts.method, &info, &parts.headers));
    }
    let Some(resource) = find(&api.registry(), &info)? else { return Ok(answer::page_not_found()) };
    let route = route(&resource, &info)?;
    if route == Route::Write {
        // Before anything is written that could not be told.
        negotiate::form(&parts.headers)?;
    }
    let body = match parts.method {
        Method::GET | Method::HEAD => Bytes::new(),
        _ => read_body(body).await?,
    };
    let deprecation = resource.deprecation.clone();
    let call = Call { user, method: parts.method, info, headers: parts.headers, body, resource };
    let mut answer = match route {
        Route::Read => read::read(api, call).await?,
        Route::Write => write::write(api, call).await?,
        Route::Review => review::review(api, call).await?,
        Route::Connect => connect::connect(api, call).await?,
    };
    answer::warn(&mut answer, deprecation.as_slice());
    Ok(answer)
}

/// The name a collection request selects by field: who may see that object only may list and watch it.
fn selected_name(info: &RequestInfo) -> Option<String> {
    let collection = info.name.is_empty() && matches!(info.verb, "list" | "watch" | "deletecollection");
    let selector = collection.then(|| info.param("fieldSelector"))?;
    let mut terms = selector.split(',').map(str::trim);
    let name = terms.find_map(|term| term.strip_prefix("metadata.name="))?;
    Some(name.trim_start_matches('=').to_owned())
}

/// The resource a path names. `None` when there is not even such a group and version.
fn find(registry: &Registry, info: &RequestInfo) -> Result<Option<Arc<Resource>>, Status> {
    let RequestInfo { group, version, .. } = info;
    let in_namespace = !info.namespace.is_empty() && info.resource != "namespaces";
    match registry.resource(group, version, &info.resource) {
        Some(resource) if resource.namespaced || !in_namespace => Ok(Some(resource)),
        None if registry.of_version(group, version).next().is_none() => Ok(None),
        _ => Err(Status::no_such_resource()),
    }
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Read,
    Write,
    Review,
    Connect,
}

fn route(resource: &Resource, info: &RequestInfo) -> Result<Route, Status> {
    let refuse = || Err(Status::method_not_allowed(&resource.group, &resource.plural, info.verb));
    if resource.verbs == ["create"] {
        return if info.verb == "create" && info.name.is_empty() { Ok(Route::Review) } else { refuse() };
    }
    if !info.subresource.is_empty() {
        if resource.kind == "Pod" && subresource::MISSING.contains(&info.subresource.as_str()) {
            return Ok(Route::Connect);
        }
        let found = subresource::find(resource, &info.subresource);
        let found = found.ok_or_else(Status::no_such_resource)?;
        if !found.verbs.contains(&info.verb) {
            return refuse();
        }
        return Ok(match (found.name, info.verb) {
            ("log" | "proxy", _) => Route::Connect,
            ("token", _) => Route::Review,
            (_, "get") => Route::Read,
            _ => Route::Write,
        });
    }
    let named = !info.name.is_empty();
    // An object of a namespaced resource has no path outside its namespace.
    if resource.namespaced && info.namespace.is_empty() && !matches!(info.verb, "list" | "watch") {
        return if named { Err(Status::no_such_resource()) } else { refuse() };
    }
    match info.verb {
        verb if !resource.verbs.iter().any(|known| known == verb) => refuse(),
        "list" | "watch" => Ok(Route::Read),
        "get" => Ok(Route::Read),
        "create" if !named => Ok(Route::Write),
        "update" | "patch" | "delete" if named => Ok(Route::Write),
        "deletecollection" => Ok(Route::Write),
        _ => refuse(),
    }
}

async fn read_body(body: Body) -> Result<Bytes, Status> {
    match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Status::too_large(BODY_LIMIT)),
        Err(error) => Err(Status::bad_request(format!("cannot read the body: {error}"))),
    }
}

#[cfg(test)]
mod tests;
