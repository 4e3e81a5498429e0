//! What answers say: refusals with the registry's own words, bodies up to a limit, addresses as they may be shown.

use bytes::Bytes;
use futures::StreamExt;
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::{Method, Response, Url};
use serde::Deserialize;

use super::error::ClientError;
use super::host::Host;

/// Bytes of an error body that are read.
const ERROR_LIMIT: usize = 64 << 10;

/// The error for an answer nobody asked for.
pub(super) async fn refused(host: &Host, method: &Method, response: Response) -> ClientError {
    let (status, url) = (response.status().as_u16(), shown(response.url()));
    tracing::debug!(registry = host.name, status, url, "the registry refuses");
    let message = refusal(response).await;
    let message = if message.is_empty() { message } else { format!(": {message}") };
    ClientError::Refused { action: method.to_string(), url, status, message }
}

/// The sentences of an error body, as far as there are any.
pub(super) async fn refusal(response: Response) -> String {
    #[derive(Deserialize)]
    struct Body {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(bytes) = limited(response, "the error", ERROR_LIMIT).await else { return String::new() };
    let Ok(Body { errors }) = serde_json::from_slice(&bytes) else { return String::new() };
    let sentences = errors.iter().map(|Entry { code, message }| match message.is_empty() {
        true => code.clone(),
        false => format!("{message} ({code})"),
    });
    // A registry's text goes to a terminal.
    let printable = |c: &char| !c.is_control();
    sentences.collect::<Vec<_>>().join("; ").chars().filter(printable).take(1000).collect()
}

/// Reads a body of at most `limit` bytes.
pub(super) async fn limited(response: Response, what: &str, limit: usize) -> Result<Bytes, ClientError> {
    let too_large = || ClientError::TooLarge { what: what.to_string(), limit: limit as u64 };
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let url = shown(response.url());
    let mut body = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(piece) = stream.next().await {
        let broken = |error: reqwest::Error| ClientError::Connection {
            action: "read".to_string(),
            url: url.clone(),
            source: error.without_url(),
        };
        body.extend_from_slice(&piece.map_err(broken)?);
        if body.len() > limit {
            return Err(too_large());
        }
    }
    Ok(body.into())
}

/// Where `Location` points, seen from `url`.
pub(super) fn location(url: &Url, headers: &HeaderMap) -> Result<Url, ClientError> {
    let text = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let text = text.ok_or_else(|| protocol(url, "`Location` is missing"))?;
    url.join(text).map_err(|_| protocol(url, "`Location` is malformed"))
}

pub(super) fn protocol(url: &Url, problem: impl Into<String>) -> ClientError {
    ClientError::Protocol { url: shown(url), problem: problem.into() }
}

/// An address as it may be printed: what is behind the question mark can be a secret.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Both only fail for addresses without a host, which cannot have a user either.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}
