//! The process between the engine and a container: reads a [`Launch`] from its standard input, which is a socket of the
//! engine, and becomes (a child of the engine that becomes) the container's program.

use std::ffi::CString;
use std::fmt::Display;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::errno::Errno;
use nix::libc;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigaction, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, execve};

use super::spec::{Launch, Place, Process, Report};
use super::{identity, rootfs};

/// First argument of the engine's binary when it is to start a container; nothing else is passed on the command line.
pub const ARGUMENT: &str = "__container";

/// A set-up step that failed.
#[derive(Debug)]
pub(super) struct Failure {
    step: String,
    cause: String,
}

impl Failure {
    pub(super) fn new(step: impl Into<String>, cause: impl Display) -> Self {
        Self { step: step.into(), cause: cause.to_string() }
    }
}

/// Acts as the process between the engine and a container when the command line says so; otherwise returns at once.
///
/// Belongs before anything else in `main`: the process must have one thread.
#[must_use = "the exit code is for `main` to return"]
pub fn container_process() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != ARGUMENT || arguments.next().is_some() {
        return None;
    }
    Some(run())
}

/// Reads the launch from descriptor 0 and carries it out; the exit code is that of the process in between.
pub fn run() -> ExitCode {
    let mut engine = match take_connection() {
        Ok(engine) => engine,
        Err(_no_engine_to_tell) => return ExitCode::FAILURE,
    };
    match carry_out(&mut engine) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { step, cause }) => {
            report(&mut engine, &Report::Failed { step, cause });
            ExitCode::FAILURE
        }
    }
}

/// Moves the engine's socket away from descriptor 0, which the container gets as `/dev/null`.
fn take_connection() -> std::io::Result<UnixStream> {
    let connection = std::io::stdin().as_fd().try_clone_to_owned()?;
    let null = File::open("/dev/null")?;
    nix::unistd::dup2_stdin(null)?;
    // Whatever else was inherited must not reach the container.
    // SAFETY: only marks descriptors; none of them changes hands.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })?;
    Ok(UnixStream::from(connection))
}

fn carry_out(engine: &mut UnixStream) -> Result<(), Failure> {
    let mut message = Vec::new();
    engine.read_to_end(&mut message).map_err(|error| Failure::new("reading what to run", error))?;
    let launch: Launch =
        serde_json::from_slice(&message).map_err(|error| Failure::new("reading what to run", error))?;
    join(&launch.place)?;
    if let Some(pid) = fork_for_engine()? {
        report(engine, &Report::Started(pid));
        return Ok(());
    }
    become_program(&launch)
}

/// Joins or makes the namespaces of the next child.
fn join(place: &Place) -> Result<(), Failure> {
    match place {
        Place::Container { namespaces, cgroup, rootfs: _ } => {
            if let Some(cgroup) = cgroup {
                // Zero means the process that writes.
                std::fs::write(cgroup, "0")
                    .map_err(|error| Failure::new(format!("joining {}", cgroup.display()), error))?;
            }
            for path in namespaces {
                let namespace = File::open(path)
                    .map_err(|error| Failure::new(format!("opening namespace {}", path.display()), error))?;
                setns(namespace, CloneFlags::empty())
                    .map_err(|errno| Failure::new(format!("joining namespace {}", path.display()), errno))?;
            }
            unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)
                .map_err(|errno| Failure::new("creating the container's PID and mount namespaces", errno))
        }
        Place::Inside { pid } => {
            let step = || format!("entering the namespaces of process {pid}");
            let target = pidfd_open(*pid).map_err(|errno| Failure::new(step(), errno))?;
            let all = CloneFlags::CLONE_NEWNET
                | CloneFlags::CLONE_NEWIPC
                | CloneFlags::CLONE_NEWUTS
                | CloneFlags::CLONE_NEWPID
                | CloneFlags::CLONE_NEWNS;
            setns(target, all).map_err(|errno| Failure::new(step(), errno))
        }
    }
}

/// Refers to a process in a way that cannot be confused by a PID used again.
pub(super) fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: `pidfd_open` takes numbers only.
    let answer = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let descriptor = i32::try_from(answer).map_err(|_| Errno::EBADF)?;
    // SAFETY: the kernel just returned this descriptor to us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Forks a child whose parent is the engine. `None` in the child.
