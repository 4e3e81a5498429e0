//! Builds the file system of a container and makes it the root, inside the container's own mount namespace.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{chdir, pivot_root};

use super::entry::Failure;
use super::spec::{Mount, Rootfs};
use crate::node::rooted::Root;

const NONE: Option<&str> = None;
const DIRECTORY: Mode = Mode::from_bits_truncate(0o755);

/// Device files every container has, taken from the node.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Parts of `/proc` that would let a container change or read the node.
const PROC_READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
const PROC_MASKED: [&str; 5] = ["kcore", "keys", "latency_stats", "timer_list", "sched_debug"];

/// Makes `rootfs` the root directory of the calling process.
pub(super) fn enter(rootfs: &Rootfs) -> Result<(), Failure> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .map_err(|errno| Failure::new("making mounts private", errno))?;
    let merged = writable_copy(rootfs)?;
    let root = Root::open(&merged).map_err(|error| Failure::new("opening the root file system", error))?;
    kernel_file_systems(&root, rootfs.privileged)?;
    devices(&root)?;
    for entry in &rootfs.mounts {
        volume(&root, entry)?;
    }
    if rootfs.read_only {
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(NONE, &merged, NONE, flags, NONE)
            .map_err(|errno| Failure::new("making the root file system read-only", errno))?;
    }
    switch(&merged).map_err(|errno| Failure::new("switching to the root file system", errno))
}

/// The image's layers with an empty layer in memory on top, as an overlay or, where the kernel refuses one, as a copy.
fn writable_copy(rootfs: &Rootfs) -> Result<PathBuf, Failure> {
    let step = || format!("preparing a root file system in {}", rootfs.scratch.display());
    mount(Some("rootfs"), &rootfs.scratch, Some("tmpfs"), MsFlags::empty(), Some("mode=0755"))
        .map_err(|errno| Failure::new(step(), errno))?;
    let [upper, work, merged] = ["upper", "work", "root"].map(|name| rootfs.scratch.join(name));
    for directory in [&upper, &work, &merged] {
        fs::create_dir(directory).map_err(|error| Failure::new(step(), error))?;
    }
    match overlay(&rootfs.layers, &upper, &work, &merged) {
        Ok(()) => Ok(merged),
        Err(_refused) => {
            for layer in rootfs.layers.iter().rev() {
                copy_tree(layer, &upper)
                    .map_err(|error| Failure::new(format!("copying layer {}", layer.display()), error))?;
            }
            // A mount of its own: it can be made read-only, and `pivot_root` wants one.
            mount(Some(&upper), &upper, NONE, MsFlags::MS_BIND, NONE)
                .map_err(|errno| Failure::new(step(), errno))?;
            Ok(upper)
        }
    }
}

fn overlay(layers: &[PathBuf], upper: &Path, work: &Path, merged: &Path) -> Result<(), Errno> {
    // Relative names keep many layers within the one page the kernel takes as options.
    let mut ancestors = layers.first().ok_or(Errno::EINVAL)?.ancestors().skip(1);
    let common = ancestors.find(|candidate| layers.iter().all(|layer| layer.starts_with(candidate)));
    let common = common.ok_or(Errno::EINVAL)?;
    let names: Option<Vec<&str>> =
        layers.iter().map(|layer| layer.strip_prefix(common).ok()?.to_str()).collect();
    let names = names.ok_or(Errno::EINVAL)?.join(":");
    chdir(common)?;
    let options = format!("lowerdir={names},upperdir={},workdir={}", upper.display(), work.display());
    match overlay_with(&options, merged) {
        // In a user namespace the overlay keeps its notes in attributes the user may write.
        Err(Errno::EPERM | Errno::EINVAL | Errno::EOPNOTSUPP) => {
            overlay_with(&format!("{options},userxattr"), merged)
        }
        answer => answer,
    }
}

fn overlay_with(options: &str, merged: &Path) -> Result<(), Errno> {
    mount(Some("overlay"), merged, Some("overlay"), MsFlags::empty(), Some(options))
}

/// Copies what is below `from` into `to`, where later layers replace what earlier ones left.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, lchown, symlink};

    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let metadata = entry.metadata()?;
        let existing = fs::symlink_metadata(&target).ok();
        if metadata.is_dir() {
            if existing.as_ref().is_some_and(|existing| !existing.is_dir()) {
                fs::remove_file(&target)?;
            }
            fs::create_dir_all(&target)?;
            fs::set_permissions(&target, metadata.permissions())?;
            copy_tree(&source, &target)?;
        } else {
            match existing {
                Some(existing) if existing.is_dir() => fs::remove_dir_all(&target)?,
                Some(_) => fs::remove_file(&target)?,
                None => {}
            }
            if metadata.is_symlink() {
                symlink(fs::read_link(&source)?, &target)?;
            } else {
                fs::copy(&source, &target)?;
            }
        }
        // A user namespace may not know the owner; the file then belongs to the container's root.
        let _ = lchown(&target, Some(metadata.uid()), Some(metadata.gid()));
    }
    Ok(())
}

fn kernel_file_systems(root: &Root, privileged: bool) -> Result<(), Failure> {
    let hardened = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount_at(root, "/proc", "proc", hardened, "")?;
    let sys_flags = if privileged { hardened } else { hardened | MsFlags::MS_RDONLY };
    if mount_at(root, "/sys", "sysfs", sys_flags, "").is_err() {
        // The kernel shows a fresh sysfs only to who already sees all of one.
        bind(root, Path::new("/sys"), Path::new("/sys"), true)?;
    }
    if privileged {
        return Ok(());
    }
    for (names, source) in [(PROC_READ_ONLY, None), (PROC_MASKED, Some("/dev/null"))] {
        for name in names {
            let path = Path::new("/proc").join(name);
            let source = source.map_or_else(|| path.clone(), PathBuf::from);
            if root.resolve(&path, OFlag::O_PATH).is_ok() {
                cover(root, &path, &source)?;
            }
        }
    }
    Ok(())
}

