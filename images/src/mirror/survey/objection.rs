//! What a rule can have against an image, in words.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// What a rule has against an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objection {
    /// Platforms that it must have are missing.
    Platforms {
        /// Those.
        missing: Vec<String>,
        /// What it has.
        has: Vec<String>,
    },
    /// It is too large.
    Size {
        /// Its bytes.
        bytes: u64,
        /// How many there may be.
        limit: u64,
    },
    /// It is too young, or does not say how old it is.
    Age {
        /// When it was made.
        created: Option<String>,
        /// From when it may be taken.
        from: Option<String>,
    },
    /// It has no good signature.
    Unsigned {
        /// The key that should have signed it.
        key: PathBuf,
    },
}

impl Objection {
    /// The edit that helps.
    pub fn hint(&self) -> String {
        match self {
            Objection::Platforms { .. } => {
                "change `platforms` of its rule in images/mirror.toml, or take another tag"
            }
            Objection::Size { .. } => {
                "raise `maximum-size` of its rule in images/mirror.toml if that is meant"
            }
            Objection::Unsigned { .. } => {
                "do not take it before you know why; `signature-key` of its rule in images/mirror.toml names the key"
            }
            Objection::Age { .. } => "wait, or lower `minimum-age` of its rule in images/mirror.toml",
        }
        .to_owned()
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::Platforms { missing, has } if has.is_empty() => {
                write!(f, "it lacks {} and names no platform at all", missing.join(", "))
            }
            Objection::Platforms { missing, has } => {
                write!(f, "it lacks {}; it has {}", missing.join(", "), has.join(", "))
            }
            Objection::Size { bytes, limit } => write!(f, "it has {bytes} bytes, more than {limit}"),
            Objection::Unsigned { key } => {
                write!(f, "it has no signature that is good with {}", key.display())
            }
            Objection::Age { created: None, .. } => f.write_str("it does not say when it was made"),
            Objection::Age { created: Some(created), from } => {
                write!(
                    f,
                    "it was made on {created} and may be taken from {}",
                    from.as_deref().unwrap_or("never")
                )
            }
        }
    }
}
