//! The engine's side of starting a process: hand over the [`Launch`], learn the PID or the step that failed, wait, signal.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;

use super::entry::{ARGUMENT, pidfd_open};
use super::spec::{Launch, Report};

/// A process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The engine could not start itself again.
    #[error("starting the container process: {0}")]
    Engine(#[from] io::Error),
    /// A step inside the new process failed; the message is the kernel's or our own.
    #[error("{step}: {cause}")]
    Step {
        /// What was attempted.
        step: String,
        /// The cause.
        cause: String,
    },
    /// The process disappeared before it said anything.
    #[error("the container process ended during set-up")]
    Vanished,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// Exit code; 128 + signal when a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

/// A running process, child of the engine.
#[derive(Debug)]
pub struct Running {
    pid: i32,
    handle: AsyncFd<OwnedFd>,
}

/// Starts a process; returns once its program runs.
///
/// # Errors
/// [`LaunchError`] with the step that failed; nothing is left running then.
pub async fn launch(launch: &Launch, stdout: OwnedFd, stderr: OwnedFd) -> Result<Running, LaunchError> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let theirs = OwnedFd::from(theirs.into_std()?);
    // The child expects a blocking descriptor.
    nix::fcntl::fcntl(&theirs, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()))
        .map_err(io::Error::from)?;
    let mut between = Command::new(Path::new("/proc/self/exe"))
        .arg(ARGUMENT)
        .env_clear()
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::from(stdout))
        .stderr(Stdio::from(stderr))
        .kill_on_drop(true)
        .spawn()?;
    let message = serde_json::to_vec(launch).map_err(io::Error::from)?;
    // A process that died at once explains itself below, or by having said nothing.
    let _ = ours.write_all(&message).await;
    let _ = ours.shutdown().await;
    let mut answer = Vec::new();
    let _ = ours.read_to_end(&mut answer).await;
    between.wait().await?;
    conclude(&answer).await
}

/// Reads what the starting process said until its program ran.
async fn conclude(answer: &[u8]) -> Result<Running, LaunchError> {
    let mut running = None;
    let mut failure = None;
    for line in answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice(line).map_err(io::Error::from)? {
            Report::Started(pid) => running = Some(Running::new(pid)?),
            Report::Failed { step, cause } => failure = Some(LaunchError::Step { step, cause }),
        }
    }
    match (running, failure) {
        (Some(running), None) => Ok(running),
        (running, failure) => {
            if let Some(running) = running {
                running.wait().await?;
            }
            Err(failure.unwrap_or(LaunchError::Vanished))
        }
    }
}

impl Running {
    fn new(pid: i32) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` refers to the same open descriptor until it is dropped, with the registration.
        let handle = unsafe { AsyncFd::register(pidfd_open(pid)?) }?;
        Ok(Self { pid, handle })
    }

    /// PID of the first process, as the engine sees it.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for the end and reaps the process; to be awaited to the end once.
    pub async fn wait(&self) -> io::Result<Exit> {
        let _readable = self.handle.readable().await?;
        match waitid(Id::PIDFd(self.handle.get_ref().as_fd()), WaitPidFlag::WEXITED)? {
            WaitStatus::Exited(_, code) => Ok(Exit { code, signal: None }),
            WaitStatus::Signaled(_, signal, _) => {
                let signal = signal as i32;
                Ok(Exit { code: 128 + signal, signal: Some(signal) })
            }
            other => Err(io::Error::other(format!("unexpected state of process {}: {other:?}", self.pid))),
        }
    }

    /// Sends a signal; a process that has ended already is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let handle = self.handle.get_ref().as_raw_fd();
        // SAFETY: the descriptor is open, and no signal information is passed.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                handle,
                signal as i32,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            )
        };
        match Errno::result(answer) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}
