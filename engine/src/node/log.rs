//! Logs of containers: one file for each instance, lines as the container runtime interface has them.
//!
//! A line is `<time> <stdout|stderr> <F|P> <text>`; `P` marks a part of a line that was too long or had no end. A file that
//! grows beyond the limit is put aside once; what was put aside before is forgotten.

mod index;
mod read;
mod write;

pub(crate) use index::{Logs, PodLogs};
pub(crate) use read::{last_words, stream};
pub(crate) use write::collect;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;

/// A file that has become larger than this is put aside.
pub(crate) const LIMIT: u64 = 10 << 20;

/// The log of one instance of a container.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    limit: u64,
    progress: watch::Sender<Progress>,
}

/// How far a log is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    /// How often the file was put aside.
    rotations: u64,
    /// Bytes in the present file.
    size: u64,
    /// Nothing more will come.
    ended: bool,
}

impl Log {
    /// A log in an empty file.
    pub(crate) fn create(path: PathBuf, limit: u64) -> io::Result<Arc<Self>> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        std::fs::File::create(&path)?;
        Ok(Arc::new(Self { path, limit, progress: watch::Sender::default() }))
    }

    /// Where older lines are.
    fn aside(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".1");
        name.into()
    }

    /// Removes the files.
    pub(crate) fn remove(&self) {
        for path in [self.path.as_path(), &self.aside() as &Path] {
            if let Err(error) = std::fs::remove_file(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::debug!(path = %path.display(), %error, "cannot remove a log");
            }
        }
    }
}

#[cfg(test)]
mod tests;
