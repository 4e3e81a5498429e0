//! A blob whose digest is known before it is there. What has arrived of it outlives the process: the next one continues.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::{Layout, LayoutError, io_error};
use crate::digest::Digest;
use crate::held::hold;

/// What has arrived of a blob. Nobody else writes it; invisible until [`Partial::complete`].
#[derive(Debug)]
pub struct Partial {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Layout {
    /// Opens what has arrived of a blob, or begins it. While another process is at it, a file of our own.
    pub fn partial(&self, digest: &Digest) -> Result<Partial, LayoutError> {
        let target = self.blob_path(digest);
        let staging = self.staging();
        let shared = staging.join(format!("{}-{}.part", digest.algorithm().name(), digest.hex()));
        let own = staging.join(format!("{}.part", uuid::Uuid::new_v4()));
        for path in [shared, own] {
            let mut options = File::options();
            options.read(true).append(true).create(true);
            if let Some(file) = hold(&options, &path).map_err(io_error("open and lock", &path))? {
                return Ok(Partial { file, path, target });
            }
        }
        Err(io_error("write a blob in", &staging)(io::ErrorKind::AlreadyExists.into()))
    }
}

impl Partial {
    /// The file, for reading from its beginning and writing at its end.
    pub fn reopen(&self) -> Result<File, LayoutError> {
        File::options().read(true).append(true).open(&self.path).map_err(io_error("open", &self.path))
    }

    /// Where it is until it is complete.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that have arrived.
    pub fn size(&self) -> Result<u64, LayoutError> {
        Ok(self.file.metadata().map_err(io_error("read", &self.path))?.len())
    }

    /// Begins again.
    pub fn clear(&self) -> Result<(), LayoutError> {
        self.file.set_len(0).map_err(io_error("write", &self.path))
    }

    /// Makes it the blob it was checked to be.
    pub fn complete(self) -> Result<(), LayoutError> {
        let Partial { file, path, target } = self;
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(io_error("make the directory", parent))?;
        }
        file.set_permissions(fs::Permissions::from_mode(0o644))
            .map_err(io_error("set the permissions of", &path))?;
        fs::rename(&path, &target).map_err(io_error("write", &target))
    }

    /// Throws away what is not what it should be.
    pub fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_arrived_is_still_there_and_only_one_continues_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::open(dir.path()).unwrap();
        let digest = Digest::of(b"abc");
        let first = layout.partial(&digest).unwrap();
        first.reopen().unwrap().write_all(b"ab").unwrap();
        let other = layout.partial(&digest).unwrap();
        assert_eq!((first.size().unwrap(), other.size().unwrap()), (2, 0));
        other.discard();
        drop(first);
        let again = layout.partial(&digest).unwrap();
        assert_eq!(again.size().unwrap(), 2);
        again.reopen().unwrap().write_all(b"c").unwrap();
        again.complete().unwrap();
        assert_eq!(fs::read(layout.blob_path(&digest)).unwrap(), b"abc");
        assert_eq!(layout.partial(&digest).unwrap().size().unwrap(), 0);
    }
}
