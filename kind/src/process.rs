//! Processes of others, told apart by pid and start time, so that a signal never reaches a recycled pid.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

/// A process, for as long as it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// When it started, in clock ticks since boot: `starttime` of proc(5).
    pub start_time: u64,
}

impl Process {
    /// The process that has this id now.
    pub fn current(pid: u32) -> Option<Process> {
        stat(pid).map(|(_, start_time)| Process { pid, start_time })
    }

    /// Whether it still runs. A zombie has ended.
    pub fn is_alive(&self) -> bool {
        stat(self.pid)
            .is_some_and(|(state, start_time)| start_time == self.start_time && !matches!(state, 'Z' | 'X'))
    }

    /// Asks it to end, insists after `patience`, and returns when it is gone.
    pub async fn stop(&self, patience: Duration) {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            self.send(signal);
            if self.ends_within(patience).await {
                return;
            }
        }
    }

    /// Ends it without asking.
    pub fn kill(&self) {
        self.send(Signal::SIGKILL);
    }

    fn send(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().filter(|_| self.is_alive()) {
            // It may have ended meanwhile, which is what was wanted.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }

    /// Whether it ends within `patience`. Not our child in general, so there is nothing to wait on but /proc.
    pub(crate) async fn ends_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while self.is_alive() {
            if Instant::now() >= deadline {
                return false;
            }
            sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

/// Processes one of whose arguments is exactly `argument`, without this process itself.
pub(crate) fn with_argument(argument: &Path) -> Vec<Process> {
    let wanted = argument.as_os_str().as_bytes();
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).filter(|pid| *pid != own);
    pids.filter(|pid| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == wanted)
    })
    .filter_map(Process::current)
    .collect()
}

/// State letter and start time of a process. The command name may contain spaces and brackets, so fields count from its end.
fn stat(pid: u32) -> Option<(char, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
    Some((fields.first()?.chars().next()?, fields.get(19)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_one_with_another_start_time_is_not() {
        let this = Process::current(std::process::id()).unwrap();
        assert!(this.is_alive());
        assert!(!Process { start_time: this.start_time + 1, ..this }.is_alive());
    }

    #[test]
    fn an_ended_child_counts_as_gone_before_it_is_reaped() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = Process::current(child.id());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        if let Some(process) = process {
            assert!(runtime.block_on(process.ends_within(Duration::from_secs(10))));
        }
        assert!(child.wait().unwrap().success());
    }
}
