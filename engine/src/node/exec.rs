//! Commands inside running containers: probes and hooks.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::sys::signal::Signal;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::sandbox::launch::{Exit, LaunchError, Running, launch};
use super::sandbox::spec::{Launch, Place, Process};

/// How much of a command's output is kept.
const OUTPUT_LIMIT: usize = 10 << 10;

/// A running container, to run commands in as it runs itself.
#[derive(Debug, Clone)]
pub(crate) struct Inside {
    /// Its first process.
    pub pid: i32,
    /// That process: whose ids, environment and directory a command gets.
    pub process: Process,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its exit.
    pub exit: Exit,
    /// The beginning of what it printed.
    pub output: String,
}

impl Inside {
    /// Runs a command to its end. When the caller stops waiting, the command is killed.
    pub(crate) async fn run(&self, command: &[String]) -> Result<Finished, LaunchError> {
        let what = Launch {
            place: Place::Inside { pid: self.pid },
            process: Process { args: command.to_vec(), ..self.process.clone() },
        };
        let (writer, reader) = writing_end()?;
        let stderr = writer.try_clone()?;
        let (sender, receiver) = oneshot::channel();
        // In a task of its own: whoever stops waiting must not leave half a launch behind.
        tokio::spawn(async move {
            let started = launch(&what, writer, stderr).await.map(|running| Guard(Arc::new(running)));
            let _ = sender.send(started);
        });
        let vanished = |_| LaunchError::Vanished;
        let running = receiver.await.map_err(vanished)??;
        let output = read_some(reader).await?;
        let exit = running.0.wait().await?;
        Ok(Finished { exit, output })
    }
}

/// Kills the process when nobody waits for it any more, and reaps it.
struct Guard(Arc<Running>);

impl Drop for Guard {
    fn drop(&mut self) {
        let running = Arc::clone(&self.0);
        if let (Ok(()), Ok(runtime)) =
            (running.signal(Signal::SIGKILL), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move { running.wait().await });
        }
    }
}

/// A pipe whose writing end a child can have.
pub(crate) fn writing_end() -> io::Result<(OwnedFd, pipe::Receiver)> {
    let (sender, receiver) = pipe::pipe()?;
    Ok((sender.into_blocking_fd()?, receiver))
}

/// Reads to the end and keeps the beginning.
async fn read_some(mut source: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut kept = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = source.read(&mut buffer).await?;
        if count == 0 {
            return Ok(String::from_utf8_lossy(&kept).into_owned());
        }
        let room = OUTPUT_LIMIT.saturating_sub(kept.len()).min(count);
        kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
}
