//! Whose a volume is: with `fsGroup`, everything in it belongs to that group, which may read and write it.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use nix::unistd::Gid;

/// Set on directories: what is made in them belongs to their group.
const SET_GROUP: u32 = 0o2000;

/// The group a pod's volumes belong to.
pub(super) fn group(pod: &Pod) -> Option<Gid> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    u32::try_from(context.fs_group?).ok().map(Gid::from_raw)
}

/// Gives a writable volume to the group, with all it holds; a volume that belongs to it already is left as it is.
pub(super) fn give(volume: &Path, group: Option<Gid>) -> io::Result<()> {
    let Some(group) = group else { return Ok(()) };
    let metadata = fs::metadata(volume)?;
    let ours = metadata.gid() == group.as_raw() && metadata.mode() & 0o2770 == 0o2770;
    if ours { Ok(()) } else { give_tree(volume, group) }
}

fn give_tree(path: &Path, group: Gid) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    give_path(path, group)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.mode() & 0o7777;
    let more = if metadata.is_dir() { SET_GROUP | 0o770 } else { 0o660 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode | more))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            give_tree(&entry?.path(), group)?;
        }
    }
    Ok(())
}

/// Gives content that nobody writes to the group, permissions as they are.
pub(super) fn hand_over(path: &Path, group: Option<Gid>) -> io::Result<()> {
    let Some(group) = group else { return Ok(()) };
    give_path(path, group)?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            hand_over(&entry?.path(), Some(group))?;
        }
    }
    Ok(())
}

fn give_path(path: &Path, group: Gid) -> io::Result<()> {
    match lchown(path, None, Some(group.as_raw())) {
        // An engine without root has only one user, who stands in for whoever uses the volume.
        Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => Ok(()),
        answer => answer,
    }
}
