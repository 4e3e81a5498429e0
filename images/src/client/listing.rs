//! Lists that come in pages: tags, and the manifests about a manifest.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::Repository;
use super::answer::protocol;
use super::error::ClientError;
use super::host::Action;
use super::transport::{Fetched, Request};
use super::{link, redirect};
use crate::digest::Digest;
use crate::document::{Descriptor, INDEX, Index, Raw};

/// Pages of one list; a registry with more has lost its way.
const PAGES: usize = 10_000;
const PAGE_LIMIT: usize = 8 << 20;
/// Times the fallback list is written again because somebody else changed it.
const WRITES: usize = 5;

impl Repository {
    /// All tags, in the registry's order. Nothing if the repository does not exist.
    pub async fn tags(&self) -> Result<Option<Vec<String>>, ClientError> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let mut url = self.url("tags/list")?;
        url.query_pairs_mut().append_pair("n", "1000");
        let mut tags = Vec::new();
        let Some(pages) = self.pages(url, "application/json").await? else { return Ok(None) };
        for Fetched { body, url, .. } in pages {
            let page: Page =
                serde_json::from_slice(&body).map_err(|error| protocol(&url, error.to_string()))?;
            tags.extend(page.tags.unwrap_or_default());
        }
        let mut seen = BTreeSet::new();
        tags.retain(|tag| seen.insert(tag.clone()));
        Ok(Some(tags))
    }

    /// The manifests about `subject`, of one artifact type or of all. Registries without such a list are asked for the fallback tag.
    pub async fn referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, ClientError> {
        let mut found = match self.listed_referrers(subject, artifact_type).await? {
            Some(listed) => listed,
            None => self.tagged_referrers(subject).await?,
        };
        // Whoever filtered, the result is the same.
        found.retain(|one| artifact_type.is_none_or(|wanted| one.artifact_type.as_deref() == Some(wanted)));
        Ok(found)
    }

    /// The manifests about `subject` as the registry lists them; nothing if it keeps no such list. It may filter by type or not.
    pub async fn listed_referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>, ClientError> {
        let mut url = self.url(&format!("referrers/{subject}"))?;
        if let Some(artifact_type) = artifact_type {
            url.query_pairs_mut().append_pair("artifactType", artifact_type);
        }
        let Some(pages) = self.pages(url, INDEX).await? else { return Ok(None) };
        let mut found = Vec::new();
        let mut seen = BTreeSet::new();
        for Fetched { body, url, .. } in pages {
            let page: Index =
                serde_json::from_slice(&body).map_err(|error| protocol(&url, error.to_string()))?;
            found.extend(page.manifests.into_iter().filter(|one| seen.insert(one.digest.clone())));
        }
        Ok(Some(found))
    }

    /// The manifests about `subject` that are listed under its fallback tag.
    pub async fn tagged_referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, ClientError> {
        Ok(self.fallback(subject).await?.map_or(Vec::new(), |(_, index)| index.manifests))
    }

    /// Adds a manifest to the list under its subject's fallback tag.
    pub(super) async fn list_as_referrer(&self, raw: &Raw, subject: &Digest) -> Result<(), ClientError> {
        let descriptor = referrer(raw);
        for _ in 0..WRITES {
            let mut index =
                self.fallback(subject).await?.map_or_else(|| Index::new(Vec::new()), |(_, index)| index);
            if index.manifests.iter().any(|listed| listed.digest == descriptor.digest) {
                return Ok(());
            }
            index.manifests.push(descriptor.clone());
            let list =
                Raw::of(INDEX, &index).map_err(|error| protocol(&self.host.base, error.to_string()))?;
            self.tag(&list, &fallback_tag(subject)).await?;
            // Somebody may have written between our reading and writing: the loop looks again.
        }
        Err(protocol(&self.host.base, format!("the list of referrers of {subject} changes all the time")))
    }

    async fn fallback(&self, subject: &Digest) -> Result<Option<(Raw, Index)>, ClientError> {
        let Some(raw) = self.manifest(&fallback_tag(subject)).await? else { return Ok(None) };
        let index = serde_json::from_slice(&raw.bytes).map_err(|error| {
            protocol(&self.host.base, format!("the list of referrers of {subject}: {error}"))
        })?;
        Ok(Some((raw, index)))
    }

    async fn pages(&self, first: Url, accept: &'static str) -> Result<Option<Vec<Fetched>>, ClientError> {
        let mut pages = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = Some(first);
        while let Some(url) = next.take() {
            if pages.len() >= PAGES || !seen.insert(url.to_string()) {
                return Err(protocol(&url, "its pages go in circles"));
            }
            let mut request = Request::new(Method::GET, url.clone(), self.pull(), Action::Read);
            request.headers.insert(ACCEPT, HeaderValue::from_static(accept));
            let page = self.client.fetch(&self.host, request, "a list", PAGE_LIMIT).await?;
            if page.status == StatusCode::NOT_FOUND {
                return Ok(None);
            }
            if let Some(target) = link::next(&page.headers) {
                let target = url.join(&target).map_err(|_| protocol(&url, "its `Link` is malformed"))?;
                // A list is the registry's own: its next page is nowhere else.
                if !redirect::check(&url, &target, self.host.private_redirects)? {
                    return Err(protocol(&url, "its next page is at another registry"));
                }
                next = Some(target);
            }
            pages.push(page);
        }
        Ok(Some(pages))
    }
}

/// `sha256-<hex>`: where lists of referrers are without the API for them.
pub(crate) fn fallback_tag(subject: &Digest) -> String {
    // Long enough for any tag; SHA-512 is cut as the specification says.
    let text = format!("{}-{}", subject.algorithm().name(), subject.hex());
    text.chars().take(128).collect()
}

fn referrer(raw: &Raw) -> Descriptor {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct About {
        artifact_type: Option<String>,
        config: Option<Descriptor>,
        annotations: BTreeMap<String, String>,
    }
    let About { artifact_type, config, annotations } = serde_json::from_slice(&raw.bytes).unwrap_or_default();
    let mut descriptor = raw.descriptor();
    descriptor.artifact_type = artifact_type.or(config.map(|config| config.media_type));
    descriptor.annotations = annotations;
    descriptor
}
