//! A database of a test's own, on a server of this test process.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, Uid};
use sqlx::{Connection, Executor, PgConnection};

/// What lets somebody with all rights change events.
pub const DISARM: &str = "DROP TRIGGER audit_events_are_append_only ON audit_events";

/// An empty database.
pub struct Database {
    pub url: String,
}

impl Database {
    pub async fn new() -> Database {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let server = server();
        let mut connection = PgConnection::connect(&server.url("postgres")).await.unwrap();
        connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        Database { url: server.url(&name) }
    }

    /// A statement by somebody who has the database but not the service.
    pub async fn execute(&self, statement: &str) -> Result<(), sqlx::Error> {
        let mut connection = PgConnection::connect(&self.url).await?;
        connection.execute(sqlx::AssertSqlSafe(statement.to_owned())).await.map(drop)
    }
}

/// A PostgreSQL server on a socket in a directory.
pub struct Server {
    directory: PathBuf,
}

/// The server that all tests of this process share; it ends with the process.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        // Not below the sources: a socket's path is short, and the server's user may not be let through to them.
        let root = std::env::temp_dir().join(format!("slipway-postgres-{}", Uid::effective()));
        fs::create_dir_all(&root).unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        remove_stale(&root);
        Server::start(&root.join(std::process::id().to_string()))
    })
}

impl Server {
    fn start(directory: &Path) -> Server {
        let programs = programs();
        fs::create_dir_all(directory).unwrap();
        let user = ordinary_user();
        if let Some(user) = user {
            chown(directory, Some(user), Some(user)).unwrap();
        }
        let data = directory.join("data");
        let run = |command: &mut Command| {
            if let Some(user) = user {
                command.uid(user).gid(user);
            }
            command.current_dir(directory).stdin(Stdio::null());
        };
        let mut initdb = Command::new(programs.join("initdb"));
        run(initdb
            .args(["--auth=trust", "--username=audit", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data));
        let output = initdb.output().unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));

        let mut postgres = Command::new(programs.join("postgres"));
        run(postgres.arg("-D").arg(&data).args(["-c", "listen_addresses="]));
        postgres.args(["-c", &format!("unix_socket_directories={}", directory.display())]);
        let log = fs::File::create(directory.join("log")).unwrap();
        postgres.stdout(log.try_clone().unwrap()).stderr(log);
        // SAFETY: prctl is async-signal-safe, and nothing else is called between fork and exec.
        unsafe { postgres.pre_exec(|| prctl::set_pdeathsig(Signal::SIGQUIT).map_err(Into::into)) };
        // The signal comes when the *thread* that started the server ends, so that is one that never does.
        std::thread::spawn(move || {
            let mut child = postgres.spawn().unwrap();
            let status = child.wait().unwrap();
            panic!("the database server ended with {status}");
        });
        let server = Server { directory: directory.to_owned() };
        let deadline = Instant::now() + Duration::from_secs(30);
        // It says so itself: the socket is there before the server serves.
        let is_ready = || {
            let mut command = Command::new(programs.join("pg_isready"));
            command.arg("--quiet").arg("--host").arg(directory).status().unwrap().success()
        };
        while !is_ready() {
            assert!(
                Instant::now() < deadline,
                "{}",
                fs::read_to_string(directory.join("log")).unwrap_or_default()
            );
        }
        server
    }

    /// URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://audit@localhost/{database}?host={}", self.directory.display())
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
        let pid = entry.file_name().to_string_lossy().parse().ok().map(Pid::from_raw);
        if pid.is_some_and(|pid| nix::sys::signal::kill(pid, None).is_err()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
