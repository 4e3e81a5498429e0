//! Reading from registries over HTTP. Everything here runs on the host side: registries are in the host's network.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use reqwest::header::{ACCEPT, AUTHORIZATION, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode};
use tokio::sync::mpsc;

use super::digest::Digest;
use super::manifest;
use super::pull::PullError;
use super::reference::Reference;
use crate::isolation::HostSide;

/// A manifest is a small document; more is an attack or a mistake.
const MANIFEST_LIMIT: usize = 4 << 20;

/// A client of all registries.
pub(super) struct Registries {
    host: HostSide,
    mirrors: BTreeMap<String, String>,
    /// Kept, with their open connections: one for the mirrors and one for the outside.
    clients: Mutex<[Option<Client>; 2]>,
}

/// Where a repository is.
#[derive(Clone)]
struct Endpoint {
    client: Client,
    base: String,
    repository: String,
}

impl Registries {
    /// `mirrors`: registry name → base URL that answers for it.
    pub(super) fn new(host: HostSide, mirrors: BTreeMap<String, String>) -> Self {
        Self { host, mirrors, clients: Mutex::default() }
    }

    /// Fetches the document the reference names.
    pub(super) async fn manifest(&self, reference: &Reference, version: String) -> Result<Bytes, PullError> {
        let endpoint = self.endpoint(reference)?;
        let name = reference.to_string();
        let task = self.host.handle.spawn(async move {
            let path = format!("manifests/{version}");
            let response = get(&endpoint, &path).await?;
            let url = response.url().to_string();
            let failed = |source| PullError::Transfer { url: url.clone(), source };
            let mut body = Vec::new();
            let mut stream = response.bytes_stream();
            while let Some(chunk) = stream.next().await {
                body.extend_from_slice(&chunk.map_err(failed)?);
                if body.len() > MANIFEST_LIMIT {
                    return Err(PullError::TooLarge { what: name, limit: MANIFEST_LIMIT as u64 });
                }
            }
            Ok(Bytes::from(body))
        });
        task.await.map_err(|_| PullError::Interrupted)?
    }

    /// Streams a blob; the receiver must check it.
    pub(super) fn blob(
        &self,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<mpsc::Receiver<Result<Bytes, PullError>>, PullError> {
        let endpoint = self.endpoint(reference)?;
        let path = format!("blobs/{digest}");
        let (sender, receiver) = mpsc::channel(8);
        self.host.handle.spawn(async move {
            let response = match get(&endpoint, &path).await {
                Ok(response) => response,
                // A receiver that is gone has given the pull up.
                Err(error) => return drop(sender.send(Err(error)).await),
            };
            let url = response.url().to_string();
            let mut stream = response.bytes_stream();
            while let Some(chunk) = stream.next().await {
                let chunk = chunk.map_err(|source| PullError::Transfer { url: url.clone(), source });
                if sender.send(chunk).await.is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }

    fn endpoint(&self, reference: &Reference) -> Result<Endpoint, PullError> {
        let repository = reference.repository.clone();
        if let Some(mirror) = self.mirrors.get(&reference.host) {
            let base = mirror.trim_end_matches('/').to_owned();
            return Ok(Endpoint { client: self.client(true)?, base, repository });
        }
        let host = if reference.host == "docker.io" { "registry-1.docker.io" } else { &reference.host };
        Ok(Endpoint { client: self.client(false)?, base: format!("https://{host}"), repository })
    }

    fn client(&self, mirror: bool) -> Result<Client, PullError> {
        let mut clients = self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let [outside, mirrors] = &mut *clients;
        let slot = if mirror { mirrors } else { outside };
        if let Some(client) = slot {
            return Ok(client.clone());
        }
        let timeouts =
            Client::builder().connect_timeout(Duration::from_secs(10)).read_timeout(Duration::from_secs(60));
        // A mirror is a neighbour: no proxy, and no need for the certificates of a machine that may have none.
        let builder = if mirror { timeouts.no_proxy().tls_certs_only([]) } else { timeouts };
        // Building panics without one. Fails only if a provider was chosen before, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = builder.build().map_err(|source| PullError::Client { source })?;
        Ok(slot.insert(client).clone())
    }
}

/// Asks, and asks again with an anonymous token where the registry wants one.
async fn get(endpoint: &Endpoint, path: &str) -> Result<Response, PullError> {
    let Endpoint { client, base, repository } = endpoint;
    let url = format!("{base}/v2/{repository}/{path}");
    let failed = |source| PullError::Transfer { url: url.clone(), source };
    let request = || {
        client.get(&url).header(ACCEPT, if path.starts_with("manifests/") { manifest::ACCEPT } else { "*/*" })
    };
    let mut response = request().send().await.map_err(failed)?;
    if response.status() == StatusCode::UNAUTHORIZED {
        let challenge = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        if let Some(token) = anonymous_token(client, challenge.unwrap_or_default()).await {
            response =
                request().header(AUTHORIZATION, format!("Bearer {token}")).send().await.map_err(failed)?;
        }
    }
    let status = response.status();
    if status.is_success() { Ok(response) } else { Err(PullError::Status { url, status: status.as_u16() }) }
}

async fn anonymous_token(client: &Client, challenge: &str) -> Option<String> {
    let parameters = challenge_parameters(challenge)?;
    let realm = parameters.get("realm")?;
    let query: Vec<_> = parameters.iter().filter(|(name, _)| matches!(**name, "service" | "scope")).collect();
    let answer: serde_json::Value = client.get(*realm).query(&query).send().await.ok()?.json().await.ok()?;
    let token = answer.get("token").or_else(|| answer.get("access_token"))?;
    Some(token.as_str()?.to_owned())
}

/// `Bearer realm="…",service="…",scope="…"`
fn challenge_parameters(challenge: &str) -> Option<BTreeMap<&str, &str>> {
    let (scheme, mut rest) = challenge.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut parameters = BTreeMap::new();
    while let Some((name, after)) = rest.split_once("=\"") {
        let (value, after) = after.split_once('"')?;
        parameters.insert(name.trim_matches([',', ' ']), value);
        rest = after;
    }
    Some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_even_with_commas_in_its_values() {
        let parameters = challenge_parameters(
            r#"Bearer realm="https://a/token",service="s",scope="repository:x:pull,push""#,
        )
        .unwrap();
        assert_eq!(parameters["realm"], "https://a/token");
        assert_eq!(parameters["scope"], "repository:x:pull,push");
        assert_eq!(challenge_parameters("Basic realm=\"x\""), None);
    }
}
