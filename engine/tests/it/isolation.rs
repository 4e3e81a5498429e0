//! Isolation for real: what the engine process sees, and what is left when one of its processes is killed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::role::ROLE;

/// What the engine process of a test does: report what it sees, make a mount, start a child, and end with code 7 on SIGTERM.
pub fn role() -> ! {
    let seen_network = fs::read_link("/proc/self/ns/net").unwrap();
    // Blocked before there is any other thread, which inherits it: the signal is for `wait` below and nobody else.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.thread_block().unwrap();
    let host = engine::isolation::enter().expect("this machine can isolate");
    let none: Option<&str> = None;
    let scratch = std::env::args().nth(3).unwrap();
    mount(Some("slipway-test"), scratch.as_str(), Some("tmpfs"), MsFlags::empty(), none).unwrap();
    // SAFETY: only the idle host side thread exists besides this one.
    if let nix::unistd::ForkResult::Child = unsafe { nix::unistd::fork() }.unwrap() {
        loop {
            nix::unistd::pause();
        }
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    host.handle.spawn(async move { sender.send(fs::read_link("/proc/thread-self/ns/net").unwrap()) });
    let report = json!({
        "pid": std::process::id(),
        "processes": fs::read_dir("/proc").unwrap().filter(|entry| is_pid(entry.as_ref().unwrap())).count(),
        "interfaces": interfaces(),
        "hostSideKeptNetwork": receiver.recv().unwrap() == seen_network,
        "loopback": std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| std::net::TcpStream::connect(listener.local_addr()?)).is_ok(),
        "ownNetwork": fs::read_link("/proc/thread-self/ns/net").unwrap() != seen_network,
    });
    println!("{report}");
    signals.wait().unwrap();
    std::process::exit(7)
}

fn interfaces() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect()
}

fn is_pid(entry: &fs::DirEntry) -> bool {
    entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
}

/// An isolated process tree under test; its scratch directory's path marks its processes and its mount.
struct Isolated {
    outer: Child,
    /// Kept open: whoever prints later must not die of a closed pipe.
    _output: BufReader<ChildStdout>,
    scratch: tempfile::TempDir,
    report: Value,
}

impl Isolated {
    fn start() -> Self {
        Self::start_as(0)
    }

    fn start_as(user: u32) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(scratch.path(), Some(user), Some(user)).unwrap();
        let mut outer = Command::new(std::env::current_exe().unwrap())
            .args([ROLE, "isolated"])
            .arg(scratch.path())
            .uid(user)
            .gid(user)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(outer.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let report = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no report: {line:?}"));
        Self { outer, _output: output, scratch, report }
    }

    /// Processes of the tree, oldest first: outer, init, engine and its child.
    fn processes(&self) -> Vec<i32> {
        let marker = self.scratch.path().to_str().unwrap();
        let mut found: Vec<i32> = fs::read_dir("/proc")
            .unwrap()
            .map(Result::unwrap)
            .filter(is_pid)
            .filter(|entry| {
                fs::read_to_string(entry.path().join("cmdline")).is_ok_and(|line| line.contains(marker))
            })
            .map(|entry| entry.file_name().to_string_lossy().parse().unwrap())
            .collect();
        found.sort_unstable();
        found
    }

    fn assert_nothing_is_left(mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        self.outer.wait().unwrap();
        while !self.processes().is_empty() {
            assert!(Instant::now() < deadline, "still there: {:?}", self.processes());
            std::thread::sleep(Duration::from_millis(10));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(self.scratch.path().to_str().unwrap()));
    }
}

#[test]
fn the_engine_process_has_its_own_pids_mounts_and_network() {
    let mut isolated = Isolated::start();
    assert_eq!(
        isolated.report,
        json!({"pid": 2, "processes": 3, "interfaces": ["lo"], "hostSideKeptNetwork": true, "loopback": true, "ownNetwork": true})
    );
    isolated.outer.kill().unwrap();
    isolated.assert_nothing_is_left();
}

#[test]
fn without_root_it_goes_through_a_user_namespace() {
    let mut isolated = Isolated::start_as(65534);
    assert_eq!(isolated.report["ownNetwork"], true);
    assert_eq!(isolated.report["interfaces"], json!(["lo"]));
    isolated.outer.kill().unwrap();
    isolated.assert_nothing_is_left();
}

#[test]
fn killing_any_of_its_processes_leaves_nothing() {
    for victim in 0..3 {
        let isolated = Isolated::start();
        let processes = isolated.processes();
        assert_eq!(processes.len(), 4, "outer, init, engine and its child");
        kill(Pid::from_raw(processes[victim]), Signal::SIGKILL).unwrap();
        isolated.assert_nothing_is_left();
    }
}

#[test]
fn signals_go_in_and_the_exit_code_comes_out() {
    let mut isolated = Isolated::start();
    kill(Pid::from_raw(isolated.outer.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert_eq!(isolated.outer.wait().unwrap().code(), Some(7));
    isolated.assert_nothing_is_left();
}
