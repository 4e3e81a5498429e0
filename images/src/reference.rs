//! Image references as people and manifests write them: `host[:port]/repository[:tag][@digest]`.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::digest::Digest;

/// A complete reference: the registry is always named, nothing is assumed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Registry host, with port where there is one.
    pub registry: String,
    /// Repository in that registry.
    pub repository: String,
    /// Tag, if any.
    pub tag: Option<String>,
    /// Digest, if any; wins over the tag.
    pub digest: Option<Digest>,
}

/// The text is not a complete reference.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not an image reference: {problem}")]
pub struct MalformedReference {
    text: String,
    problem: &'static str,
}

impl FromStr for Reference {
    type Err = MalformedReference;

    fn from_str(text: &str) -> Result<Reference, MalformedReference> {
        let malformed = |problem| MalformedReference { text: text.to_string(), problem };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(digest.parse().map_err(|_| malformed("the digest is malformed"))?))
            }
            None => (text, None),
        };
        let (registry, rest) =
            rest.split_once('/').ok_or_else(|| malformed("it does not name a registry host"))?;
        let is_host = registry.contains(['.', ':']) || registry == "localhost";
        if !is_host || registry.contains(char::is_whitespace) {
            return Err(malformed("it does not begin with a registry host"));
        }
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_string())),
            None => (rest, None),
        };
        if !is_repository(repository) {
            return Err(malformed("the repository name is malformed"));
        }
        if tag.as_deref().is_some_and(|tag| !is_tag(tag)) {
            return Err(malformed("the tag is malformed"));
        }
        Ok(Reference { registry: registry.to_string(), repository: repository.to_string(), tag, digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reference { registry, repository, tag, digest } = self;
        write!(f, "{registry}/{repository}")?;
        if let Some(tag) = tag {
            write!(f, ":{tag}")?;
        }
        match digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

/// As it is written.
impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether `name` is a repository name by the distribution specification:
/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` between slashes, 255 characters at most.
pub fn is_repository(name: &str) -> bool {
    name.len() <= 255 && name.split('/').all(is_component)
}

fn is_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let edges = component.starts_with(alphanumeric) && component.ends_with(alphanumeric);
    let separators = component.split(alphanumeric).filter(|separator| !separator.is_empty());
    let legal =
        |separator: &str| matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-');
    edges && separators.into_iter().all(legal)
}

/// Whether `tag` is a tag by the distribution specification: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = tag.bytes();
    tag.len() <= 128
        && bytes.next().is_some_and(word)
        && bytes.all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_read_and_write_back() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for text in [
            "registry.example/app".to_string(),
            "localhost/app:1.2".to_string(),
            "127.0.0.1:5000/team/app:v1".to_string(),
            format!("registry.example/team/app@{digest}"),
            format!("registry.example:443/app:v1@{digest}"),
        ] {
            assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn incomplete_or_malformed_references_are_refused() {
        for text in
            ["", "app", "team/app", "registry.example/App", "registry.example/app:", "r.example/a@sha256:x"]
        {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn repository_names_follow_the_specification() {
        for name in ["a", "a/b/c", "a-b", "a--b", "a__b", "a.b", "0"] {
            assert!(is_repository(name), "{name}");
        }
        for name in ["", "/", "a/", "A", "-a", "a_", "a..b", "a___b", "a/../b", "a b", &"a".repeat(256)] {
            assert!(!is_repository(name), "{name}");
        }
    }

    #[test]
    fn tags_follow_the_specification() {
        assert!(is_tag("v1.0-rc_1") && is_tag("_x") && is_tag(&"t".repeat(128)));
        for tag in ["", ".x", "-x", "a/b", "a:b", &"t".repeat(129)] {
            assert!(!is_tag(tag), "{tag}");
        }
    }
}
