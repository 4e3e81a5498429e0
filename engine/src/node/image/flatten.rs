//! Composes layers into one directory by hard links, for images in which a layer takes something away from those below it.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::unpack::Whiteouts;
use crate::node::rooted::Root;

/// Adds the unpacked `layer` to `target`.
pub(super) fn add_layer(layer: &Path, whiteouts: &Whiteouts, target: &Path) -> io::Result<()> {
    let root = Root::open(target)?;
    for path in &whiteouts.removed {
        let parent = path.parent().unwrap_or(Path::new(""));
        if let (Some(directory), Some(name)) = (existing(&root, parent)?, path.file_name()) {
            remove(&descriptor_path(&directory).join(name))?;
        }
    }
    for path in &whiteouts.opaque {
        if let Some(directory) = existing(&root, path)? {
            for entry in fs::read_dir(descriptor_path(&directory))? {
                remove(&entry?.path())?;
            }
        }
    }
    link_tree(layer, target)
}

fn existing(root: &Root, directory: &Path) -> io::Result<Option<OwnedFd>> {
    match root.resolve(directory, OFlag::O_PATH | OFlag::O_DIRECTORY) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn descriptor_path(directory: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Every component below `target` is a real directory by the time something is put into it, so no link is ever followed.
fn link_tree(from: &Path, target: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, lchown};

    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, place) = (entry.path(), target.join(entry.file_name()));
        let metadata = entry.metadata()?;
        if !metadata.is_dir() {
            remove(&place)?;
            fs::hard_link(&source, &place)?;
            continue;
        }
        if fs::symlink_metadata(&place).is_ok_and(|existing| !existing.is_dir()) {
            fs::remove_file(&place)?;
        }
        match fs::create_dir(&place) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _made_or_there => {}
        }
        link_tree(&source, &place)?;
        let _unmapped_owner = lchown(&place, Some(metadata.uid()), Some(metadata.gid()));
        fs::set_permissions(&place, metadata.permissions())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn upper_layers_add_replace_and_take_away() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for made in ["base/etc/deep", "base/var/cache", "top/lib", "top/var", "flat"] {
            fs::create_dir_all(path(made)).unwrap();
        }
        fs::write(path("base/etc/gone"), "").unwrap();
        fs::write(path("base/etc/kept"), "base").unwrap();
        fs::write(path("base/var/cache/old"), "").unwrap();
        symlink("usr/lib", path("base/lib")).unwrap();
        symlink(directory.path(), path("base/escape")).unwrap();
        fs::write(path("victim"), "untouched").unwrap();
        fs::write(path("top/lib/new"), "top").unwrap();
        fs::write(path("top/var/new"), "top").unwrap();
        let whiteouts = Whiteouts {
            removed: ["etc/gone", "etc/deep", "escape/victim", "never/there"].map(PathBuf::from).into(),
            opaque: ["var"].map(PathBuf::from).into(),
        };
        add_layer(&path("base"), &Whiteouts::default(), &path("flat")).unwrap();
        add_layer(&path("top"), &whiteouts, &path("flat")).unwrap();
        let names = |name: &str| {
            let mut names: Vec<_> =
                fs::read_dir(path(name)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names("flat/etc"), ["kept"]);
        assert_eq!(names("flat/var"), ["new"]);
        assert_eq!(names("flat/lib"), ["new"]);
        assert_eq!(fs::read_to_string(path("victim")).unwrap(), "untouched");
        assert_eq!(names("base/etc"), ["deep", "gone", "kept"], "the layer itself is as it was");
    }
}
