//! Paths inside a directory somebody else filled: nothing that is resolved here can leave the directory.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};

/// A directory that is the root of everything resolved through it, as if by `chroot`.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Opens `path` itself, which is trusted.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::OpenOptionsExt;

        let flags = OFlag::O_DIRECTORY | OFlag::O_PATH;
        let file = File::options().read(true).custom_flags(flags.bits()).open(path)?;
        Ok(Self(file.into()))
    }

    /// Opens `path` inside the root; symbolic links are followed inside the root.
    pub fn resolve(&self, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
        let inside = inside(path);
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        loop {
            match openat2(self.0.as_fd(), &inside, how) {
                // The kernel could not rule out a race with a rename.
                Err(Errno::EAGAIN) => {}
                answer => return answer,
            }
        }
    }

    /// Opens the directory `path`, making it and its parents where they are missing.
    pub fn directory(&self, path: &Path, mode: Mode) -> Result<OwnedFd, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match self.resolve(path, flags) {
            Err(Errno::ENOENT) => {}
            answer => return answer,
        }
        let (parent, name) = self.parent(path, mode)?;
        match mkdirat(parent.as_fd(), name.as_os_str(), mode) {
            Ok(()) | Err(Errno::EEXIST) => self.resolve(path, flags),
            Err(errno) => Err(errno),
        }
    }

    /// Opens the directory `path` is in, making it where missing, and names the last component.
    pub fn parent(&self, path: &Path, mode: Mode) -> Result<(OwnedFd, OsString), Errno> {
        let inside = inside(path);
        let name = inside.file_name().ok_or(Errno::EINVAL)?.to_owned();
        let parent = inside.parent().unwrap_or(Path::new(""));
        Ok((self.directory(parent, mode)?, name))
    }
}

/// The path relative to the root; `.` for the root itself.
fn inside(path: &Path) -> PathBuf {
    let relative: PathBuf =
        path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir)).collect();
    if relative.as_os_str().is_empty() { PathBuf::from(".") } else { relative }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_and_dots_stay_inside() {
        let outside = tempfile::tempdir().unwrap();
        let directory = outside.path().join("root");
        std::fs::create_dir(&directory).unwrap();
        symlink("/elsewhere", directory.join("absolute")).unwrap();
        symlink("../..", directory.join("up")).unwrap();
        std::fs::create_dir(directory.join("elsewhere")).unwrap();
        let root = Root::open(&directory).unwrap();
        root.directory(Path::new("/absolute/a/b"), Mode::from_bits_truncate(0o755)).unwrap();
        root.directory(Path::new("up/c"), Mode::from_bits_truncate(0o755)).unwrap();
        root.directory(Path::new("../../d"), Mode::from_bits_truncate(0o755)).unwrap();
        assert!(directory.join("elsewhere/a/b").is_dir());
        assert!(directory.join("c").is_dir());
        assert!(directory.join("d").is_dir());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_root_itself_resolves() {
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        root.directory(Path::new("/"), Mode::S_IRWXU).unwrap();
        root.directory(Path::new("./"), Mode::S_IRWXU).unwrap();
    }
}
