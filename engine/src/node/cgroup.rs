//! Memory limits, where the machine lets the engine make control groups; elsewhere limits are recorded and nothing more.
//!
//! A group is a directory the kernel does not remove by itself. An engine holds a lock on its own, so that the next engine that
//! starts can tell what a killed one left, and removes it. Limits of CPU time are recorded only.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest as _, Sha256};

/// What the names of our directories begin with.
const PREFIX: &str = "slipway-";

/// The two generations of control groups name their files differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Generation {
    First,
    Second,
}

/// The groups of one engine.
#[derive(Debug)]
pub(crate) struct Cgroups {
    directory: PathBuf,
    generation: Generation,
    /// Held while this engine lives.
    _ours: Flock<File>,
}

/// The group of one container. Dropped, it is removed; its processes must have ended.
#[derive(Debug)]
pub(crate) struct Cgroup {
    directory: PathBuf,
    generation: Generation,
}

impl Cgroups {
    /// Makes a place for groups, at the top or else in the engine's own group; nothing where none can be made.
    pub(super) fn open(state_dir: &Path) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let hash = Sha256::digest(state_dir.as_os_str().as_encoded_bytes());
        let name: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{PREFIX}{name}");
        candidates(&own).into_iter().find_map(|(directory, generation)| {
            remove_abandoned(&directory);
            match Self::at(directory.join(&name), generation) {
                Ok(groups) => Some(groups),
                Err(error) => {
                    tracing::debug!(directory = %directory.display(), %error, "no control groups here");
                    None
                }
            }
        })
    }

    fn at(directory: PathBuf, generation: Generation) -> io::Result<Self> {
        match fs::create_dir(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _made_or_there => {}
        }
        let ours = lock(&directory)?;
        let groups = Self { directory, generation, _ours: ours };
        match groups.try_out() {
            Ok(()) => Ok(groups),
            Err(error) => {
                groups.remove();
                Err(error)
            }
        }
    }

    /// Whether limits can be set shows in a group that has one.
    fn try_out(&self) -> io::Result<()> {
        if self.generation == Generation::Second {
            fs::write(self.directory.join("cgroup.subtree_control"), "+memory")?;
        }
        self.make("probe", 1 << 30).map(drop)
    }

    /// Removes them all, as far as no process is in them.
    pub(super) fn remove(&self) {
        remove(&self.directory);
    }

    /// A group whose processes may use so many bytes together.
    pub(crate) fn make(&self, name: &str, memory: u64) -> io::Result<Cgroup> {
        let group = Cgroup { directory: self.directory.join(name), generation: self.generation };
        fs::create_dir(&group.directory)?;
        let limit = match self.generation {
            Generation::First => "memory.limit_in_bytes",
            Generation::Second => "memory.max",
        };
        fs::write(group.directory.join(limit), memory.to_string())?;
        Ok(group)
    }
}

impl Cgroup {
    /// Where a process writes itself to join.
    pub(crate) fn entrance(&self) -> PathBuf {
        self.directory.join("cgroup.procs")
    }

    /// Whether the kernel killed one of its processes for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let file = match self.generation {
            Generation::First => "memory.oom_control",
            Generation::Second => "memory.events",
        };
        kills(&fs::read_to_string(self.directory.join(file)).unwrap_or_default()) > 0
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // The last process may still be on its way out; what remains goes with the engine's own directory.
        if let Err(error) = fs::remove_dir(&self.directory) {
            tracing::debug!(directory = %self.directory.display(), %error, "control group stays for now");
        }
    }
}

/// Takes a directory, unless somebody has it.
fn lock(directory: &Path) -> io::Result<Flock<File>> {
    Flock::lock(File::open(directory)?, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno.into())
}

/// Removes what engines left that ended without removing it.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    let ours = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    for directory in ours.map(|entry| entry.path()) {
        if let Ok(_abandoned) = lock(&directory) {
            remove(&directory);
        }
    }
}

/// Removes a directory of groups as far as no process is in them.
fn remove(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let _in_use = fs::remove_dir(entry.path());
    }
    let _in_use = fs::remove_dir(directory);
}

/// Directories in which groups may be made, best first, by the text of `/proc/self/cgroup`.
fn candidates(own: &str) -> Vec<(PathBuf, Generation)> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (_hierarchy, controllers, path) = (fields.next(), fields.next(), fields.next());
        let (Some(controllers), Some(path)) = (controllers, path) else { continue };
        let (root, generation) = match controllers {
            "" => ("/sys/fs/cgroup", Generation::Second),
            list if list.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", Generation::First)
            }
            _ => continue,
        };
        // At the top, where every engine finds what the others left, whoever started it.
        found.push((PathBuf::from(root), generation));
        found.push((Path::new(root).join(path.trim_start_matches('/')), generation));
    }
    // Where both exist, memory belongs to the first.
    found.sort_by_key(|(_, generation)| *generation == Generation::Second);
    found
}

fn kills(text: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_made_where_memory_is_controlled() {
        let path = PathBuf::from;
        for (own, expected) in [
            (
                "0::/user.slice\n",
                vec![
                    (path("/sys/fs/cgroup"), Generation::Second),
                    (path("/sys/fs/cgroup/user.slice"), Generation::Second),
                ],
            ),
            (
                "8:pids:/\n4:memory:/a/b\n0::/\n",
                vec![
                    (path("/sys/fs/cgroup/memory"), Generation::First),
                    (path("/sys/fs/cgroup/memory/a/b"), Generation::First),
                    (path("/sys/fs/cgroup"), Generation::Second),
                    (path("/sys/fs/cgroup/"), Generation::Second),
                ],
            ),
            ("", vec![]),
        ] {
            assert_eq!(candidates(own), expected, "{own}");
        }
    }

    #[test]
    fn a_group_has_the_limit_and_tells_of_kills() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("slipway");
        let groups = Cgroups::at(place.clone(), Generation::First).unwrap();
        let group = groups.make("c", 1024).unwrap();
        assert_eq!(fs::read_to_string(place.join("c/memory.limit_in_bytes")).unwrap(), "1024");
        assert!(!group.ran_out_of_memory());
        fs::write(place.join("c/memory.oom_control"), "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
            .unwrap();
        assert!(group.ran_out_of_memory());
    }

    #[test]
    fn what_a_killed_engine_left_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for made in ["slipway-killed/container", "slipway-alive", "other"] {
            fs::create_dir_all(path(made)).unwrap();
        }
        let _alive = lock(&path("slipway-alive")).unwrap();
        remove_abandoned(directory.path());
        let left = ["slipway-killed", "slipway-alive", "other"].map(|name| path(name).exists());
        assert_eq!(left, [false, true, true]);
    }
}
