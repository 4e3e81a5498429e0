//! The system calls that make the namespaces.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::{getegid, geteuid};

use super::refusal::{IsolationError, Step};
use super::refuse;

/// Gives the next child a PID namespace; goes through a user namespace where the process may not do so itself.
pub(super) fn unshare_pid() -> Result<(), IsolationError> {
    match unshare(CloneFlags::CLONE_NEWPID) {
        Ok(()) => Ok(()),
        Err(Errno::EPERM) => {
            unshare_user()?;
            unshare(CloneFlags::CLONE_NEWPID).map_err(|errno| refuse(Step::Pid, errno))
        }
        Err(errno) => Err(refuse(Step::Pid, errno)),
    }
}

/// Becomes root of a user namespace in which only the caller's own ids exist.
fn unshare_user() -> Result<(), IsolationError> {
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| refuse(Step::User, errno))?;
    for (file, line) in [
        ("/proc/self/setgroups", "deny".to_owned()),
        ("/proc/self/uid_map", format!("0 {uid} 1")),
        ("/proc/self/gid_map", format!("0 {gid} 1")),
    ] {
        fs::write(file, line).map_err(|source| refuse(Step::UserMap, errno_of(&source)))?;
    }
    Ok(())
}

/// A mount namespace nobody else sees changes of, with the `/proc` of the new PID namespace.
pub(super) fn private_mounts() -> Result<(), IsolationError> {
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| refuse(Step::Mount, errno))?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
        .map_err(|errno| refuse(Step::PrivateMounts, errno))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none).map_err(|errno| refuse(Step::Proc, errno))
}

/// Brings `lo` of the calling thread's network namespace up.
pub(crate) fn loopback_up() -> Result<(), Errno> {
    use std::os::fd::AsRawFd;

    let control = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: `ifreq` is plain old data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (slot, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *slot = byte.cast_signed();
    }
    // The flag is a small constant of the kernel's interface.
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the descriptor is open and the argument is an initialised `ifreq`, as SIOCSIFFLAGS expects.
    Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) })?;
    Ok(())
}

fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}
