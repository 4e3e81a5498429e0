//! Starts the engine's process with the life it was given.
//!
//! The kernel sends a parent-death signal when the *thread* that started a process ends, so the engine gets a thread of its own that
//! starts it, reads its first line and waits for its end.

use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid, setsid};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::Lifetime;
use crate::process::Process;

/// An engine started by this process; a tied one is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) process: Process,
    lifetime: Lifetime,
}

impl Drop for Engine {
    fn drop(&mut self) {
        match self.lifetime {
            Lifetime::Tied => self.process.kill(),
            Lifetime::Detached => {}
        }
    }
}

/// An engine of which nothing has been heard yet.
pub(super) struct Launched {
    pub(super) engine: Engine,
    line: oneshot::Receiver<io::Result<String>>,
    end: oneshot::Receiver<io::Result<ExitStatus>>,
}

/// Starts the engine.
pub(super) async fn launch(mut command: Command, lifetime: Lifetime) -> io::Result<Launched> {
    follow(&mut command, lifetime);
    let (tell_process, process) = oneshot::channel();
    let (tell_line, line) = oneshot::channel();
    let (tell_end, end) = oneshot::channel();
    // Whoever asked may have stopped listening; the thread goes on waiting for the engine's end all the same.
    thread::Builder::new().name("engine".to_owned()).spawn(move || {
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let _ = tell_process.send(Err(error));
                return;
            }
        };
        let process = Process::current(child.id()).ok_or_else(|| io::Error::from(ErrorKind::NotFound));
        let _ = tell_process.send(process);
        if let Some(stdout) = child.stdout.take() {
            let mut first = String::new();
            let read = BufReader::new(stdout).read_line(&mut first);
            let _ = tell_line.send(read.map(|_| first.trim_end().to_owned()));
        }
        let _ = tell_end.send(child.wait());
    })?;
    let process = process.await.map_err(io::Error::other)??;
    Ok(Launched { engine: Engine { process, lifetime }, line, end })
}

impl Launched {
    /// Waits for the first line; the error says what happened instead.
    pub(super) async fn ready_line(self, deadline: Duration) -> Result<(Engine, String), String> {
        let Launched { engine, line, end } = self;
        match timeout(deadline, line).await {
            Err(_) => Err(format!("was not ready within {:.1}s", deadline.as_secs_f64())),
            Ok(Ok(Ok(line))) if !line.is_empty() => Ok((engine, line)),
            Ok(_) => match timeout(Duration::from_secs(5), end).await {
                Ok(Ok(Ok(status))) => Err(format!("ended with {status} before it was ready")),
                _ => Err("closed its output before it was ready".to_owned()),
            },
        }
    }
}

/// Ties the engine to this process, or lets it stand on its own.
fn follow(command: &mut Command, lifetime: Lifetime) {
    let parent = getpid();
    let tie = move || {
        set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have died between fork and prctl; then no signal will ever come.
        match getppid() == parent {
            true => Ok(()),
            false => Err(io::Error::from(ErrorKind::BrokenPipe)),
        }
    };
    let detach = || setsid().map(|_| ()).map_err(io::Error::from);
    match lifetime {
        // SAFETY: between fork and exec only async-signal-safe calls are made (prctl, getppid), nothing is allocated.
        Lifetime::Tied => unsafe { command.pre_exec(tie) },
        // SAFETY: setsid is async-signal-safe, and nothing else is called between fork and exec.
        Lifetime::Detached => unsafe { command.pre_exec(detach) },
    };
}
