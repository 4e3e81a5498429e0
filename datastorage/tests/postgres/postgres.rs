//! A PostgreSQL server of a test's own: started as an ordinary user, on a socket, killed and started again at will.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

/// Only a server that does not come up takes so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// Whether what is committed is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// Until the disk has it, as in production.
    Synced,
    /// Until the kernel has it: outlives every process, not the machine, and does not wait for a disk that others use.
    Buffered,
}

/// A server on a socket in a directory; ends with the process.
pub struct Server {
    writes: Writes,
    directory: PathBuf,
    programs: PathBuf,
    user: Option<u32>,
    postmaster: Mutex<Option<Postmaster>>,
}

struct Postmaster {
    pid: Pid,
    ended: mpsc::Receiver<ExitStatus>,
}

impl Server {
    /// A new and empty one.
    pub fn start(writes: Writes) -> Server {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Not below the sources: a socket's path is short, and the server's user may not be let through to them.
        let root = std::env::temp_dir().join(format!("slipway-postgres-{}", Uid::effective()));
        fs::create_dir_all(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        remove_stale(&root);
        let directory = root.join(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir_all(&directory).unwrap();
        let (programs, user) = (programs(), ordinary_user());
        let server = Server { writes, directory, programs, user, postmaster: Mutex::default() };
        if let Some(user) = server.user {
            chown(&server.directory, Some(user), Some(user)).unwrap();
        }
        let mut initdb = server.command("initdb");
        initdb.args(["--auth=trust", "--username=audit", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"]);
        let output = initdb.arg(server.data()).output().unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        server.serve();
        server
    }

    /// URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://audit@localhost/{database}?host={}", self.directory.display())
    }

    /// Kills the postmaster where it is: what its sessions were doing ends as it may.
    pub fn kill(&self) {
        let postmaster = self.postmaster.lock().unwrap().take().expect("it runs");
        kill(postmaster.pid, Signal::SIGKILL).unwrap();
        postmaster.ended.recv_timeout(DEADLINE).expect("what is killed ends");
    }

    /// Serves, again after it was killed.
    pub fn serve(&self) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let postmaster = self.spawn();
            // It says so itself: the socket is there before the server serves.
            while postmaster.ended.try_recv().is_err() {
                if self
                    .command("pg_isready")
                    .arg("--quiet")
                    .arg("--host")
                    .arg(&self.directory)
                    .status()
                    .unwrap()
                    .success()
                {
                    *self.postmaster.lock().unwrap() = Some(postmaster);
                    return;
                }
                assert!(Instant::now() < deadline, "it is not ready: {}", self.log());
            }
            // Sessions of a killed postmaster take a moment to notice, and hold its memory until then.
            assert!(Instant::now() < deadline, "it does not start: {}", self.log());
        }
    }

    fn spawn(&self) -> Postmaster {
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(self.data()).args(["-c", "listen_addresses="]);
        postgres.args(["-c", &format!("unix_socket_directories={}", self.directory.display())]);
        if self.writes == Writes::Buffered {
            postgres.args(["-c", "fsync=off", "-c", "full_page_writes=off"]);
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(self.directory.join("log")).unwrap();
        postgres.stdout(log.try_clone().unwrap()).stderr(log);
        // SAFETY: prctl is async-signal-safe, and nothing else is called between fork and exec.
        unsafe { postgres.pre_exec(|| prctl::set_pdeathsig(Signal::SIGQUIT).map_err(Into::into)) };
        // The signal comes when the *thread* that started the server ends, so that is one that lives as long as the server.
        let (say_pid, pid) = mpsc::channel();
        let (say_ended, ended) = mpsc::channel();
        std::thread::spawn(move || {
            let mut child = postgres.spawn().unwrap();
            say_pid.send(Pid::from_raw(i32::try_from(child.id()).unwrap())).unwrap();
            // Nobody may be left to hear it.
            let _ = say_ended.send(child.wait().unwrap());
        });
        Postmaster { pid: pid.recv().unwrap(), ended }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command.current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// What it said since it was made.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

/// Where PostgreSQL's programs are: Debian keeps the server's out of PATH.
fn programs() -> PathBuf {
    let debian = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let all: Vec<PathBuf> = std::env::split_paths(&path).chain(debian).collect();
    let has_all =
        |folder: &PathBuf| ["initdb", "postgres", "pg_isready"].iter().all(|name| folder.join(name).exists());
    let found = all.into_iter().find(has_all);
    found.expect("these tests need PostgreSQL\n  hint: apt-get install postgresql")
}

/// PostgreSQL refuses to run as root.
fn ordinary_user() -> Option<u32> {
    const NOBODY: u32 = 65534;
    Uid::effective().is_root().then_some(NOBODY)
}

/// Removes what test processes that are gone have left.
fn remove_stale(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.split('-').next().and_then(|pid| pid.parse().ok()).map(Pid::from_raw);
        if pid.is_some_and(|pid| kill(pid, None).is_err()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
