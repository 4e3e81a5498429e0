//! Lists: tags, repositories, and the manifests about a manifest.

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use serde_json::json;

use super::answer::{Fault, json, set};
use super::route::{Query, Repository};
use super::store::Store;
use crate::digest::Digest;
use crate::document::{INDEX, Index};

/// Entries of a page nobody asked to be shorter.
const PAGE: usize = 1000;

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");

pub(super) async fn tags(
    store: Arc<Store>,
    repository: Repository,
    query: &Query,
) -> Result<Response, Fault> {
    let name = repository.name().to_string();
    let tags = store
        .run(move |store| match store.has_repository(&repository) {
            true => Ok(store.tags(&repository)?),
            false => Err(Fault::NameUnknown(repository.name().to_string())),
        })
        .await?;
    let sorted_as = |tag: &str| (tag.to_ascii_lowercase(), tag.to_string());
    let page = Page::of(tags, query, |tag, last| sorted_as(tag) > sorted_as(last))?;
    let next = page.next(|tag| tag.clone());
    Ok(linked(
        json(&json!({ "name": name, "tags": page.entries })),
        &format!("/v2/{name}/tags/list"),
        next,
        query,
    ))
}

pub(super) async fn catalog(store: Arc<Store>, query: &Query) -> Result<Response, Fault> {
    let repositories = store.run(|store| Ok(store.repositories()?)).await?;
    let names: Vec<String> = repositories.iter().map(|repository| repository.name().to_string()).collect();
    let page = Page::of(names, query, |name, last| name.as_str() > last)?;
    let next = page.next(|name| name.clone());
    Ok(linked(json(&json!({ "repositories": page.entries })), "/v2/_catalog", next, query))
}

pub(super) async fn referrers(
    store: Arc<Store>,
    repository: Repository,
    subject: Digest,
    query: &Query,
) -> Result<Response, Fault> {
    let path = format!("/v2/{}/referrers/{subject}", repository.name());
    let mut referrers = store.run(move |store| Ok(store.referrers(&repository, &subject)?)).await?;
    let wanted = query.get("artifactType");
    if let Some(wanted) = wanted {
        referrers.retain(|descriptor| descriptor.artifact_type.as_deref() == Some(wanted));
    }
    let page = Page::of(referrers, query, |descriptor, last| descriptor.digest.to_string().as_str() > last)?;
    let next = page.next(|descriptor| descriptor.digest.to_string());
    let mut response = json(&Index::new(page.entries));
    set(response.headers_mut(), header::CONTENT_TYPE, INDEX);
    if wanted.is_some() {
        response.headers_mut().insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    Ok(linked(response, &path, next, query))
}

/// A part of a sorted list.
struct Page<T> {
    entries: Vec<T>,
    more: bool,
}

impl<T> Page<T> {
    /// At most `n` entries after `last`.
    fn of(all: Vec<T>, query: &Query, is_after: impl Fn(&T, &str) -> bool) -> Result<Page<T>, Fault> {
        let limit = match query.get("n") {
            None => PAGE,
            Some(text) => text.parse().map_err(|_| Fault::NoSuchPath(format!("n={text}")))?,
        };
        let last = query.get("last");
        let mut entries = all.into_iter().filter(|entry| last.is_none_or(|last| is_after(entry, last)));
        let page = entries.by_ref().take(limit).collect();
        Ok(Page { entries: page, more: limit > 0 && entries.next().is_some() })
    }

    /// Where the next page begins, if there is one.
    fn next(&self, name: impl Fn(&T) -> String) -> Option<String> {
        self.entries.last().filter(|_| self.more).map(name)
    }
}

/// Adds `Link` to the next page; names, tags and digests need no escaping in a query.
fn linked(mut response: Response, path: &str, next: Option<String>, query: &Query) -> Response {
    if let Some(last) = next {
        let limit = query.get("n").map_or(String::new(), |n| format!("&n={n}"));
        let filter = query.get("artifactType").map_or(String::new(), |kind| {
            format!("&artifactType={}", kind.replace('+', "%2B").replace([' ', '&', '<', '>', '"'], ""))
        });
        set(
            response.headers_mut(),
            header::LINK,
            format!("<{path}?last={last}{limit}{filter}>; rel=\"next\""),
        );
    }
    response
}
