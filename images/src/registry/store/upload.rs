//! Uploads: files that grow until their digest is known. Nothing about them is in memory, so they survive a restart.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::PathBuf;

use uuid::Uuid;

use super::{Store, StoreError, io_error, make_parent, remove};
use crate::digest::{Digest, Hasher};
use crate::registry::answer::Fault;
use crate::registry::route::Repository;

/// An upload nobody else writes to; released when dropped, also by a kill.
pub(in crate::registry) struct Upload {
    /// Its file, positioned at the end.
    pub file: File,
    /// Bytes that have arrived.
    pub size: u64,
    path: PathBuf,
}

impl Store {
    pub fn begin_upload(&self, repository: &Repository) -> Result<Uuid, StoreError> {
        let id = Uuid::new_v4();
        let path = self.upload_path(repository, id);
        make_parent(&path)?;
        File::create_new(&path).map_err(io_error("begin", &path))?;
        Ok(id)
    }

    /// How much has arrived.
    pub fn upload_size(&self, repository: &Repository, id: Uuid) -> Result<u64, Fault> {
        let metadata = fs::metadata(self.upload_path(repository, id));
        metadata.map(|metadata| metadata.len()).map_err(|_| Fault::UploadUnknown(id.to_string()))
    }

    /// Opens an upload to write to it, after whoever writes to it now.
    pub fn open_upload(&self, repository: &Repository, id: Uuid) -> Result<Upload, Fault> {
        let path = self.upload_path(repository, id);
        let unknown = || Fault::UploadUnknown(id.to_string());
        let mut file = File::options().read(true).write(true).open(&path).map_err(|_| unknown())?;
        file.lock().map_err(io_error("lock", &path))?;
        // It may have been finished or cancelled while we waited.
        if !path.exists() {
            return Err(unknown());
        }
        let size = file.seek(SeekFrom::End(0)).map_err(io_error("read", &path))?;
        Ok(Upload { file, size, path })
    }

    pub fn cancel_upload(&self, repository: &Repository, id: Uuid) -> Result<(), Fault> {
        match remove(&self.upload_path(repository, id))? {
            true => Ok(()),
            false => Err(Fault::UploadUnknown(id.to_string())),
        }
    }

    /// Makes the upload a blob, if it is what it should be; otherwise it is thrown away. `hasher` has seen all of it, or it is read again.
    pub fn finish_upload(
        &self,
        repository: &Repository,
        mut upload: Upload,
        hasher: Option<Hasher>,
        expected: &Digest,
    ) -> Result<(), Fault> {
        let hasher = match hasher {
            Some(hasher) => hasher,
            None => hash(&mut upload, expected)?,
        };
        let found = hasher.finish();
        if found != *expected {
            remove(&upload.path)?;
            return Err(Fault::DigestInvalid(format!("the upload has the digest {found}, not {expected}")));
        }
        Ok(self.add_blob(repository, &upload.file, &upload.path, expected, upload.size)?)
    }

    fn upload_path(&self, repository: &Repository, id: Uuid) -> PathBuf {
        self.part(repository, "_uploads").join(id.to_string())
    }
}

impl Upload {
    /// Forgets what arrived after `size`.
    pub fn rewind(&mut self, size: u64) -> Result<(), StoreError> {
        self.file.set_len(size).map_err(io_error("shorten", &self.path))?;
        self.file.seek(SeekFrom::Start(size)).map_err(io_error("shorten", &self.path))?;
        self.size = size;
        Ok(())
    }

    /// Notes what a body added.
    pub fn grown(&mut self, by: u64) {
        self.size += by;
    }
}

fn hash(upload: &mut Upload, expected: &Digest) -> Result<Hasher, StoreError> {
    struct Feed(Hasher);
    impl io::Write for Feed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut feed = Feed(Hasher::new(expected.algorithm()));
    let mut reader = io::BufReader::with_capacity(1 << 17, &mut upload.file);
    reader
        .rewind()
        .and_then(|()| io::copy(&mut reader, &mut feed))
        .map_err(io_error("read", &upload.path))?;
    Ok(feed.0)
}