/// Puts a part of the container's own `/proc`, or a device, read-only over `path`.
fn cover(root: &Root, path: &Path, source: &Path) -> Result<(), Failure> {
    let step = || format!("protecting {}", path.display());
    let target = root.resolve(path, OFlag::O_PATH).map_err(|errno| Failure::new(step(), errno))?;
    let source = if source == path { descriptor_path(&target) } else { source.to_owned() };
    mount(Some(&source), &descriptor_path(&target), NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .map_err(|errno| Failure::new(step(), errno))?;
    let mounted = root.resolve(path, OFlag::O_PATH).map_err(|errno| Failure::new(step(), errno))?;
    remount_read_only(&mounted).map_err(|errno| Failure::new(step(), errno))
}

fn devices(root: &Root) -> Result<(), Failure> {
    mount_at(root, "/dev", "tmpfs", MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME, "mode=0755,size=65536k")?;
    let dev =
        root.directory(Path::new("/dev"), DIRECTORY).map_err(|errno| Failure::new("opening /dev", errno))?;
    for name in DEVICES {
        let device = Path::new("/dev").join(name);
        if device.exists() {
            bind(root, &device, &device, false)?;
        }
    }
    let terminals = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    mount_at(root, "/dev/pts", "devpts", terminals, "newinstance,ptmxmode=0666,mode=0620")?;
    let shared = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount_at(root, "/dev/shm", "tmpfs", shared, "mode=1777,size=65536k")?;
    for (name, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        nix::unistd::symlinkat(target, dev.as_fd(), name)
            .map_err(|errno| Failure::new(format!("linking /dev/{name}"), errno))?;
    }
    Ok(())
}

fn volume(root: &Root, entry: &Mount) -> Result<(), Failure> {
    let Mount { source, sub_path, target, read_only } = entry;
    let Some(sub_path) = sub_path else { return bind(root, source, target, *read_only) };
    let step = || format!("finding subPath {} of volume {}", sub_path.display(), source.display());
    let volume = Root::open(source).map_err(|error| Failure::new(step(), error))?;
    let part = match volume.resolve(sub_path, OFlag::O_PATH) {
        Err(Errno::ENOENT) => volume.directory(sub_path, DIRECTORY),
        answer => answer,
    };
    let part = part.map_err(|errno| Failure::new(step(), errno))?;
    bind(root, &descriptor_path(&part), target, *read_only)
}

/// Shows `source` at `target`, which is made as a file or directory like `source` where it is missing.
fn bind(root: &Root, source: &Path, target: &Path, read_only: bool) -> Result<(), Failure> {
    let step = || format!("mounting {} on {}", source.display(), target.display());
    let is_directory = fs::metadata(source).map_err(|error| Failure::new(step(), error))?.is_dir();
    let at = mount_point(root, target, is_directory).map_err(|errno| Failure::new(step(), errno))?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source), &descriptor_path(&at), NONE, flags, NONE)
        .map_err(|errno| Failure::new(step(), errno))?;
    if read_only {
        let mounted = root.resolve(target, OFlag::O_PATH).map_err(|errno| Failure::new(step(), errno))?;
        remount_read_only(&mounted).map_err(|errno| Failure::new(step(), errno))?;
    }
    Ok(())
}

/// Opens what will be mounted over.
fn mount_point(root: &Root, target: &Path, is_directory: bool) -> Result<OwnedFd, Errno> {
    if is_directory {
        return root.directory(target, DIRECTORY);
    }
    match root.resolve(target, OFlag::O_PATH) {
        Err(Errno::ENOENT) => {
            let (parent, name) = root.parent(target, DIRECTORY)?;
            let flags = OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            openat(parent.as_fd(), name.as_os_str(), flags, Mode::from_bits_truncate(0o644))?;
            root.resolve(target, OFlag::O_PATH)
        }
        answer => answer,
    }
}

/// Makes a bind mount read-only, keeping the restrictions it inherited: in a user namespace they cannot be lifted.
fn remount_read_only(mounted: &OwnedFd) -> Result<(), Errno> {
    let path = descriptor_path(mounted);
    let inherited = statvfs(&path)?.flags();
    let mut flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    for (present, flag) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
        (FsFlags::ST_NODIRATIME, MsFlags::MS_NODIRATIME),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ] {
        if inherited.contains(present) {
            flags |= flag;
        }
    }
    mount(NONE, &path, NONE, flags, NONE)
}

fn mount_at(root: &Root, target: &str, kind: &str, flags: MsFlags, options: &str) -> Result<(), Failure> {
    let step = || format!("mounting {kind} on {target}");
    let at = root.directory(Path::new(target), DIRECTORY).map_err(|errno| Failure::new(step(), errno))?;
    mount(Some(kind), &descriptor_path(&at), Some(kind), flags, Some(options))
        .map_err(|errno| Failure::new(step(), errno))
}

/// A path that means exactly the open file, whatever is renamed meanwhile.
fn descriptor_path(descriptor: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))
}

fn switch(merged: &Path) -> Result<(), Errno> {
    chdir(merged)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")
}
