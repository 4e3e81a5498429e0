//! What was mirrored: `images/mirror.lock`, written by `sync` and read by everything that needs an image by digest.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use mistake::{Mistake, Slip};
use serde::{Deserialize, Serialize};

use super::declaration::Repository;
use crate::digest::Digest;
use crate::reference::Reference;

/// Where the lock is, relative to the workspace root.
pub const FILE: &str = "images/mirror.lock";

const HEADER: &str = "# Written by `cargo xtask mirror sync`; not to be edited. A tag listed here moves only with `--update`.\n\n";
const VERSION: u32 = 1;

/// Every mirrored tag and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// When sources and destinations were last compared.
    pub checked: Option<Timestamp>,
    /// By destination and tag.
    pub images: BTreeMap<(String, String), Locked>,
}

/// One mirrored tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Locked {
    /// Repository it was copied from, with registry.
    pub source: String,
    /// Repository it was copied to, with registry.
    pub destination: String,
    /// The tag, the same on both sides.
    pub tag: String,
    /// Digest the tag has at the destination.
    pub digest: Digest,
    /// Media type of what it names.
    pub media_type: String,
    /// Digest the tag had at the source, where platforms were left out and it therefore differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Digest>,
    /// It was rolled back: `upstream` is what the source had then, not what this is a copy of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Bytes of all its platforms, each blob counted once.
    pub size: u64,
    /// Manifests that were read of its source for it: about what its next copy will take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads: Option<u32>,
    /// When the tag got this digest.
    pub since: Timestamp,
    /// Digest of the manifest of each platform.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub platforms: BTreeMap<String, Digest>,
    /// Signatures, SBOMs and other referrers that came along, as digest → artifact type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub referrers: BTreeMap<String, String>,
}

impl Locked {
    /// What the tag must be at the source for nothing to have moved.
    pub fn at_source(&self) -> &Digest {
        self.upstream.as_ref().unwrap_or(&self.digest)
    }

    /// The reference by digest at the destination: what builds and clusters pull.
    pub fn reference(&self) -> String {
        format!("{}:{}@{}", self.destination, self.tag, self.digest)
    }
}

/// The lock could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file could not be read or written.
    #[error("{doing} the mirror's lock {}", path.display())]
    Io {
        /// Read or write.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what `sync` writes.
    #[error("{0}\nhint: restore {FILE} from version control, or remove it and run `cargo xtask mirror sync`")]
    Wrong(Box<Mistake>),
    /// A newer version of the tool wrote it.
    #[error("{FILE} has version {found}, this tool knows {VERSION}\nhint: update the workspace")]
    Version {
        /// The version in the file.
        found: u32,
    },
    /// It could not be put into words.
    #[error("write the mirror's lock")]
    Write(#[from] toml::ser::Error),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checked: Option<Timestamp>,
    #[serde(default)]
    image: Vec<Locked>,
}

impl Lock {
    /// A lock of nothing.
    pub fn empty() -> Lock {
        Lock { checked: None, images: BTreeMap::new() }
    }

    /// The lock of the workspace at `root`; an empty one when there is none.
    pub fn load(root: &Path) -> Result<Lock, LockError> {
        let path = root.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) => Lock::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lock::empty()),
            Err(source) => Err(LockError::Io { doing: "read", path, source }),
        }
    }

    /// Reads the text of a lock.
    pub fn parse(text: &str) -> Result<Lock, LockError> {
        let wrong = |slip: Slip| LockError::Wrong(Box::new(slip.in_file(Path::new(FILE), text)));
        let File { version, checked, image } =
            toml::from_str(text).map_err(|error| wrong(Slip::from_toml(&error)))?;
        if version != VERSION {
            return Err(LockError::Version { found: version });
        }
        Ok(Lock { checked, images: image.into_iter().map(|locked| (key(&locked), locked)).collect() })
    }

    /// The text of the file: sorted, so that a change is a small diff.
    pub fn to_text(&self) -> Result<String, LockError> {
        let file =
            File { version: VERSION, checked: self.checked, image: self.images.values().cloned().collect() };
        Ok(format!("{HEADER}{}", toml::to_string(&file)?))
    }

    /// Writes the lock of the workspace at `root` in one step, unless it is there already. Returns whether it changed.
    pub fn store(&self, root: &Path) -> Result<bool, LockError> {
        let path = root.join(FILE);
        let text = self.to_text()?;
        if std::fs::read_to_string(&path).is_ok_and(|current| current == text) {
            return Ok(false);
        }
        let failed = |source| LockError::Io { doing: "write", path: path.clone(), source };
        let folder = path.parent().unwrap_or(root);
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(true)
    }

    /// The entry of a tag.
    pub fn get(&self, destination: &Repository, tag: &str) -> Option<&Locked> {
        self.images.get(&(destination.to_string(), tag.to_owned()))
    }

    /// Adds or replaces an entry.
    pub fn insert(&mut self, locked: Locked) {
        self.images.insert(key(&locked), locked);
    }

    /// Where an image is to be pulled from: the mirrored copy of `wanted`, by digest. `wanted` may name the source or the
    /// destination, by tag, digest or both; without either there is nothing to look up.
    pub fn resolve(&self, wanted: &Reference) -> Option<String> {
        let repository = format!("{}/{}", wanted.registry, wanted.repository);
        let is_wanted = |locked: &&Locked| {
            let tag = wanted.tag.as_ref().is_none_or(|tag| *tag == locked.tag);
            let digest = wanted.digest.as_ref().is_none_or(|digest| {
                *digest == locked.digest || (!locked.held && digest == locked.at_source())
            });
            tag && digest && (locked.source == repository || locked.destination == repository)
        };
        let is_named = wanted.tag.is_some() || wanted.digest.is_some();
        self.images.values().filter(|_| is_named).find(is_wanted).map(Locked::reference)
    }
}

