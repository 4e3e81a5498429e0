//! Unpacks one layer. Whatever the archive says, nothing outside the target directory is touched.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, UtimensatFlags, fchmod, futimens, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, linkat, mkfifoat, symlinkat, unlinkat};
use serde::{Deserialize, Serialize};
use tar::{Archive, Entry, EntryType};

use super::digest::{Digest, DigestReader};
use crate::node::rooted::Root;

/// What an archive may put between two entries.
const BETWEEN_ENTRIES: u64 = 2 << 20;

const DIRECTORY: Mode = Mode::from_bits_truncate(0o755);

/// How much one layer may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 16 << 30, entries: 1 << 20 }
    }
}

/// What a layer takes away from those below it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Whiteouts {
    /// Paths that disappear.
    pub removed: BTreeSet<PathBuf>,
    /// Directories of which nothing below shows.
    pub opaque: BTreeSet<PathBuf>,
}

impl Whiteouts {
    pub(super) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.opaque.is_empty()
    }
}

/// A layer that is not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The archive cannot be read, or the disk not be written.
    #[error("unpacking: {0}")]
    Io(#[from] io::Error),
    /// An entry is not acceptable.
    #[error("entry {path:?}: {problem}")]
    Entry {
        /// Its path in the archive.
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// More than a layer may hold.
    #[error("the layer holds more than {0}")]
    TooLarge(String),
}

/// Unpacks the archive into the empty directory `target`; returns its whiteouts and the digest of the archive without
/// compression.
pub(super) fn unpack(
    mut blob: File,
    target: &Path,
    limits: Limits,
) -> Result<(Whiteouts, Digest), UnpackError> {
    let mut magic = [0; 4];
    let known = read_up_to(&mut blob, &mut magic)?;
    blob.rewind()?;
    let blob = BufReader::with_capacity(1 << 16, blob);
    match magic.get(..known).unwrap_or_default() {
        [0x1f, 0x8b, ..] => unpack_archive(MultiGzDecoder::new(blob), target, limits),
        [0x28, 0xb5, 0x2f, 0xfd] => unpack_archive(zstd::Decoder::new(blob)?, target, limits),
        _ => unpack_archive(blob, target, limits),
    }
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut known = 0;
    while let Some(rest) = buffer.get_mut(known..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            count => known += count,
        }
    }
    Ok(known)
}

fn unpack_archive(
    reader: impl Read,
    target: &Path,
    limits: Limits,
) -> Result<(Whiteouts, Digest), UnpackError> {
    let allowed = Rc::new(Cell::new(BETWEEN_ENTRIES));
    let reader = Bounded { inner: DigestReader::new(reader), allowed: allowed.clone() };
    let mut archive = Archive::new(reader);
    let mut layer =
        Layer { root: Root::open(target)?, whiteouts: Whiteouts::default(), directories: Vec::new() };
    let (mut bytes, mut entries) = (0_u64, 0_u64);
    for entry in archive.entries()? {
        let mut entry = entry?;
        entries += 1;
        bytes = bytes.saturating_add(entry.size());
        if entries > limits.entries {
            return Err(UnpackError::TooLarge(format!("{} entries", limits.entries)));
        }
        if bytes > limits.bytes {
            return Err(UnpackError::TooLarge(format!("{} bytes", limits.bytes)));
        }
        allowed.set(entry.size().saturating_add(BETWEEN_ENTRIES));
        layer.add(&mut entry)?;
    }
    let whiteouts = layer.finish()?;
    // What follows the last entry belongs to the digest; there is little of it in any sound archive.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink())?;
    Ok((whiteouts, rest.inner.finish()?))
}

/// Gives no more than is allowed: what an archive puts between its entries (long names, extended headers) is read into memory, and must not
/// fill it.
struct Bounded<R> {
    inner: R,
    allowed: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let left = self.allowed.get().checked_sub(count as u64);
        let left = left.ok_or_else(|| io::Error::other("names and headers of the layer are too long"))?;
        self.allowed.set(left);
        Ok(count)
    }
}

struct Layer {
    root: Root,
    whiteouts: Whiteouts,
    /// Modes and times are set last: a directory may forbid what is still to be done in it.
    directories: Vec<(PathBuf, Metadata)>,
}

#[derive(Clone, Copy)]
struct Metadata {
    mode: Mode,
    uid: u32,
    gid: u32,
    modified: TimeSpec,
}

