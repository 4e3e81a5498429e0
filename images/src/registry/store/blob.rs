//! Blobs: which repository has which, and their content.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{GRACE, Store, StoreError, age, io_error, make_parent, remove, under};
use crate::digest::Digest;
use crate::registry::answer::Fault;
use crate::registry::route::Repository;

impl Store {
    /// The size of a blob the repository has.
    pub fn blob_size(&self, repository: &Repository, digest: &Digest) -> Option<u64> {
        let marker = self.blob_marker(repository, digest);
        marker.exists().then(|| fs::metadata(self.content_path(digest)).ok())?.map(|metadata| metadata.len())
    }

    /// Keeps a blob somebody asked about from being collected while they push a manifest that needs it.
    pub fn freshen(&self, repository: &Repository, digest: &Digest) -> Result<(), StoreError> {
        let marker = self.blob_marker(repository, digest);
        if age(&marker).is_none_or(|age| age < GRACE / 2) {
            return Ok(());
        }
        touch(&marker)
    }

    /// Opens a blob the repository has.
    pub fn open_blob(&self, repository: &Repository, digest: &Digest) -> Result<(File, u64), Fault> {
        let size = self.blob_size(repository, digest).ok_or_else(|| Fault::BlobUnknown(digest.clone()))?;
        let path = self.content_path(digest);
        Ok((File::open(&path).map_err(io_error("open", &path))?, size))
    }

    /// Makes a blob of one repository one of another, too. Says whether there was one.
    pub fn mount(&self, from: &Repository, digest: &Digest, to: &Repository) -> Result<bool, Fault> {
        let _turn = self.take_turn()?;
        if self.blob_size(from, digest).is_none() {
            return Ok(false);
        }
        self.mark(to, digest)?;
        Ok(true)
    }

    /// Takes a blob from a repository. Its content stays until it is collected.
    pub fn delete_blob(&self, repository: &Repository, digest: &Digest) -> Result<(), Fault> {
        match remove(&self.blob_marker(repository, digest))? {
            true => Ok(()),
            false => Err(Fault::BlobUnknown(digest.clone())),
        }
    }

    /// Makes finished content a blob of the repository.
    pub(super) fn add_blob(
        &self,
        repository: &Repository,
        file: &File,
        from: &Path,
        digest: &Digest,
        size: u64,
    ) -> Result<(), StoreError> {
        let _turn = self.take_turn()?;
        self.keep(file, from, digest, size)?;
        self.mark(repository, digest)
    }

    fn mark(&self, repository: &Repository, digest: &Digest) -> Result<(), StoreError> {
        let marker = self.blob_marker(repository, digest);
        make_parent(&marker)?;
        touch(&marker)
    }

    pub(super) fn blob_marker(&self, repository: &Repository, digest: &Digest) -> PathBuf {
        under(self.part(repository, "_blobs"), digest)
    }
}

fn touch(path: &Path) -> Result<(), StoreError> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|file| file.set_modified(SystemTime::now()))
        .map_err(io_error("touch", path))
}
