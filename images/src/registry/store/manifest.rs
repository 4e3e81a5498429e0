//! Manifests, the tags that point at them, and who refers to whom.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, io_error, names, remove, under};
use crate::digest::Digest;
use crate::document::Descriptor;
use crate::registry::answer::Fault;
use crate::registry::route::{Repository, Version};

/// What is known about a manifest besides its bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::registry) struct Record {
    /// Its media type.
    pub media_type: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
}

impl Store {
    /// Which manifest a tag or digest means, if the repository has it.
    pub fn find_manifest(
        &self,
        repository: &Repository,
        version: &Version,
    ) -> Result<(Digest, Record), Fault> {
        let digest = match version {
            Version::Digest(digest) => digest.clone(),
            Version::Tag(tag) => {
                self.tag_target(repository, tag)?.ok_or_else(|| Fault::ManifestUnknown(tag.clone()))?
            }
        };
        match self.record(repository, &digest)? {
            Some(record) => Ok((digest, record)),
            None => Err(Fault::ManifestUnknown(digest.to_string())),
        }
    }

    /// The bytes of a manifest.
    pub fn manifest_bytes(&self, digest: &Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.content_path(digest);
        fs::read(&path).map_err(io_error("read", &path))
    }

    pub fn has_manifest(&self, repository: &Repository, digest: &Digest) -> bool {
        self.record_path(repository, digest).exists()
    }

    /// Stores a manifest, lists it with its subject and points the tags at it, in that order.
    pub fn put_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
        bytes: &[u8],
        record: &Record,
        as_referrer: Option<&Descriptor>,
        tags: &[String],
    ) -> Result<(), Fault> {
        let _turn = self.take_turn()?;
        self.replace(&self.content_path(digest), bytes)?;
        let path = self.record_path(repository, digest);
        self.replace(&path, &to_json(&path, record)?)?;
        if let (Some(subject), Some(descriptor)) = (&record.subject, as_referrer) {
            let path = self.referrer_path(repository, subject, digest);
            self.replace(&path, &to_json(&path, descriptor)?)?;
        }
        for tag in tags {
            self.replace(&self.tag_path(repository, tag), digest.to_string().as_bytes())?;
        }
        Ok(())
    }

    /// Takes a manifest and every tag that points at it from the repository.
    pub fn delete_manifest(&self, repository: &Repository, digest: &Digest) -> Result<(), Fault> {
        let _turn = self.take_turn()?;
        let record = self.record(repository, digest)?;
        let record = record.ok_or_else(|| Fault::ManifestUnknown(digest.to_string()))?;
        for tag in self.tags(repository)? {
            if self.tag_target(repository, &tag)?.as_ref() == Some(digest) {
                remove(&self.tag_path(repository, &tag))?;
            }
        }
        if let Some(subject) = &record.subject {
            remove(&self.referrer_path(repository, subject, digest))?;
        }
        remove(&self.record_path(repository, digest))?;
        Ok(())
    }

    /// Takes a tag from the repository; the manifest stays.
    pub fn delete_tag(&self, repository: &Repository, tag: &str) -> Result<(), Fault> {
        let _turn = self.take_turn()?;
        match remove(&self.tag_path(repository, tag))? {
            true => Ok(()),
            false => Err(Fault::ManifestUnknown(tag.to_string())),
        }
    }

    /// All tags, in the order the specification asks for.
    pub fn tags(&self, repository: &Repository) -> Result<Vec<String>, StoreError> {
        let mut tags = names(&self.part(repository, "_tags"))?;
        tags.sort_by_cached_key(|tag| (tag.to_ascii_lowercase(), tag.clone()));
        Ok(tags)
    }

    /// Descriptors of the manifests about `subject`, in the order of their digests.
    pub fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, StoreError> {
        let dir = self.referrers_dir(repository, subject);
        let mut files = names(&dir)?;
        files.sort();
        let read = |name: String| from_json(&dir.join(name));
        files.into_iter().filter_map(|name| read(name).transpose()).collect()
    }

    /// Digests of all manifests of the repository.
    pub(super) fn manifests(&self, repository: &Repository) -> Result<BTreeSet<Digest>, StoreError> {
        let dir = self.part(repository, "_manifests");
        let mut digests = BTreeSet::new();
        for algorithm in names(&dir)? {
            let files = names(&dir.join(&algorithm))?;
            digests
                .extend(files.iter().filter_map(|hex| format!("{algorithm}:{hex}").parse::<Digest>().ok()));
        }
        Ok(digests)
    }

    fn record(&self, repository: &Repository, digest: &Digest) -> Result<Option<Record>, StoreError> {
        from_json(&self.record_path(repository, digest))
    }

    fn tag_target(&self, repository: &Repository, tag: &str) -> Result<Option<Digest>, StoreError> {
        let text = match fs::read_to_string(self.tag_path(repository, tag)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io_error("read", &self.tag_path(repository, tag))(error)),
        };
        Ok(text.parse().ok())
    }

    fn record_path(&self, repository: &Repository, digest: &Digest) -> PathBuf {
        under(self.part(repository, "_manifests"), digest)
    }

    fn tag_path(&self, repository: &Repository, tag: &str) -> PathBuf {
        self.part(repository, "_tags").join(tag)
    }

    fn referrers_dir(&self, repository: &Repository, subject: &Digest) -> PathBuf {
        self.part(repository, "_referrers").join(format!("{}-{}", subject.algorithm().name(), subject.hex()))
    }

    fn referrer_path(&self, repository: &Repository, subject: &Digest, digest: &Digest) -> PathBuf {
        let name = format!("{}-{}", digest.algorithm().name(), digest.hex());
        self.referrers_dir(repository, subject).join(name)
    }
}

fn to_json(path: &Path, document: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(document).map_err(|source| StoreError::Malformed { path: path.to_path_buf(), source })
}

/// The document at `path`, if there is one.
fn from_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error("read", path)(error)),
    };
    let malformed = |source| StoreError::Malformed { path: path.to_path_buf(), source };
    serde_json::from_slice(&bytes).map(Some).map_err(malformed)
}