fn fork_for_engine() -> Result<Option<i32>, Failure> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM this is a fork, and this process has one thread.
    let answer = Errno::result(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) });
    match answer.map_err(|errno| Failure::new("starting the container's first process", errno))? {
        0 => Ok(None),
        pid => i32::try_from(pid)
            .map(Some)
            .map_err(|error| Failure::new("starting the container's first process", error)),
    }
}

fn become_program(launch: &Launch) -> Result<(), Failure> {
    umask(Mode::from_bits_truncate(0o022));
    if let Place::Container { rootfs, .. } = &launch.place {
        rootfs::enter(rootfs)?;
    }
    let process = &launch.process;
    enter_directory(&process.cwd)?;
    identity::assume(process)?;
    signals_as_for_a_new_process().map_err(|errno| Failure::new("resetting signals", errno))?;
    Err(execute(process))
}

fn enter_directory(path: &Path) -> Result<(), Failure> {
    let step = || format!("entering working directory {}", path.display());
    match chdir(path) {
        Err(Errno::ENOENT) => {
            std::fs::create_dir_all(path).map_err(|error| Failure::new(step(), error))?;
            chdir(path).map_err(|errno| Failure::new(step(), errno))
        }
        answer => answer.map_err(|errno| Failure::new(step(), errno)),
    }
}

/// The standard library ignores SIGPIPE and the engine blocks some signals; a program expects neither.
fn signals_as_for_a_new_process() -> Result<(), Errno> {
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default disposition runs no code of ours.
    unsafe { sigaction(Signal::SIGPIPE, &default) }.map(drop)
}

/// Replaces the process by the program; returns why that failed.
fn execute(process: &Process) -> Failure {
    let Some(program) = process.args.first() else {
        return Failure::new("starting the program", "no command specified");
    };
    let texts = |list: &[String]| {
        list.iter().map(|text| CString::new(text.as_bytes())).collect::<Result<Vec<_>, _>>()
    };
    let (args, env) = match (texts(&process.args), texts(&process.env)) {
        (Ok(args), Ok(env)) => (args, env),
        (Err(error), _) | (_, Err(error)) => return Failure::new(format!("exec {program:?}"), error),
    };
    let mut worst = None;
    for candidate in candidates(program, &process.env) {
        let Ok(path) = CString::new(candidate.as_os_str().as_bytes()) else { continue };
        let Err(errno) = execve(&path, &args, &env);
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => worst = Some(errno),
            errno => return failed_execution(&candidate, errno),
        }
    }
    match worst {
        Some(errno) => Failure::new(format!("exec {program:?}"), errno.desc().to_lowercase()),
        None if program.contains('/') => {
            Failure::new(format!("exec {program:?}"), "no such file or directory")
        }
        None => Failure::new(format!("exec {program:?}"), "executable file not found in $PATH"),
    }
}

fn failed_execution(program: &Path, errno: Errno) -> Failure {
    let cause = match errno {
        Errno::ENOEXEC => "exec format error".to_owned(),
        errno => errno.desc().to_lowercase(),
    };
    Failure::new(format!("exec {:?}", program.display().to_string()), cause)
}

/// Files that may be meant by `program`, in the order in which a shell would try them.
fn candidates(program: &str, env: &[String]) -> Vec<PathBuf> {
    if program.contains('/') {
        return vec![PathBuf::from(program)];
    }
    let path = env.iter().rev().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
    path.split(':')
        .map(|directory| Path::new(if directory.is_empty() { "." } else { directory }).join(program))
        .collect()
}

fn report(engine: &mut UnixStream, report: &Report) {
    let mut line = serde_json::to_vec(report).unwrap_or_default();
    line.push(b'\n');
    // An engine that is gone has nobody to tell.
    let _ = engine.write_all(&line);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_without_a_slash_is_looked_up_in_the_containers_path() {
        let env = ["A=1".to_owned(), "PATH=/bin::/usr/bin".to_owned()];
        assert_eq!(
            candidates("sh", &env),
            [Path::new("/bin/sh"), Path::new("./sh"), Path::new("/usr/bin/sh")]
        );
        assert_eq!(candidates("./sh", &env), [Path::new("./sh")]);
    }
}
