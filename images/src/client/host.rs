//! One registry: where it answers, how it is spoken to, and what it taught us.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};

use super::auth::Known;
use super::credentials::{Credential, Credentials};
use super::error::ClientError;
use super::flow::Flow;
use super::hosts::{ClientIdentity, HostOptions};
use super::quota::Quota;
use super::{Options, Scopes, redirect};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// One registry: how to reach it, and what it taught us.
pub(super) struct Host {
    /// As in references.
    pub name: String,
    /// Where it answers.
    pub base: Url,
    /// For everything but downloads: each request has a time limit of its own.
    pub http: reqwest::Client,
    /// For bodies of any size that come to us: silence ends them, length does not.
    pub downloads: reqwest::Client,
    /// How long it may say nothing.
    pub silence: Duration,
    pub private_redirects: bool,
    credentials: Credentials,
    pub known: tokio::sync::Mutex<Known>,
    /// When the next request of a kind may be sent, after the registry asked for a wait.
    windows: Mutex<BTreeMap<Action, Instant>>,
    /// What the registry last said about its quota of manifest reads.
    quota: Mutex<Option<Quota>>,
    /// How many requests it gets at once.
    pub flow: Flow,
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

    pub fn note_quota(&self, headers: &HeaderMap) {
        if let Some(quota) = Quota::read(headers) {
            *self.quota.lock().unwrap_or_else(PoisonError::into_inner) = Some(quota);
        }
    }

    /// Notes whether the registry keeps up.
    pub fn note_load(&self, status: StatusCode) {
        match status.as_u16() {
            429 | 500..=599 => self.flow.refused(Instant::now()),
            _ => self.flow.answered(),
        }
    }

    /// Waits until the registry may be asked again.
    pub async fn wait_for_window(&self, action: Action) {
        let until = self.windows.lock().unwrap_or_else(PoisonError::into_inner).get(&action).copied();
        if let Some(until) = until {
            tokio::time::sleep_until(until.into()).await;
        }
    }

    pub fn close_window(&self, action: Action, pause: Duration) {
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
