//! Programs that must not outlive their time: each in a process group of its own, which is killed at the deadline, and when whoever waits
//! for it stops waiting or dies.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, sleep_until, timeout};

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Exited(i32),
    /// By a signal.
    Signalled(&'static str),
    /// It was killed when its time was over.
    Deadline(Duration),
}

/// Which pipe a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipe {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

impl End {
    /// Whether it is the end a program chooses when all is well.
    pub fn is_success(&self) -> bool {
        *self == End::Exited(0)
    }
}

impl fmt::Display for End {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Exited(code) => write!(out, "ended with exit code {code}"),
            End::Signalled(signal) => write!(out, "was killed by {signal}"),
            End::Deadline(after) => {
                write!(out, "was killed at its deadline, after {:.0} s", after.as_secs_f64())
            }
        }
    }
}

/// What a program left running may still write after it ended.
const STRAGGLERS: Duration = Duration::from_secs(1);

/// The group of a program that runs; killed when dropped.
struct Group(Option<Pid>);

impl Group {
    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // It may have ended meanwhile, which is what is wanted.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end or to `deadline`, giving each line on.
///
/// To be awaited on the main thread, not in a task: the kernel ends the program when the thread that started it ends.
pub async fn run(
    mut command: Command,
    deadline: Instant,
    mut on_line: impl FnMut(Pipe, &str),
) -> io::Result<End> {
    let started = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    // SAFETY: between fork and exec only prctl is called, which is async-signal-safe; nothing is allocated.
    unsafe { command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)) };
    let mut child = command.spawn()?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let mut group = Group(id.map(Pid::from_raw));
    let (mut out, mut err) = (Lines::new(child.stdout.take()), Lines::new(child.stderr.take()));
    let mut status = None;
    let mut until = deadline;
    while status.is_none() || out.is_open() || err.is_open() {
        tokio::select! {
            line = out.next(), if out.is_open() => if let Some(line) = line { on_line(Pipe::Out, &line) },
            line = err.next(), if err.is_open() => if let Some(line) = line { on_line(Pipe::Err, &line) },
            ended = child.wait(), if status.is_none() => {
                status = Some(ended?);
                until = deadline.min(Instant::now() + STRAGGLERS);
            }
            () = sleep_until(until) => break,
        }
    }
    if status.is_some() && !out.is_open() && !err.is_open() {
        // Everybody who held the pipes is gone, and with them the group: its number may be somebody else's by now.
        group.0 = None;
    }
    group.kill();
    let Some(status) = status else {
        let _ = timeout(STRAGGLERS, child.wait()).await;
        return Ok(End::Deadline(started.elapsed()));
    };
    Ok(match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Signalled(
            signal.and_then(|signal| Signal::try_from(signal).ok()).map_or("a signal", Signal::as_str),
        ),
    })
}

/// Runs a program to its end or to `deadline`; gives what it printed.
pub async fn output(command: Command, deadline: Instant) -> io::Result<(End, String, String)> {
    let (mut out, mut err) = (String::new(), String::new());
    let keep = |pipe: Pipe, line: &str| {
        let text = match pipe {
            Pipe::Out => &mut out,
            Pipe::Err => &mut err,
        };
        text.push_str(line);
        text.push('\n');
    };
    let end = run(command, deadline, keep).await?;
    Ok((end, out, err))
}

/// The lines of a pipe, whatever bytes they are made of.
struct Lines<P> {
    pipe: Option<BufReader<P>>,
    partial: Vec<u8>,
}

impl<P: AsyncRead + Unpin> Lines<P> {
    fn new(pipe: Option<P>) -> Lines<P> {
        Lines { pipe: pipe.map(BufReader::new), partial: Vec::new() }
    }

    fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    /// The next line; `None` at the end. What was read when this is dropped is kept for the next call.
    async fn next(&mut self) -> Option<String> {
        let pipe = self.pipe.as_mut()?;
        let at_end = !matches!(pipe.read_until(b'\n', &mut self.partial).await, Ok(read) if read > 0);
        if at_end {
            self.pipe = None;
        }
        if self.partial.is_empty() {
            return None;
        }
        let line = String::from_utf8_lossy(&self.partial).trim_end_matches(['\n', '\r']).to_owned();
        self.partial.clear();
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    async fn ran(script: &str, within: Duration) -> (End, String, String) {
        output(shell(script), Instant::now() + within).await.unwrap()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn output_and_end_are_told() {
        let (end, out, err) = ran("echo one; printf two; echo three >&2; exit 3", LONG).await;
        assert_eq!((end, out.as_str(), err.as_str()), (End::Exited(3), "one\ntwo\n", "three\n"));
        let (end, ..) = ran("kill -ABRT $$", LONG).await;
        assert_eq!(end, End::Signalled("SIGABRT"));
    }

    #[tokio::test]
    async fn a_deadline_ends_the_whole_group() {
        let (end, out, _) = ran("sleep 1000 & echo $!; wait", Duration::from_millis(300)).await;
        assert!(matches!(end, End::Deadline(_)), "{end:?}");
        assert_is_gone(&out).await;
    }

    #[tokio::test]
    async fn what_a_program_leaves_running_is_ended_after_it() {
        let (end, out, _) = ran("sleep 1000 & echo $!", LONG).await;
        assert_eq!(end, End::Exited(0));
        assert_is_gone(&out).await;
    }

    /// Waits until the process does not run any more; that is up to the kernel once it was killed.
    async fn assert_is_gone(pid: &str) {
        let stat = format!("/proc/{}/stat", pid.trim());
        let gone = async {
            while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), gone).await.unwrap();
    }
}
