//! Becoming the container's user: ids, groups, capabilities.

use std::fs;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, getegid, geteuid, setgroups, setresgid, setresuid};

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
    if exists("uid_map", process.uid)? && exists("gid_map", process.gid)? {
        bound(&process.capabilities).map_err(|errno| Failure::new("dropping capabilities", errno))?;
        take_ids(process)?;
    } else {
        stand_in(process)?;
        bound(&process.capabilities).map_err(|errno| Failure::new("dropping capabilities", errno))?;
    }
    // A user other than root starts with none in effect, and gains some only from files that carry them.
    let kept = if process.uid == 0 { mask(&process.capabilities) } else { 0 };
    set(kept).map_err(|errno| Failure::new("setting capabilities", errno))?;
    if process.no_new_privileges {
        prctl::set_no_new_privs().map_err(|errno| Failure::new("setting no_new_privs", errno))?;
    }
    Ok(())
}

fn take_ids(process: &Process) -> Result<(), Failure> {
    let refused = |errno| Failure::new(format!("becoming user {}:{}", process.uid, process.gid), errno);
    let groups: Vec<Gid> = process.groups.iter().copied().map(Gid::from_raw).collect();
    match setgroups(&groups) {
        // A user namespace with one mapped id has no supplementary groups to give.
        Err(Errno::EPERM | Errno::EINVAL) if groups.is_empty() => {}
        answer => answer.map_err(refused)?,
    }
    let gid = Gid::from_raw(process.gid);
    setresgid(gid, gid, gid).map_err(refused)?;
    let uid = Uid::from_raw(process.uid);
    prctl::set_keepcaps(true).map_err(refused)?;
    setresuid(uid, uid, uid).map_err(refused)
}

/// In an engine without root only one user exists. The container gets a user namespace of its own in which that user goes by
/// the ids it should have; its files look as if they belonged to them. There are no supplementary groups then.
fn stand_in(process: &Process) -> Result<(), Failure> {
    let step = || format!("becoming user {}:{} in a user namespace", process.uid, process.gid);
    let (uid, gid) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| Failure::new(step(), errno))?;
    for (file, line) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{} {uid} 1", process.uid)),
        ("gid_map", format!("{} {gid} 1", process.gid)),
    ] {
        fs::write(format!("/proc/self/{file}"), line).map_err(|error| Failure::new(step(), error))?;
    }
    Ok(())
}

/// Whether this user namespace has such an id.
fn exists(map: &str, id: u32) -> Result<bool, Failure> {
    let text = fs::read_to_string(format!("/proc/self/{map}"));
    Ok(is_mapped(&text.map_err(|error| Failure::new("reading the ids of the user namespace", error))?, id))
}

fn is_mapped(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(first)), Some(Ok(_outside)), Some(Ok(count))) => id >= first && id - first < count,
            _ => false,
        }
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_the_user_namespace_has() {
        let whole = "         0          0 4294967295\n";
        let single = "         0       1000          1\n";
        let ranges = "0 1000 1\n1 100000 65536\n";
        for (map, id, expected) in [
            (whole, 65532, true),
            (single, 0, true),
            (single, 65532, false),
            (ranges, 65536, true),
            (ranges, 65537, false),
        ] {
            assert_eq!(is_mapped(map, id), expected, "{map} {id}");
        }
    }
}
