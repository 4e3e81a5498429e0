//! A running container: its process, its log, its end, and how it is brought about.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Lifecycle};
use nix::sys::signal::Signal;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::observed::Ended;
use crate::node::cgroup::Cgroup;
use crate::node::log::{Log, last_words};
use crate::node::probe::check::{Check, Target};
use crate::node::sandbox::launch::{Exit, Running};

/// A termination message is not longer.
const WORDS_LIMIT: usize = 4096;

/// How long the output of a container may outlive it.
const OUTPUT_ENDS_WITHIN: Duration = Duration::from_secs(2);

/// What a container has after its preStop hook, however long that took.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Instance {
    /// Unique among all instances.
    pub id: String,
    /// Image by digest.
    pub image_id: String,
    /// When it started.
    pub since: Timestamp,
    /// How to talk to it.
    pub target: Arc<Target>,
    /// What it writes.
    pub log: Arc<Log>,
    /// Where it leaves its termination message.
    pub words: PathBuf,
    /// How it is asked to end.
    pub stop_signal: Signal,
    /// Its process.
    pub running: Running,
    /// Cancelled when it has ended.
    pub over: CancellationToken,
    /// What limits it.
    pub cgroup: Option<Cgroup>,
}

impl Instance {
    /// Waits for the end and says how it was. To be awaited once.
    pub(crate) async fn end(&self, container: &Container, output: JoinHandle<std::io::Result<()>>) -> Ended {
        let exit = self.running.wait().await.unwrap_or_else(|error| {
            tracing::error!(container = container.name, %error, "cannot learn how a container ended");
            Exit { code: 255, signal: None }
        });
        let finished = Timestamp::now();
        self.over.cancel();
        match timeout(OUTPUT_ENDS_WITHIN, output).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => tracing::warn!(container = container.name, %error, "log is incomplete"),
            Ok(Err(_)) | Err(_) => tracing::debug!(container = container.name, "output has no end"),
        }
        let starved = self.cgroup.as_ref().is_some_and(Cgroup::ran_out_of_memory);
        let reason = match exit.code {
            0 => "Completed",
            137 if starved => "OOMKilled",
            _ => "Error",
        };
        Ended {
            code: exit.code,
            reason,
            message: self.message(container, exit.code),
            started: self.since,
            finished,
            id: Some(self.id.clone()),
        }
    }

    fn message(&self, container: &Container, code: i32) -> String {
        let words = std::fs::read(&self.words).unwrap_or_default();
        let from = words.len().saturating_sub(WORDS_LIMIT);
        let words = String::from_utf8_lossy(words.get(from..).unwrap_or_default()).into_owned();
        let from_log = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        if words.is_empty() && from_log && code != 0 { last_words(&self.log) } else { words }
    }

    /// Asks the process to end, after its preStop hook, and kills it at the deadline. The error is that of the hook.
    pub(crate) async fn stop(&self, lifecycle: Option<&Lifecycle>, grace: Duration) -> Result<(), String> {
        let mut deadline = Instant::now() + grace;
        let hook = lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let mut outcome = Ok(());
        if let Some(hook) = hook.filter(|_| !grace.is_zero()) {
            let check = Check::of_hook(hook);
            let hooked = async {
                tokio::select! {
                    () = self.over.cancelled() => Ok(()),
                    outcome = check.attempt(&self.target) => outcome.map_err(|failure| failure.message),
                }
            };
            outcome = timeout_at(deadline, hooked)
                .await
                .unwrap_or_else(|_| Err("it did not end within the grace period".to_owned()));
            deadline = deadline.max(Instant::now() + LEAST_GRACE);
        }
        if !grace.is_zero() {
            self.send(self.stop_signal);
            let _killed_otherwise = timeout_at(deadline, self.over.cancelled()).await;
        }
        self.kill();
        outcome
    }

    /// Ends it at once.
    pub(crate) fn kill(&self) {
        self.send(Signal::SIGKILL);
    }

    fn send(&self, signal: Signal) {
        if let Err(error) = self.running.signal(signal) {
            tracing::error!(id = self.id, %signal, %error, "cannot signal a container");
        }
    }
}

impl Drop for Instance {
    /// An engine that ends in disorder leaves no container behind.
    fn drop(&mut self) {
        if !self.over.is_cancelled() {
            self.kill();
        }
    }
}

/// The signal an image wants: `SIGTERM`, `TERM` or a number.
pub(crate) fn stop_signal(text: Option<&str>) -> Signal {
    let text = text.unwrap_or_default();
    let by_number = text.parse::<i32>().ok().and_then(|number| Signal::try_from(number).ok());
    let name = if text.starts_with("SIG") { text.to_owned() } else { format!("SIG{text}") };
    by_number.or_else(|| name.parse().ok()).unwrap_or(Signal::SIGTERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_names_its_stop_signal() {
        for (text, expected) in [
            (None, Signal::SIGTERM),
            (Some("SIGINT"), Signal::SIGINT),
            (Some("QUIT"), Signal::SIGQUIT),
            (Some("10"), Signal::SIGUSR1),
            (Some("nonsense"), Signal::SIGTERM),
        ] {
            assert_eq!(stop_signal(text), expected, "{text:?}");
        }
    }
}
