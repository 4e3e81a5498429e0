//! Image names as they may be written anywhere, with what a container engine would add.

use std::fmt;

use crate::digest::Digest;
use crate::reference::Reference;

/// The registry an engine asks when none is named.
const DEFAULT_REGISTRY: &str = "docker.io";

/// A reference, and whether its registry was written or assumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The complete reference; what was left out is filled in as `docker pull` would.
    pub reference: Reference,
    /// The registry was assumed.
    pub short: bool,
}

/// The text names no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an image reference")]
pub struct MalformedName(String);

impl Name {
    /// Reads a name: `postgres:16` is `docker.io/library/postgres:16`, `team/app` is `docker.io/team/app`.
    pub fn parse(text: &str) -> Result<Name, MalformedName> {
        let malformed = |_| MalformedName(text.to_owned());
        let host = text.split_once('/').map(|(host, _)| host);
        if host.is_some_and(|host| host == "localhost" || host.contains(['.', ':'])) {
            return Ok(Name { reference: text.parse().map_err(malformed)?, short: false });
        }
        let library = if host.is_some() { "" } else { "library/" };
        let reference = format!("{DEFAULT_REGISTRY}/{library}{text}").parse().map_err(malformed)?;
        Ok(Name { reference, short: true })
    }

    /// The digest it is pinned to.
    pub fn digest(&self) -> Option<&Digest> {
        self.reference.digest.as_ref()
    }

    /// `registry/repository`, without tag and digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.reference.registry, self.reference.repository)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reference.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_what_an_engine_would_take() {
        for (written, complete, short) in [
            ("postgres", "docker.io/library/postgres", true),
            ("postgres:16-alpine", "docker.io/library/postgres:16-alpine", true),
            ("team/app:1", "docker.io/team/app:1", true),
            ("quay.io/team/app", "quay.io/team/app", false),
            ("localhost/app:1", "localhost/app:1", false),
            ("127.0.0.1:5000/app", "127.0.0.1:5000/app", false),
        ] {
            let name = Name::parse(written).unwrap();
            assert_eq!((name.to_string().as_str(), name.short), (complete, short), "{written}");
        }
        for written in ["", "UPPER", "a b", "quay.io/", "x@sha256:1"] {
            assert!(Name::parse(written).is_err(), "{written}");
        }
    }
}
