//! The directory behind the registry.
//!
//! ```text
//! blobs/<algorithm>/<hex>                       content of blobs and manifests, each once
//! repositories/<name>/_blobs/<algorithm>/<hex>  the repository has that blob (an empty file)
//!                    /_manifests/…              … that manifest: its media type and subject
//!                    /_tags/<tag>               the digest a tag points at
//!                    /_referrers/<subject>/…    descriptors of the manifests about a subject
//!                    /_uploads/<id>             what has arrived of an unfinished blob
//! ```
//!
//! A name never begins with `_`, so repositories and the folders inside them cannot collide. Everything is written aside and renamed; what
//! belongs together changes in a turn, a file lock that a kill releases.

mod blob;
mod collect;
mod manifest;
mod upload;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use collect::Collected;
pub(super) use manifest::Record;
pub(super) use upload::Upload;

use super::answer::Fault;
use super::route::Repository;
use crate::digest::Digest;

/// What nothing refers to is kept this long: it may be part of a push that is under way.
const GRACE: Duration = Duration::from_secs(3600);

/// The store.
#[derive(Debug)]
pub(super) struct Store {
    dir: PathBuf,
}

/// The registry's directory does not work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error("{step} {}", path.display())]
    Io {
        /// What was attempted.
        step: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A document of the store is not what it should be.
    #[error("understand {}", path.display())]
    Malformed {
        /// The document.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The process is ending.
    #[error("finish what was begun")]
    Interrupted,
}

fn io_error(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_path_buf();
    move |source| StoreError::Io { step, path, source }
}

impl Store {
    pub fn open(dir: PathBuf) -> Result<Store, StoreError> {
        let store = Store { dir };
        for part in ["blobs", "repositories", "staging"] {
            make_dir(&store.dir.join(part))?;
        }
        Ok(store)
    }

    /// Runs file work where it may block.
    pub async fn run<T: Send + 'static>(
        self: &Arc<Store>,
        work: impl FnOnce(&Store) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let store = self.clone();
        let task = tokio::task::spawn_blocking(move || work(&store));
        task.await.map_err(|_| StoreError::Interrupted)?
    }

    /// Whether anything was ever pushed to the repository.
    pub fn has_repository(&self, repository: &Repository) -> bool {
        ["_manifests", "_blobs", "_uploads"].iter().any(|part| self.part(repository, part).is_dir())
    }

    /// Every repository something was ever pushed to, sorted.
    pub fn repositories(&self) -> Result<Vec<Repository>, StoreError> {
        let mut found = Vec::new();
        let mut open = vec![(self.dir.join("repositories"), String::new())];
        while let Some((dir, name)) = open.pop() {
            for component in names(&dir)?.into_iter().filter(|component| !component.starts_with('_')) {
                let name = if name.is_empty() { component.clone() } else { format!("{name}/{component}") };
                open.push((dir.join(component), name.clone()));
                found.extend(Repository::parse(&name).filter(|repository| self.has_repository(repository)));
            }
        }
        found.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(found)
    }

    fn part(&self, repository: &Repository, part: &str) -> PathBuf {
        self.dir.join("repositories").join(repository.name()).join(part)
    }

    fn content_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    /// Moves a finished file to its place among the blobs. Call it in a turn: who finds the blob there already relies on it staying.
    fn keep(&self, file: &File, from: &Path, digest: &Digest, size: u64) -> Result<(), StoreError> {
        let path = self.content_path(digest);
        if let Ok(present) = File::options().append(true).open(&path)
            && present.metadata().is_ok_and(|metadata| metadata.len() == size)
        {
            // Young again, so that a garbage collection does not take it before a manifest refers to it.
            present.set_modified(SystemTime::now()).map_err(io_error("touch", &path))?;
            return fs::remove_file(from).map_err(io_error("remove", from));
        }
        make_parent(&path)?;
        file.sync_data().map_err(io_error("flush", from))?;
        fs::rename(from, &path).map_err(io_error("write", &path))
    }

    /// Writes a small file aside and renames it.
    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        make_parent(path)?;
        let staging = self.dir.join("staging");
        let mut file = tempfile::NamedTempFile::new_in(&staging).map_err(io_error("write in", &staging))?;
        file.write_all(bytes).map_err(io_error("write", path))?;
        file.as_file().sync_data().map_err(io_error("flush", path))?;
        file.persist(path).map_err(|error| io_error("write", path)(error.error))?;
        Ok(())
    }

    /// Waits until nobody else, here or in another process, changes what belongs together. Ends when the file is dropped.
    fn take_turn(&self) -> Result<File, StoreError> {
        let path = self.dir.join("turn.lock");
        let file = File::create(&path).map_err(io_error("open", &path))?;
        file.lock().map_err(io_error("lock", &path))?;
        Ok(file)
    }
}

/// `<algorithm>/<hex>` below a folder of a repository.
fn under(dir: PathBuf, digest: &Digest) -> PathBuf {
    dir.join(digest.algorithm().name()).join(digest.hex())
}

fn make_dir(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(io_error("make the directory", path))
}

fn make_parent(path: &Path) -> Result<(), StoreError> {
    path.parent().map_or(Ok(()), make_dir)
}

/// Names in a directory; none if there is no such directory.
fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io_error("list", dir)(error)),
    };
    entries
        .map(|entry| Ok(entry.map_err(io_error("list", dir))?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// Removes a file; says whether it was there.
fn remove(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io_error("remove", path)(error)),
    }
}

fn age(path: &Path) -> Option<Duration> {
    SystemTime::now().duration_since(fs::metadata(path).ok()?.modified().ok()?).ok()
}