impl Layer {
    fn add(&mut self, entry: &mut Entry<'_, impl Read>) -> Result<(), UnpackError> {
        let written = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let refuse = |problem: String| UnpackError::Entry { path: written.clone(), problem };
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            return Ok(());
        }
        let path = inside(&entry.path()?).ok_or_else(|| refuse("leaves the layer".to_owned()))?;
        let failed = |errno: Errno| refuse(errno.desc().to_owned());
        let Some(name) = path.file_name() else {
            // The root directory itself.
            self.directories.push((path, metadata(entry)?));
            return Ok(());
        };
        if let Some(hidden) = name.to_str().and_then(|name| name.strip_prefix(".wh.")) {
            self.whiteout(&path, hidden);
            return Ok(());
        }
        let (parent, name) = self.root.parent(&path, DIRECTORY).map_err(failed)?;
        let name = name.as_os_str();
        let metadata = metadata(entry)?;
        if kind != EntryType::Directory {
            clear(&parent, name)?;
        }
        match kind {
            EntryType::Directory => {
                match mkdirat(parent.as_fd(), name, DIRECTORY) {
                    Err(Errno::EEXIST)
                        if self.root.resolve(&path, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).is_ok() => {}
                    Err(Errno::EEXIST) => {
                        clear(&parent, name)?;
                        mkdirat(parent.as_fd(), name, DIRECTORY).map_err(failed)?;
                    }
                    answer => answer.map_err(failed)?,
                }
                self.directories.push((path, metadata));
            }
            EntryType::Regular | EntryType::Continuous => {
                let flags =
                    OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let file =
                    openat(parent.as_fd(), name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(failed)?;
                let mut file = File::from(file);
                io::copy(entry, &mut file)?;
                own(&parent, name, metadata);
                fchmod(&file, metadata.mode).map_err(failed)?;
                futimens(&file, &metadata.modified, &metadata.modified).map_err(failed)?;
            }
            EntryType::Symlink => {
                let target =
                    entry.link_name_bytes().ok_or_else(|| refuse("link without a target".to_owned()))?;
                symlinkat(&*target, parent.as_fd(), name).map_err(failed)?;
                own(&parent, name, metadata);
                let times = (&metadata.modified, &metadata.modified);
                utimensat(parent.as_fd(), name, times.0, times.1, UtimensatFlags::NoFollowSymlink)
                    .map_err(failed)?;
            }
            EntryType::Link => {
                let target = entry.link_name()?.ok_or_else(|| refuse("link without a target".to_owned()))?;
                let target =
                    inside(&target).ok_or_else(|| refuse("links to outside the layer".to_owned()))?;
                let missing =
                    |errno: Errno| refuse(format!("linking to {}: {}", target.display(), errno.desc()));
                let (directory, original) = self.root.parent(&target, DIRECTORY).map_err(missing)?;
                linkat(directory.as_fd(), original.as_os_str(), parent.as_fd(), name, AtFlags::empty())
                    .map_err(missing)?;
            }
            EntryType::Fifo => {
                mkfifoat(parent.as_fd(), name, metadata.mode).map_err(failed)?;
                own(&parent, name, metadata);
            }
            EntryType::Char | EntryType::Block => return Err(refuse("device nodes are refused".to_owned())),
            other => return Err(refuse(format!("unsupported kind of entry {:?}", other.as_byte() as char))),
        }
        Ok(())
    }

    fn whiteout(&mut self, path: &Path, hidden: &str) {
        let directory = path.parent().unwrap_or(Path::new(""));
        if hidden == ".wh..opq" {
            self.whiteouts.opaque.insert(directory.to_owned());
        } else if !hidden.starts_with(".wh.") && !matches!(hidden, "" | "." | "..") {
            self.whiteouts.removed.insert(directory.join(hidden));
        }
    }

    fn finish(self) -> Result<Whiteouts, UnpackError> {
        for (path, metadata) in self.directories.iter().rev() {
            let failed = |errno: Errno| UnpackError::Entry {
                path: path.display().to_string(),
                problem: errno.desc().to_owned(),
            };
            let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_RDONLY;
            match self.root.resolve(path, flags) {
                Ok(directory) => {
                    own(&directory, "".as_ref(), *metadata);
                    fchmod(&directory, metadata.mode).map_err(failed)?;
                    futimens(&directory, &metadata.modified, &metadata.modified).map_err(failed)?;
                }
                // Replaced by a later entry.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(self.whiteouts)
    }
}

/// The path without leading slashes and dots; `None` when it climbs.
fn inside(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

fn metadata(entry: &Entry<'_, impl Read>) -> Result<Metadata, UnpackError> {
    let header = entry.header();
    // Some archivers leave fields they do not use empty.
    let owner = |id: io::Result<u64>| id.ok().and_then(|id| u32::try_from(id).ok()).unwrap_or(0);
    Ok(Metadata {
        mode: Mode::from_bits_truncate(header.mode()? & 0o7777),
        uid: owner(header.uid()),
        gid: owner(header.gid()),
        modified: TimeSpec::new(
            header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or(0),
            0,
        ),
    })
}

/// Removes what an earlier entry left at this place.
fn clear(parent: &OwnedFd, name: &std::ffi::OsStr) -> Result<(), UnpackError> {
    match unlinkat(parent.as_fd(), name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(Errno::EISDIR) => {
            let path = Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(name);
            Ok(std::fs::remove_dir_all(path)?)
        }
        Err(errno) => Err(io::Error::from(errno).into()),
    }
}

/// Gives a file to its owner; an empty name is the directory itself.
fn own(parent: &OwnedFd, name: &std::ffi::OsStr, metadata: Metadata) {
    let (uid, gid) = (Uid::from_raw(metadata.uid), Gid::from_raw(metadata.gid));
    let flags = AtFlags::AT_SYMLINK_NOFOLLOW | AtFlags::AT_EMPTY_PATH;
    // In a user namespace most owners do not exist; the files then belong to its root, as everything does there.
    let _ = fchownat(parent.as_fd(), name, Some(uid), Some(gid), flags);
}

#[cfg(test)]
mod tests;
