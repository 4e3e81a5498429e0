//! Manifests: bytes with a media type and a digest, never read and written again.

use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde::Deserialize;

use super::Repository;
use super::answer::{protocol, refused, shown};
use super::error::ClientError;
use super::host::Action;
use super::transport::{Payload, Request};
use crate::digest::{Digest, Hasher};
use crate::document::{DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, INDEX, MANIFEST, Raw};
use crate::reference::is_tag;

/// A manifest is a small document; more is an attack or a mistake.
const MANIFEST_LIMIT: usize = 4 << 20;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");

/// What became of a pushed manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushedManifest {
    /// Requests it took to place the manifest and its tags.
    pub requests: u32,
    /// The registry lists it with its subject by itself.
    pub subject_listed: bool,
}

impl Repository {
    /// What a tag or digest points at, by HEAD: registries do not count that. Nothing if it does not exist.
    pub async fn head_manifest(&self, version: &str) -> Result<Option<Descriptor>, ClientError> {
        let request = self.manifest_request(Method::HEAD, version, self.pull())?;
        let url = request.url.clone();
        let response = self.client.send(&self.host, request).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            _ => return Err(refused(&self.host, &Method::HEAD, response).await),
        }
        let headers = response.headers();
        let size = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let digest = match (header_digest(headers), version.parse::<Digest>()) {
            (Some(found), Ok(wanted)) if found != wanted => {
                return Err(ClientError::Corrupt { what: shown(&url), found });
            }
            (found, wanted) => found.or(wanted.ok()),
        };
        match (digest, size, media_type(headers)) {
            (Some(digest), Some(size), Some(media_type)) => {
                Ok(Some(Descriptor::new(&media_type, digest, size)))
            }
            // A registry that tells too little is asked for the whole thing.
            _ => Ok(self.manifest(version).await?.map(|raw| raw.descriptor())),
        }
    }

    /// The manifest a tag or digest points at, verified. Nothing if it does not exist.
    pub async fn manifest(&self, version: &str) -> Result<Option<Raw>, ClientError> {
        let request = self.manifest_request(Method::GET, version, self.pull())?;
        let what = format!("the manifest {}/{}:{version}", self.registry(), self.name);
        let answer = self.client.fetch(&self.host, request, &what, MANIFEST_LIMIT).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let expected = version.parse::<Digest>().ok().or(header_digest(&answer.headers));
        let mut hasher =
            Hasher::new(expected.as_ref().map_or(crate::digest::Algorithm::Sha256, Digest::algorithm));
        hasher.update(&answer.body);
        let found = hasher.finish();
        if expected.is_some_and(|expected| expected != found) {
            return Err(ClientError::Corrupt { what, found });
        }
        let media_type = media_type(&answer.headers).or_else(|| own_media_type(&answer.body));
        let media_type = media_type.ok_or_else(|| protocol(&answer.url, "the media type is missing"))?;
        Ok(Some(Raw { media_type, digest: found, bytes: answer.body }))
    }

    /// Stores a manifest by its digest and points the tags at it, in one request where the registry can. If it has a subject and the registry
    /// keeps no list of referrers, it is added to the list under the subject's fallback tag.
    pub async fn put_manifest(&self, raw: &Raw, tags: &[&str]) -> Result<PushedManifest, ClientError> {
        if let Some(tag) = tags.iter().find(|tag| !is_tag(tag)) {
            return Err(ClientError::Name { name: format!("{}:{tag}", self.name) });
        }
        let headers = self.put(raw, &raw.digest.to_string(), tags).await?;
        let mut requests = 1;
        let placed: Vec<&str> = headers.get_all(TAG).iter().filter_map(|value| value.to_str().ok()).collect();
        for tag in tags.iter().filter(|tag| !placed.contains(tag)) {
            self.put(raw, tag, &[]).await?;
            requests += 1;
        }
        let subject_listed = headers.contains_key(SUBJECT);
        if !subject_listed && let Some(subject) = subject(raw) {
            self.list_as_referrer(raw, &subject).await?;
        }
        Ok(PushedManifest { requests, subject_listed })
    }

    /// Points a tag at a manifest the registry already has.
    pub async fn tag(&self, raw: &Raw, tag: &str) -> Result<(), ClientError> {
        if !is_tag(tag) {
            return Err(ClientError::Name { name: format!("{}:{tag}", self.name) });
        }
        self.put(raw, tag, &[]).await.map(drop)
    }

    /// Removes a tag, or a manifest by its digest. Says whether it was there.
    pub async fn delete_manifest(&self, version: &str) -> Result<bool, ClientError> {
        let request = self.manifest_request(Method::DELETE, version, self.delete())?;
        let response = self.client.send(&self.host, request).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(refused(&self.host, &Method::DELETE, response).await),
        }
    }

    async fn put(&self, raw: &Raw, version: &str, tags: &[&str]) -> Result<HeaderMap, ClientError> {
        let mut request = self.manifest_request(Method::PUT, version, self.push())?;
        request.headers.remove(ACCEPT);
        if !tags.is_empty() {
            request.url.query_pairs_mut().extend_pairs(tags.iter().map(|tag| ("tag", tag)));
        }
        let content_type = HeaderValue::from_str(&raw.media_type)
            .map_err(|_| protocol(&request.url, format!("`{}` is no media type", raw.media_type)))?;
        request.headers.insert(CONTENT_TYPE, content_type);
        request.payload = Payload::Bytes(raw.bytes.clone());
        request.action = Action::Write;
        let response = self.client.send(&self.host, request).await?;
        if !response.status().is_success() {
            return Err(refused(&self.host, &Method::PUT, response).await);
        }
        // `Location` may be missing and says nothing we do not know; a wrong digest means that something was changed on the way.
        match header_digest(response.headers()) {
            Some(found) if found != raw.digest && found.algorithm() == raw.digest.algorithm() => {
                Err(ClientError::Corrupt { what: format!("{}:{version}", self.name), found })
            }
            _ => Ok(response.headers().clone()),
        }
    }

    fn manifest_request(
        &self,
        method: Method,
        version: &str,
        scopes: super::Scopes,
    ) -> Result<Request, ClientError> {
        if version.parse::<Digest>().is_err() && !is_tag(version) {
            return Err(ClientError::Name { name: format!("{}:{version}", self.name) });
        }
        let url = self.url(&format!("manifests/{version}"))?;
        let mut request = Request::new(method, url, scopes, Action::Read);
        for kind in [INDEX, MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST] {
            request.headers.append(ACCEPT, HeaderValue::from_static(kind));
        }
        Ok(request)
    }
}

fn header_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get(CONTENT_DIGEST)?.to_str().ok()?.parse().ok()
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').next()?.trim().to_string();
    // Some registries and proxies call everything JSON.
    (!value.is_empty() && value != "application/json").then_some(value)
}

fn own_media_type(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Own {
        media_type: String,
    }
    Some(serde_json::from_slice::<Own>(bytes).ok()?.media_type)
}

fn subject(raw: &Raw) -> Option<Digest> {
    #[derive(Deserialize)]
    struct About {
        subject: Descriptor,
    }
    Some(serde_json::from_slice::<About>(&raw.bytes).ok()?.subject.digest)
}
