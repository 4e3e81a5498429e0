//! Image references as people write them: `[host[:port]/]name[:tag][@digest]`.

use std::fmt;
use std::str::FromStr;

use super::digest::Digest;

/// Where an image is and which one of its versions is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    /// Registry, with a port when one was given; `docker.io` when none was.
    pub host: String,
    /// Repository in the registry.
    pub repository: String,
    /// Tag; only a hint when there is a digest.
    pub tag: Option<String>,
    /// Digest of the manifest or index.
    pub digest: Option<Digest>,
}

impl Reference {
    /// What to ask the registry for: the digest, else the tag, else `latest`.
    pub fn version(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.host, self.repository)?;
        match (&self.tag, &self.digest) {
            (tag, Some(digest)) => {
                if let Some(tag) = tag {
                    write!(formatter, ":{tag}")?;
                }
                write!(formatter, "@{digest}")
            }
            (tag, None) => write!(formatter, ":{}", tag.as_deref().unwrap_or("latest")),
        }
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |what: &str| format!("invalid image reference {text:?}: {what}");
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse::<Digest>().map_err(|error| invalid(&error))?)),
            None => (text, None),
        };
        // A colon after the last slash starts a tag; before it, a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag {
            let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
            if tag.is_empty() || tag.len() > 128 || !tag.bytes().all(word) || tag.starts_with(['.', '-']) {
                return Err(invalid("malformed tag"));
            }
        }
        let (host, repository) = split_host(name);
        let part = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-'))
                && part.starts_with(|first: char| first.is_ascii_alphanumeric())
                && part.ends_with(|last: char| last.is_ascii_alphanumeric())
        };
        if !repository.split('/').all(part) {
            return Err(invalid("a repository is lower-case words separated by `/`"));
        }
        Ok(Self { host, repository, tag: tag.map(str::to_owned), digest })
    }
}

/// The first part names a registry when it looks like a host; otherwise the image is one of Docker Hub.
fn split_host(name: &str) -> (String, String) {
    match name.split_once('/') {
        Some((host, repository)) if host.contains(['.', ':']) || host == "localhost" => {
            (host.to_owned(), repository.to_owned())
        }
        Some(_) => ("docker.io".to_owned(), name.to_owned()),
        None => ("docker.io".to_owned(), format!("library/{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_everywhere() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, host, repository, version) in [
            ("nginx", "docker.io", "library/nginx", "latest"),
            ("team/app:1.2", "docker.io", "team/app", "1.2"),
            ("localhost/app", "localhost", "app", "latest"),
            ("localhost:5000/a/b:x", "localhost:5000", "a/b", "x"),
            ("r.example/app:t@DIGEST", "r.example", "app", &digest),
            ("r.example/app@DIGEST", "r.example", "app", &digest),
        ] {
            let reference: Reference = text.replace("DIGEST", &digest).parse().unwrap();
            assert_eq!(
                (reference.host.as_str(), reference.repository.as_str(), reference.version().as_str()),
                (host, repository, version),
                "{text}"
            );
        }
    }

    #[test]
    fn malformed_references_say_what_is_wrong() {
        for text in ["", "UPPER", "a//b", "a/../b", "app:", "app:-x", "app@sha256:12", "app@md5:x", "a b"] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(error.starts_with("invalid image reference"), "{text}: {error}");
        }
    }
}
