//! One request until it is answered for good: shown in, repeated when the registry says "not now", redirected where that is allowed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::auth::Known;
use super::credentials::{Credential, Credentials};
use super::error::ClientError;
use super::flow::Flow;
use super::hosts::{ClientIdentity, HostOptions};
use super::quota::Quota;
use super::retry::{self, Trouble};
use super::{Client, Options, Scopes, redirect};

/// Redirects followed for one request.
const REDIRECTS: usize = 10;
/// Times a registry may ask for other credentials during one request.
const CHALLENGES: usize = 2;
/// Bytes of an error body that are read.
const ERROR_LIMIT: usize = 64 << 10;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes a second below which an upload is taken for stuck. What has arrived is not sent again.
const SLOWEST: u64 = 32 << 10;

/// One registry: how to reach it, and what it taught us.
pub(super) struct Host {
    /// As in references.
    pub name: String,
    /// Where it answers.
    pub base: Url,
    /// For everything but downloads: each request has a time limit of its own.
    pub http: reqwest::Client,
    /// For bodies of any size that come to us: silence ends them, length does not.
    downloads: reqwest::Client,
    /// How long it may say nothing.
    pub silence: Duration,
    pub private_redirects: bool,
    credentials: Credentials,
    known: tokio::sync::Mutex<Known>,
    /// When the next request of a kind may be sent, after the registry asked for a wait.
    windows: Mutex<BTreeMap<Action, Instant>>,
    /// What the registry last said about its quota of manifest reads.
    quota: Mutex<Option<Quota>>,
    /// How many requests it gets at once.
    flow: Flow,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("name", &self.name)
            .field("base", &self.base.as_str())
            .finish_non_exhaustive()
    }
}

/// Kinds of requests registries limit separately.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    /// Reading manifests and lists: what is metered.
    Read,
    /// Reading blobs.
    Download,
    /// Everything that writes.
    Write,
}

impl Host {
    pub fn new(name: &str, options: &HostOptions, all: &Options) -> Result<Host, ClientError> {
        let Options { credentials, silence, .. } = all;
        let unusable = |problem: String| ClientError::Host { registry: name.to_string(), problem };
        let address = if name == "docker.io" { "registry-1.docker.io" } else { name };
        let secure: Url =
            format!("https://{address}/").parse().map_err(|_| unusable("that is not a host".into()))?;
        let is_bare = secure.path() == "/" && secure.query().is_none() && secure.username().is_empty();
        if name.is_empty() || !is_bare || secure.fragment().is_some() || secure.password().is_some() {
            return Err(unusable("that is more than a host and a port".into()));
        }
        let is_neighbour = redirect::is_loopback(&secure);
        // A certificate somebody configured shows that TLS is meant.
        let wants_tls =
            !options.authorities.is_empty() || options.identity.is_some() || options.skip_verification;
        let base = match options.plain_http || (is_neighbour && !wants_tls) {
            true => {
                format!("http://{address}/").parse().map_err(|_| unusable("that is not a host".into()))?
            }
            false => secure,
        };
        let tls = base.scheme() == "https";
        let http = http_client(options, is_neighbour, tls, None).map_err(unusable)?;
        let downloads = http_client(options, is_neighbour, tls, Some(*silence)).map_err(unusable)?;
        Ok(Host {
            name: name.to_string(),
            base,
            http,
            downloads,
            silence: *silence,
            private_redirects: options.private_redirects,
            credentials: credentials.clone(),
            known: tokio::sync::Mutex::default(),
            windows: Mutex::default(),
            quota: Mutex::default(),
            flow: Flow::new(),
        })
    }

    pub fn url(&self, path: &str) -> Result<Url, ClientError> {
        let malformed =
            |_| ClientError::Host { registry: self.name.clone(), problem: format!("`{path}` is no path") };
        self.base.join(path).map_err(malformed)
    }

