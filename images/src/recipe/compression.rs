//! How layers are packed: part of a recipe, because the bytes of a layer depend on it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::document::{LAYER_GZIP, LAYER_ZSTD};

/// A compressor and its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// gzip with a level from 0 (stored) to 9 (smallest); every runtime reads it.
    Gzip(u32),
    /// zstd with a level from 1 to 19 (smallest); unpacks several times faster, containerd has read it since 1.5.
    Zstd(u32),
}

/// The text names no compressor with a level.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "unknown compression `{text}`, expected `gzip`, `gzip:0` to `gzip:9`, `zstd` or `zstd:1` to `zstd:19`"
)]
pub struct UnknownCompression {
    text: String,
}

impl Compression {
    /// The media type of a layer packed this way.
    pub fn media_type(self) -> &'static str {
        match self {
            Compression::Gzip(_) => LAYER_GZIP,
            Compression::Zstd(_) => LAYER_ZSTD,
        }
    }

    /// Name and level apart.
    pub fn parts(self) -> (&'static str, u32) {
        match self {
            Compression::Gzip(level) => ("gzip", level),
            Compression::Zstd(level) => ("zstd", level),
        }
    }

    /// Whether the compressor has that level.
    pub(super) fn is_sound(self) -> bool {
        match self {
            Compression::Gzip(level) => level <= 9,
            Compression::Zstd(level) => (1..=19).contains(&level),
        }
    }
}

/// `gzip:6`
impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, level) = self.parts();
        write!(f, "{name}:{level}")
    }
}

/// Reads `gzip`, `gzip:6`, `zstd`, `zstd:3`.
impl FromStr for Compression {
    type Err = UnknownCompression;

    fn from_str(text: &str) -> Result<Compression, UnknownCompression> {
        let unknown = || UnknownCompression { text: text.to_string() };
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        let compression = match name {
            "gzip" => Compression::Gzip(level.unwrap_or(6)),
            "zstd" => Compression::Zstd(level.unwrap_or(3)),
            _ => return Err(unknown()),
        };
        if compression.is_sound() { Ok(compression) } else { Err(unknown()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressor_is_written_with_or_without_its_level() {
        let check = |text: &str, expected: Option<Compression>| {
            assert_eq!(text.parse::<Compression>().ok(), expected, "{text}");
        };
        check("gzip", Some(Compression::Gzip(6)));
        check("gzip:0", Some(Compression::Gzip(0)));
        check("zstd", Some(Compression::Zstd(3)));
        check("zstd:19", Some(Compression::Zstd(19)));
        for wrong in ["", "gzip:10", "zstd:0", "zstd:20", "zstd:", "gzip:-1", "xz", "xz:1"] {
            check(wrong, None);
        }
    }
}
