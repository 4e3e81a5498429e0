//! Where two images begin to differ.

use std::fmt;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use crate::build::BuiltImage;
use crate::document::Manifest;
use crate::layer::read::unpacked;
use crate::layout::{Layout, LayoutError};

/// The first thing that differs between two builds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Difference {
    /// Bytes of a file.
    File {
        /// The platform.
        platform: String,
        /// Path in the image.
        file: String,
        /// The first byte that differs.
        byte: u64,
    },
    /// Only one build has the file, or it has other attributes.
    Entry {
        /// The platform.
        platform: String,
        /// Path in the image.
        file: String,
    },
    /// The same files, packed otherwise.
    Packing {
        /// The platform.
        platform: String,
    },
    /// The image's config, manifest or index.
    Document {
        /// Which.
        what: String,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::File { platform, file, byte } => {
                write!(f, "{platform}: {file} differs at byte {byte}")
            }
            Difference::Entry { platform, file } => {
                write!(f, "{platform}: {file} is not in both, or with other attributes")
            }
            Difference::Packing { platform } => write!(f, "{platform}: the same files are packed otherwise"),
            Difference::Document { what } => write!(f, "{what} differs"),
        }
    }
}

pub(super) fn compare(
    one: &Layout,
    first: &BuiltImage,
    other: &Layout,
    second: &BuiltImage,
) -> Result<Option<Difference>, LayoutError> {
    if first.index.digest == second.index.digest {
        return Ok(None);
    }
    for (first, second) in first.manifests.iter().zip(&second.manifests) {
        if first.manifest.digest == second.manifest.digest {
            continue;
        }
        let platform = first.platform.clone();
        let (a, b): (Manifest, Manifest) =
            (one.document(&first.manifest)?, other.document(&second.manifest)?);
        for (a, b) in a.layers.iter().zip(&b.layers) {
            if a.digest == b.digest {
                continue;
            }
            let found = first_difference(one.open_blob(&a.digest)?, other.open_blob(&b.digest)?);
            let read = |source| LayoutError::Io { step: "read", path: one.blob_path(&a.digest), source };
            return Ok(Some(match found.map_err(read)? {
                Some((file, Some(byte))) => Difference::File { platform, file, byte },
                Some((file, None)) => Difference::Entry { platform, file },
                None => Difference::Packing { platform },
            }));
        }
        let what = if a.config.digest == b.config.digest { "manifest" } else { "config" };
        return Ok(Some(Difference::Document { what: format!("the {what} for {platform}") }));
    }
    Ok(Some(Difference::Document { what: "the index".to_string() }))
}

/// The first entry of two packed tars that differs, with the byte if it is the content.
fn first_difference(one: impl Read, other: impl Read) -> io::Result<Option<(String, Option<u64>)>> {
    let (mut one, mut other) = (tar::Archive::new(unpacked(one)?), tar::Archive::new(unpacked(other)?));
    let (mut one, mut other) = (one.entries()?, other.entries()?);
    loop {
        let (mut a, mut b) = match (one.next().transpose()?, other.next().transpose()?) {
            (Some(a), Some(b)) => (a, b),
            (None, None) => return Ok(None),
            (Some(only), None) => return Ok(Some((path(&only), None))),
            (None, Some(only)) => return Ok(Some((path(&only), None))),
        };
        let name = path(&a);
        if let Some(byte) = first_byte(&mut a, &mut b)? {
            return Ok(Some((name, Some(byte))));
        }
        if a.header().as_bytes() != b.header().as_bytes() {
            return Ok(Some((name, None)));
        }
    }
}

fn path(entry: &tar::Entry<'_, impl Read>) -> String {
    format!("/{}", String::from_utf8_lossy(&entry.path_bytes()).trim_matches('/'))
}

/// The first byte that differs; the shorter one ends with a difference.
fn first_byte(a: impl Read, b: impl Read) -> io::Result<Option<u64>> {
    let (a, b) = (io::BufReader::new(a), io::BufReader::new(b));
    let (mut a, mut b) = (a.bytes(), b.bytes());
    let mut position = 0;
    loop {
        match (a.next().transpose()?, b.next().transpose()?) {
            (None, None) => return Ok(None),
            (a, b) if a != b => return Ok(Some(position)),
            _ => position += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Content, Entry, write};
    use crate::recipe::Compression;

    fn packed(files: &[(&str, u32, &str)]) -> Vec<u8> {
        let entries: Vec<Entry> = files
            .iter()
            .map(|(path, mode, text)| Entry {
                path: path.to_string(),
                mode: *mode,
                content: Content::Bytes(text.as_bytes().to_vec()),
            })
            .collect();
        write(&entries, Compression::Gzip(1), Vec::new()).unwrap().0
    }

    #[test]
    fn the_first_file_and_byte_are_named() {
        let one = packed(&[("/a", 0o644, "same"), ("/b", 0o644, "hello"), ("/c", 0o644, "x")]);
        let check = |other: &[(&str, u32, &str)], expected: Option<(&str, Option<u64>)>| {
            let found = first_difference(one.as_slice(), packed(other).as_slice()).unwrap();
            assert_eq!(found, expected.map(|(file, byte)| (file.to_string(), byte)));
        };
        let (a, b, c) = (("/a", 0o644, "same"), ("/b", 0o644, "hello"), ("/c", 0o644, "x"));
        check(&[a, b, c], None);
        check(&[a, ("/b", 0o644, "help!"), c], Some(("/b", Some(3))));
        check(&[a, ("/b", 0o644, "hell"), c], Some(("/b", Some(4))));
        check(&[a, ("/b", 0o755, "hello"), c], Some(("/b", None)));
        check(&[a, b], Some(("/c", None)));
    }
}
