//! Becoming the container's user: ids, groups, capabilities.

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::capability;
use super::entry::Failure;
use super::spec::Process;

/// `_LINUX_CAPABILITY_VERSION_3`
const CAPABILITY_VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Gives up everything `process` does not say it has.
pub(super) fn assume(process: &Process) -> Result<(), Failure> {
    let step = || format!("becoming user {}:{}", process.uid, process.gid);
    bound(&process.capabilities).map_err(|errno| Failure::new("dropping capabilities", errno))?;
    let groups: Vec<Gid> = process.groups.iter().copied().map(Gid::from_raw).collect();
    match setgroups(&groups) {
        // A user namespace with one mapped id has no supplementary groups to give.
        Err(Errno::EPERM | Errno::EINVAL) if groups.is_empty() => {}
        answer => answer.map_err(|errno| Failure::new(step(), errno))?,
    }
    let gid = Gid::from_raw(process.gid);
    setresgid(gid, gid, gid).map_err(|errno| Failure::new(step(), errno))?;
    let uid = Uid::from_raw(process.uid);
    prctl::set_keepcaps(true).map_err(|errno| Failure::new(step(), errno))?;
    setresuid(uid, uid, uid).map_err(|errno| Failure::new(step(), errno))?;
    // A user other than root starts with none in effect, and gains some only from files that carry them.
    let kept = if uid.is_root() { mask(&process.capabilities) } else { 0 };
    set(kept).map_err(|errno| Failure::new("setting capabilities", errno))?;
    if process.no_new_privileges {
        prctl::set_no_new_privs().map_err(|errno| Failure::new("setting no_new_privs", errno))?;
    }
    Ok(())
}

/// Removes every other capability from what the process or its children could ever have.
fn bound(granted: &[u8]) -> Result<(), Errno> {
    for number in 0..capability::COUNT {
        if granted.iter().any(|kept| usize::from(*kept) == number) {
            continue;
        }
        // SAFETY: PR_CAPBSET_DROP takes a number and touches no memory.
        match Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, number, 0, 0, 0) }) {
            // Older kernels do not have the last ones; what the engine itself lacks is dropped already.
            Ok(_) | Err(Errno::EINVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Sets the effective and permitted sets to the part of `wanted` that the engine itself has.
fn set(wanted: u64) -> Result<(), Errno> {
    let mut header = Header { version: CAPABILITY_VERSION, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: version 3 of the interface reads one header and writes two sets.
    Errno::result(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    for (set, half) in sets.iter_mut().zip([wanted as u32, (wanted >> 32) as u32]) {
        set.permitted &= half;
        set.effective = set.permitted;
        set.inheritable = 0;
    }
    // SAFETY: version 3 of the interface reads one header and two sets.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) })?;
    Ok(())
}

fn mask(granted: &[u8]) -> u64 {
    granted.iter().fold(0, |mask, number| mask | 1 << number)
}
