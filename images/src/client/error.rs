//! What can go wrong with a registry, and whose turn it is then.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::CredentialError;
use crate::digest::Digest;
use crate::layout::LayoutError;

/// A registry did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not a repository name.
    #[error("use the repository `{name}`: the name is malformed")]
    Name {
        /// What was given.
        name: String,
    },
    /// Not a registry's name, or its certificates are unusable.
    #[error("use the registry `{registry}`: {problem}")]
    Host {
        /// What was given.
        registry: String,
        /// What is wrong.
        problem: String,
    },
    /// Credentials for it cannot be read.
    #[error("find credentials for `{registry}`")]
    Credentials {
        /// The registry.
        registry: String,
        /// Why.
        source: CredentialError,
    },
    /// No answer.
    #[error("{action} {url}")]
    Connection {
        /// The method.
        action: String,
        /// The address.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It wants other credentials, or any.
    #[error("be let in by `{registry}` for {scopes}: {problem}")]
    Unauthorized {
        /// The registry.
        registry: String,
        /// What was to be allowed.
        scopes: String,
        /// What it said.
        problem: String,
        /// Whether credentials were sent.
        with_credentials: bool,
    },
    /// Its token server does not give a token.
    #[error("get a token for `{registry}` from {realm}: {problem}")]
    Token {
        /// The registry.
        registry: String,
        /// The token server.
        realm: String,
        /// What happened.
        problem: String,
    },
    /// It asks for a longer wait than we are ready for.
    #[error("be served by `{registry}`: it asks to wait {} s", wait.as_secs())]
    RateLimited {
        /// The registry.
        registry: String,
        /// How long.
        wait: Duration,
    },
    /// It has no such thing.
    #[error("find {what}: `{registry}` does not have it")]
    NotFound {
        /// The registry.
        registry: String,
        /// What was asked for.
        what: String,
    },
    /// It says no.
    #[error("{action} {url}: the registry answers {status}{message}")]
    Refused {
        /// The method.
        action: String,
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// What it said, with a leading separator; may be empty.
        message: String,
    },
    /// It sends us where we do not go.
    #[error("follow the registry from {from} to {to}: {problem}")]
    Redirect {
        /// From where.
        from: String,
        /// Whereto.
        to: String,
        /// Why not.
        problem: &'static str,
    },
    /// Its answer breaks the specification.
    #[error("understand the registry's answer to {url}: {problem}")]
    Protocol {
        /// The address.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// More than there may be.
    #[error("read {what}: it has more than {limit} bytes")]
    TooLarge {
        /// What.
        what: String,
        /// How much is allowed.
        limit: u64,
    },
    /// Not what its digest says.
    #[error("trust {what}: its content has the digest {found}")]
    Corrupt {
        /// What.
        what: String,
        /// What it is instead.
        found: Digest,
    },
    /// Less than it should be, again and again.
    #[error("read {what}: it ends after {found} of {expected} bytes")]
    Truncated {
        /// What.
        what: String,
        /// How much there was.
        found: u64,
        /// How much there should be.
        expected: u64,
    },
    /// A local file.
    #[error("{step} {}", path.display())]
    Local {
        /// What was attempted.
        step: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The local layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// Whose turn it is when something went wrong; commands give each its own exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The person's: log in, or ask for permission.
    Auth,
    /// Time's.
    RateLimit,
    /// It does not exist.
    NotFound,
    /// The network's or the registry's: try again later.
    Unavailable,
    /// The registry's operator: what it does or gives is wrong.
    Registry,
    /// Ours or the caller's.
    Local,
}

impl ClientError {
    /// Whose turn it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            ClientError::Unauthorized { .. }
            | ClientError::Token { .. }
            | ClientError::Credentials { .. } => ErrorKind::Auth,
            ClientError::Refused { status: 401 | 403, .. } => ErrorKind::Auth,
            ClientError::Refused { status: 429, .. } | ClientError::RateLimited { .. } => {
                ErrorKind::RateLimit
            }
            ClientError::NotFound { .. } => ErrorKind::NotFound,
            ClientError::Connection { .. } | ClientError::Truncated { .. } => ErrorKind::Unavailable,
            ClientError::Refused { status, .. } if *status >= 500 => ErrorKind::Unavailable,
            ClientError::Refused { .. }
            | ClientError::Redirect { .. }
            | ClientError::Protocol { .. }
            | ClientError::TooLarge { .. }
            | ClientError::Corrupt { .. } => ErrorKind::Registry,
            ClientError::Name { .. }
            | ClientError::Host { .. }
            | ClientError::Local { .. }
            | ClientError::Layout(_) => ErrorKind::Local,
        }
    }

    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            ClientError::Unauthorized { registry, with_credentials: false, .. } => {
                Some(format!("log in with `docker login {registry}`"))
            }
            ClientError::Unauthorized { registry, with_credentials: true, .. } => {
                Some(format!("the account used for {registry} lacks the permission, or its password is old"))
            }
            ClientError::Credentials { source, .. } => source.hint(),
            ClientError::Token { registry, .. } => {
                Some(format!("log in again with `docker login {registry}`"))
            }
            ClientError::RateLimited { .. } => {
                Some("try later, or log in: accounts have larger limits".to_string())
            }
            ClientError::Connection { source, .. } if source.is_connect() => {
                Some("is the registry running, and is a proxy needed (HTTPS_PROXY)?".to_string())
            }
            ClientError::Layout(error) => error.hint(),
            _ => None,
        }
    }
}