    /// Who we are for the first repository of the scopes.
    pub async fn credential(&self, scopes: &Scopes) -> Result<Option<Credential>, ClientError> {
        let repository =
            scopes.0.iter().find_map(|scope| scope.split(':').nth(1)).unwrap_or_default().to_string();
        let (credentials, name) = (self.credentials.clone(), self.name.clone());
        // A helper is a program; it may ask the person for something.
        let found = tokio::task::spawn_blocking(move || credentials.find(&name, &repository)).await;
        let failed = |source| ClientError::Credentials { registry: self.name.clone(), source };
        found.map_or(Ok(None), |found| found.map_err(failed))
    }

    /// What the registry last said about its quota; nothing if it never said.
    pub fn quota(&self) -> Option<Quota> {
        self.quota.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note_quota(&self, headers: &HeaderMap) {
        if let Some(quota) = Quota::read(headers) {
            *self.quota.lock().unwrap_or_else(PoisonError::into_inner) = Some(quota);
        }
    }

    /// Notes whether the registry keeps up.
    fn note_load(&self, status: StatusCode) {
        match status.as_u16() {
            429 | 500..=599 => self.flow.refused(Instant::now()),
            _ => self.flow.answered(),
        }
    }

    /// Waits until the registry may be asked again.
    async fn wait_for_window(&self, action: Action) {
        let until = self.windows.lock().unwrap_or_else(PoisonError::into_inner).get(&action).copied();
        if let Some(until) = until {
            tokio::time::sleep_until(until.into()).await;
        }
    }

    fn close_window(&self, action: Action, pause: Duration) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let until = Instant::now() + pause;
        let window = windows.entry(action).or_insert(until);
        *window = until.max(*window);
    }
}

fn http_client(
    options: &HostOptions,
    is_neighbour: bool,
    tls: bool,
    silence: Option<Duration>,
) -> Result<reqwest::Client, String> {
    // Whoever installs a provider first decides for the process; any will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .tls_danger_accept_invalid_certs(options.skip_verification);
    if let Some(silence) = silence {
        builder = builder.read_timeout(silence);
    }
    if is_neighbour {
        builder = builder.no_proxy();
    }
    let mut authorities = Vec::new();
    for pem in &options.authorities {
        authorities.extend(reqwest::Certificate::from_pem_bundle(pem).map_err(|error| error.to_string())?);
    }
    // A machine may have no certificates of its own, and needs none for a neighbour without TLS.
    builder = match is_neighbour && !tls {
        true => builder.tls_certs_only(authorities),
        false => builder.tls_certs_merge(authorities),
    };
    if let Some(ClientIdentity { certificate, key }) = &options.identity {
        let pem = [certificate.as_slice(), b"\n", key].concat();
        builder = builder.identity(reqwest::Identity::from_pem(&pem).map_err(|error| error.to_string())?);
    }
    builder.build().map_err(|error| error.to_string())
}

/// What is sent along.
#[derive(Clone)]
pub(super) enum Payload {
    Nothing,
    Bytes(Bytes),
}

/// A request that may be sent more than once.
pub(super) struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub payload: Payload,
    pub scopes: Scopes,
    pub action: Action,
}

impl Request {
    pub fn new(method: Method, url: Url, scopes: Scopes, action: Action) -> Request {
        Request { method, url, headers: HeaderMap::new(), payload: Payload::Nothing, scopes, action }
    }
}

/// An answer read to its end: a success, or 404.
pub(super) struct Fetched {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub url: Url,
    pub body: Bytes,
}

/// How one attempt ended without an answer for good.
pub(super) struct Failed {
    pub trouble: Trouble,
    pub error: ClientError,
}

impl Client {
    /// Sends a request, again and again if need be. The answer may be any status that will not change by repeating.
    pub(super) async fn send(&self, host: &Host, request: Request) -> Result<Response, ClientError> {
        let mut attempt = 1;
        loop {
            match self.attempt(host, &request).await? {
                Ok(response) => return Ok(response),
                Err(failed) => attempt = self.next_attempt(host, request.action, attempt, failed).await?,
            }
        }
    }