fn key(locked: &Locked) -> (String, String) {
    (locked.destination.clone(), locked.tag.clone())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A digest made of one digit.
    pub fn digest(digit: char) -> Digest {
        format!("sha256:{}", digit.to_string().repeat(64)).parse().unwrap()
    }

    pub fn locked(tag: &str, digit: char) -> Locked {
        Locked {
            source: "docker.io/library/golang".into(),
            destination: "quay.io/own/golang".into(),
            tag: tag.into(),
            digest: digest(digit),
            media_type: crate::document::INDEX.into(),
            upstream: None,
            held: false,
            size: 1000,
            reads: None,
            since: "2026-01-09T20:00:00Z".parse().unwrap(),
            platforms: [("linux/amd64".to_owned(), digest('b'))].into(),
            referrers: BTreeMap::new(),
        }
    }

    #[test]
    fn a_lock_is_read_as_it_was_written() {
        let mut lock = Lock { checked: Some("2026-01-10T04:17:00Z".parse().unwrap()), ..Lock::empty() };
        lock.insert(locked("1.25", 'a'));
        lock.insert(Locked { upstream: Some(digest('c')), ..locked("1.24", 'd') });
        let text = lock.to_text().unwrap();
        assert_eq!(Lock::parse(&text).unwrap(), lock);
        insta::assert_snapshot!(text, @r#"
        # Written by `cargo xtask mirror sync`; not to be edited. A tag listed here moves only with `--update`.

        version = 1
        checked = "2026-01-10T04:17:00Z"

        [[image]]
        source = "docker.io/library/golang"
        destination = "quay.io/own/golang"
        tag = "1.24"
        digest = "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
        media-type = "application/vnd.oci.image.index.v1+json"
        upstream = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
        size = 1000
        since = "2026-01-09T20:00:00Z"

        [image.platforms]
        "linux/amd64" = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

        [[image]]
        source = "docker.io/library/golang"
        destination = "quay.io/own/golang"
        tag = "1.25"
        digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        media-type = "application/vnd.oci.image.index.v1+json"
        size = 1000
        since = "2026-01-09T20:00:00Z"

        [image.platforms]
        "linux/amd64" = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
        "#);
    }

    #[test]
    fn an_unchanged_lock_is_not_written() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("images")).unwrap();
        let mut lock = Lock::load(root.path()).unwrap();
        assert_eq!(lock, Lock::empty());
        lock.insert(locked("1.25", 'a'));
        assert!(lock.store(root.path()).unwrap());
        assert!(!lock.store(root.path()).unwrap());
        assert_eq!(Lock::load(root.path()).unwrap(), lock);
    }

    #[test]
    fn references_to_either_side_resolve_to_the_copy_by_digest() {
        let mut lock = Lock::empty();
        lock.insert(Locked { upstream: Some(digest('c')), ..locked("1.25", 'a') });
        let copy = format!("quay.io/own/golang:1.25@{}", digest('a'));
        for (wanted, resolved) in [
            ("docker.io/library/golang:1.25".to_owned(), Some(&copy)),
            ("quay.io/own/golang:1.25".to_owned(), Some(&copy)),
            (format!("docker.io/library/golang:1.25@{}", digest('c')), Some(&copy)),
            (format!("docker.io/library/golang:1.25@{}", digest('9')), None),
            (format!("docker.io/library/golang@{}", digest('c')), Some(&copy)),
            ("docker.io/library/golang:1.24".to_owned(), None),
            ("docker.io/library/golang".to_owned(), None),
        ] {
            assert_eq!(lock.resolve(&wanted.parse().unwrap()).as_ref(), resolved, "{wanted}");
        }
    }

    #[test]
    fn what_sync_did_not_write_is_refused() {
        assert!(matches!(Lock::parse("version = 2\n"), Err(LockError::Version { found: 2 })));
        let error = Lock::parse("version = 1\n[[image]]\ntag = 1\n").unwrap_err().to_string();
        assert!(error.contains("images/mirror.lock:3") && error.contains("hint"), "{error}");
    }
}
