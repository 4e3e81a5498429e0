//! A client of any registry: one repository at a time, manifests as the bytes they are, blobs in pieces.
//!
//! `transport` sends a request until it is answered for good: `auth` answers challenges, `retry` decides about trying again, `redirect` about
//! following, `flow` how many are under way at once. `manifests`, `listing`, `upload` and `download` are what a repository can do, `arrival` lets
//! an upload follow a download, `ledger` lets another process continue it. `credentials` and `hosts` are read once, by whoever makes the client;
//! afterwards nothing looks at files or the environment.
//!
//! Every body has a limit and every digest is checked. Credentials go to the registry and the token server it names, never along a
//! redirect.

mod answer;
mod arrival;
mod auth;
mod credentials;
mod download;
mod error;
mod flow;
mod host;
mod hosts;
mod ledger;
mod link;
mod listing;
mod manifests;
mod quota;
mod redirect;
mod retry;
mod transport;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Url;

pub use arrival::{Arrival, Arriving, arrival};
pub use credentials::{Credential, CredentialError, Credentials};
pub use download::Progress;
pub use error::{ClientError, ErrorKind};
pub use hosts::{ClientIdentity, HostOptions, hosts_from_certificates};
pub use ledger::Ledger;
pub(crate) use listing::fallback_tag;
pub use manifests::PushedManifest;
pub use quota::Quota;
pub use upload::{Moved, Source};

use crate::reference::is_repository;
use host::Host;

/// How a client behaves, and what it knows.
#[derive(Clone, Debug)]
pub struct Options {
    /// User names, passwords and tokens by registry.
    pub credentials: Credentials,
    /// Registries that need something special.
    pub hosts: BTreeMap<String, HostOptions>,
    /// How often a request is sent at most.
    pub attempts: u32,
    /// First pause before another attempt; doubles each time, with jitter.
    pub pause: Duration,
    /// Longest wait a registry may ask for; more is an error.
    pub longest_wait: Duration,
    /// Silence on an open connection that is taken for its end; also how long a small answer may take.
    pub silence: Duration,
    /// Blobs larger than this are sent in pieces of this size; none sends every blob whole, until a registry refuses that.
    pub piece: Option<u64>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            credentials: Credentials::default(),
            hosts: BTreeMap::new(),
            attempts: 6,
            pause: Duration::from_millis(250),
            longest_wait: Duration::from_secs(120),
            silence: Duration::from_secs(60),
            piece: None,
        }
    }
}

/// A client of registries. Clones share connections, tokens and what was learned about each registry.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: Options,
    known: Mutex<BTreeMap<String, Arc<Host>>>,
}

impl Client {
    /// A client that has not spoken to anybody yet.
    pub fn new(options: Options) -> Client {
        Client { shared: Arc::new(Shared { options, known: Mutex::default() }) }
    }

    /// A repository of the registry `host`, written as in references: `registry.example`, `127.0.0.1:5000`, `docker.io`.
    pub fn repository(&self, host: &str, name: &str) -> Result<Repository, ClientError> {
        if !is_repository(name) {
            return Err(ClientError::Name { name: name.to_string() });
        }
        let host = self.host(host)?;
        Ok(Repository { client: self.clone(), host, name: name.to_string() })
    }

    fn host(&self, name: &str) -> Result<Arc<Host>, ClientError> {
        let mut known = self.shared.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(host) = known.get(name) {
            return Ok(host.clone());
        }
        let options = self.shared.options.hosts.get(name).cloned().unwrap_or_default();
        let host = Arc::new(Host::new(name, &options, &self.shared.options)?);
        known.insert(name.to_string(), host.clone());
        Ok(host)
    }

    /// What the registry last said about its quota of manifest reads; nothing if it never said.
    pub fn quota(&self, registry: &str) -> Option<Quota> {
        let known = self.shared.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.get(registry)?.quota()
    }

    fn options(&self) -> &Options {
        &self.shared.options
    }
}

/// A repository of a registry.
#[derive(Clone, Debug)]
pub struct Repository {
    client: Client,
    host: Arc<Host>,
    name: String,
}

impl Repository {
    /// Its name in the registry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The registry's name.
    pub fn registry(&self) -> &str {
        &self.host.name
    }

    fn url(&self, path: &str) -> Result<Url, ClientError> {
        self.host.url(&format!("/v2/{}/{path}", self.name))
    }

    fn pull(&self) -> Scopes {
        Scopes::of(&self.name, "pull")
    }

    fn push(&self) -> Scopes {
        Scopes::of(&self.name, "pull,push")
    }

    fn delete(&self) -> Scopes {
        Scopes::of(&self.name, "delete,pull")
    }
}

/// What a token must allow.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Scopes(BTreeSet<String>);

impl Scopes {
    fn of(repository: &str, actions: &str) -> Scopes {
        Scopes(BTreeSet::from([format!("repository:{repository}:{actions}")]))
    }

    fn and(mut self, other: Scopes) -> Scopes {
        self.0.extend(other.0);
        self
    }
}

impl std::fmt::Display for Scopes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scopes: Vec<&str> = self.0.iter().map(String::as_str).collect();
        f.write_str(&scopes.join(" "))
    }
}