    /// Sends a request and reads what comes back, at most `limit` bytes of it.
    pub(super) async fn fetch(
        &self,
        host: &Host,
        request: Request,
        what: &str,
        limit: usize,
    ) -> Result<Fetched, ClientError> {
        let mut attempt = 1;
        loop {
            let failed = match self.attempt(host, &request).await? {
                Ok(response) => {
                    let (status, headers, url) =
                        (response.status(), response.headers().clone(), response.url().clone());
                    if !status.is_success() && status != StatusCode::NOT_FOUND {
                        return Err(refused(host, &request.method, response).await);
                    }
                    match limited(response, what, limit).await {
                        Ok(body) => return Ok(Fetched { status, headers, url, body }),
                        Err(error @ ClientError::Connection { .. }) => {
                            Failed { trouble: Trouble::Connection, error }
                        }
                        Err(error) => return Err(error),
                    }
                }
                Err(failed) => failed,
            };
            attempt = self.next_attempt(host, request.action, attempt, failed).await?;
        }
    }

    /// Waits before the next attempt and gives its number; the error, if there is none.
    pub(super) async fn next_attempt(
        &self,
        host: &Host,
        action: Action,
        attempt: u32,
        failed: Failed,
    ) -> Result<u32, ClientError> {
        let Options { attempts, pause, longest_wait, .. } = self.options();
        let Failed { trouble, error } = failed;
        if attempt >= *attempts {
            return Err(error);
        }
        if let Trouble::Status { wait: Some(wait), .. } = trouble
            && wait > *longest_wait
        {
            return Err(ClientError::RateLimited { registry: host.name.clone(), wait });
        }
        let wait = retry::pause(trouble, attempt + 1, *pause, retry::roll());
        tracing::debug!(registry = host.name, attempt, ?wait, %error, "trying again");
        match trouble {
            Trouble::Status { wait: Some(_), .. } => host.close_window(action, wait),
            Trouble::Status { wait: None, .. } | Trouble::Connection => tokio::time::sleep(wait).await,
        }
        Ok(attempt + 1)
    }

    async fn attempt(&self, host: &Host, request: &Request) -> Result<Result<Response, Failed>, ClientError> {
        let mut url = request.url.clone();
        let mut at_home = redirect::check(&host.base, &url, host.private_redirects)?;
        let mut method = request.method.clone();
        let mut payload = request.payload.clone();
        let mut scopes = request.scopes.clone();
        let mut challenges = 0;
        let mut redirects = 0;
        loop {
            host.wait_for_window(request.action).await;
            let authorization = match at_home {
                true => host.known.lock().await.authorization(host, &scopes).await?,
                false => None,
            };
            let builder = match request.action {
                Action::Download => host.downloads.request(method.clone(), url.clone()),
                Action::Read | Action::Write => {
                    host.http.request(method.clone(), url.clone()).timeout(host.silence)
                }
            };
            let mut builder = builder.headers(request.headers.clone());
            if let Some(authorization) = &authorization {
                builder = builder.header(AUTHORIZATION, authorization.clone());
            }
            builder = match &payload {
                Payload::Nothing if matches!(method, Method::POST | Method::PUT | Method::PATCH) => {
                    builder.header(CONTENT_LENGTH, HeaderValue::from_static("0"))
                }
                Payload::Nothing => builder,
                Payload::Bytes(bytes) => builder.body(bytes.clone()),
            };
            let sent = {
                let _turn = host.flow.turn().await;
                builder.send().await
            };
            let response = match sent {
                Ok(response) => response,
                Err(error) => return Ok(Err(no_answer(&method, &url, error))),
            };
            let status = response.status();
            host.note_load(status);
            if at_home {
                host.note_quota(response.headers());
            }
            if status == StatusCode::UNAUTHORIZED && at_home && challenges < CHALLENGES {
                challenges += 1;
                let mut known = host.known.lock().await;
                if let Some(wanted) = known.challenged(response.headers(), &scopes, authorization.as_ref()) {
                    scopes = wanted;
                    continue;
                }
            }
            if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
                let target = location(&url, response.headers())?;
                redirects += 1;
                if redirects > REDIRECTS {
                    return Err(protocol(&url, "it redirects in circles"));
                }
                let may_change = matches!(status.as_u16(), 301..=303);
                if may_change && !matches!(method, Method::GET | Method::HEAD) {
                    (method, payload) = (Method::GET, Payload::Nothing);
                }
                redirect::check(&url, &target, host.private_redirects)?;
                // Once away from home, nothing that comes back is trusted with credentials again.
                at_home = at_home && redirect::check(&host.base, &target, host.private_redirects)?;
                url = target;
                continue;
            }
            if retry::is_passing(status.as_u16()) {
                return Ok(Err(not_now(host, &method, response).await));
            }
            if status == StatusCode::UNAUTHORIZED {
                let with_credentials = host.credential(&scopes).await?.is_some();
                let problem = refusal(response).await;
                let problem = if problem.is_empty() { status.to_string() } else { problem };
                return Err(ClientError::Unauthorized {
                    registry: host.name.clone(),
                    scopes: scopes.to_string(),
                    problem,
                    with_credentials,
                });
            }
            return Ok(Ok(response));
        }
    }

    /// Sends a body that can be read only once. The caller decides what to do when that fails.
    pub(super) async fn send_once(
        &self,
        host: &Host,
        request: Request,
        body: reqwest::Body,
    ) -> Result<Result<Response, Failed>, ClientError> {
        let Request { method, url, headers, payload: _, scopes, action } = request;
        let at_home = redirect::check(&host.base, &url, host.private_redirects)?;
        host.wait_for_window(action).await;
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let patience = host.silence + Duration::from_secs(length.unwrap_or_default() / SLOWEST);
        let request = host.http.request(method.clone(), url.clone()).timeout(patience);
        let mut builder = request.headers(headers).body(body);
        let authorization = match at_home {
            true => host.known.lock().await.authorization(host, &scopes).await?,
            false => None,
        };
        if let Some(authorization) = &authorization {
            builder = builder.header(AUTHORIZATION, authorization.clone());
        }
        let sent = {
            let _turn = host.flow.turn().await;
            builder.send().await
        };
        let response = match sent {
            Ok(response) => response,
            Err(error) => return Ok(Err(no_answer(&method, &url, error))),
        };
        let status = response.status();
        host.note_load(status);
        if status == StatusCode::UNAUTHORIZED && at_home {
            // The token may have run out; the next attempt gets another.
            host.known.lock().await.challenged(response.headers(), &scopes, authorization.as_ref());
            return Ok(Err(not_now(host, &method, response).await));
        }
        if retry::is_passing(status.as_u16()) {
            return Ok(Err(not_now(host, &method, response).await));
        }
        Ok(Ok(response))
    }
}

fn no_answer(method: &Method, url: &Url, error: reqwest::Error) -> Failed {
    let error =
        ClientError::Connection { action: method.to_string(), url: shown(url), source: error.without_url() };
    Failed { trouble: Trouble::Connection, error }
}

async fn not_now(host: &Host, method: &Method, response: Response) -> Failed {
    let status = response.status().as_u16();
    let wait = retry::retry_after(response.headers(), Timestamp::now());
    let error = refused(host, method, response).await;
    Failed { trouble: Trouble::Status { status, wait }, error }
}

/// The error for an answer nobody asked for.
pub(super) async fn refused(host: &Host, method: &Method, response: Response) -> ClientError {
    let (status, url) = (response.status().as_u16(), shown(response.url()));
    tracing::debug!(registry = host.name, status, url, "the registry refuses");
    let message = refusal(response).await;
    let message = if message.is_empty() { message } else { format!(": {message}") };
    ClientError::Refused { action: method.to_string(), url, status, message }
}

/// The sentences of an error body, as far as there are any.
async fn refusal(response: Response) -> String {
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
