//! A work queue: each key at most once in it, never at two workers at the same time, later on request, with back-off after failures.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Delay after the first failure of a key; doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(20);
/// Longest delay between two attempts.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// See the module.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T> {
    ready: VecDeque<T>,
    queued: HashSet<T>,
    running: HashSet<T>,
    /// Added while running: queued again when the worker is done.
    again: HashSet<T>,
    later: HashMap<T, Instant>,
    failures: HashMap<T, u32>,
}

impl<T: Clone + Eq + Hash + Send + 'static> Queue<T> {
    /// An empty queue.
    pub(crate) fn new() -> Arc<Queue<T>> {
        let state = State {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            running: HashSet::new(),
            again: HashSet::new(),
            later: HashMap::new(),
            failures: HashMap::new(),
        };
        Arc::new(Queue { state: Mutex::new(state), changed: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Work on `key` as soon as possible.
    pub(crate) fn add(&self, key: T) {
        self.state().add(key);
        self.changed.notify_one();
    }

    /// Work on `key` after `delay`, or earlier when it was already due earlier.
    pub(crate) fn add_after(&self, key: T, delay: Duration) {
        let at = Instant::now() + delay;
        let mut state = self.state();
        let due = state.later.entry(key).or_insert(at);
        *due = at.min(*due);
        drop(state);
        self.changed.notify_one();
    }

    /// The next key; the caller must give it back through `done`.
    async fn next(&self) -> T {
        loop {
            let next_due = {
                let mut state = self.state();
                let now = Instant::now();
                let due: Vec<T> =
                    state.later.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect();
                for key in due {
                    state.later.remove(&key);
                    state.add(key);
                }
                if let Some(key) = state.ready.pop_front() {
                    state.queued.remove(&key);
                    state.running.insert(key.clone());
                    if !state.ready.is_empty() {
                        self.changed.notify_one();
                    }
                    return key;
                }
                state.later.values().min().copied()
            };
            match next_due {
                Some(at) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// Ends the work on `key`; the back-off starts anew.
    fn done(&self, key: T) {
        let mut state = self.state();
        state.failures.remove(&key);
        state.finish(key);
        drop(state);
        self.changed.notify_one();
    }

    /// Ends the work on `key` and schedules the next attempt.
    fn failed(&self, key: T) -> Duration {
        let mut state = self.state();
        let failures = state.failures.entry(key.clone()).or_insert(0);
        *failures += 1;
        let delay = FIRST_RETRY.saturating_mul(1 << (*failures - 1).min(16)).min(LAST_RETRY);
        state.finish(key.clone());
        drop(state);
        self.add_after(key, delay);
        delay
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    fn add(&mut self, key: T) {
        if self.running.contains(&key) {
            self.again.insert(key);
        } else if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn finish(&mut self, key: T) {
        self.running.remove(&key);
        if self.again.remove(&key) {
            self.add(key);
        }
    }
}

/// The running tasks of all controllers.
pub(crate) struct Tasks {
    set: JoinSet<()>,
    shutdown: CancellationToken,
    /// Becomes true when every cache is complete: a worker that counted in a half-filled one would create everything twice.
    complete: watch::Sender<bool>,
}

impl Tasks {
    /// No tasks yet.
    pub(crate) fn new(shutdown: CancellationToken) -> Tasks {
        Tasks { set: JoinSet::new(), shutdown, complete: watch::Sender::new(false) }
    }

    /// When to end.
    pub(crate) fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Adds a task that ends by itself after `shutdown`.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.set.spawn(task);
    }

    /// Lets the workers begin.
    pub(crate) fn caches_are_complete(&self) {
        self.complete.send_replace(true);
    }

    /// Waits for the end of all tasks; an error is a panic of one of them.
    pub(crate) async fn join(mut self) -> Result<(), JoinError> {
        while let Some(ended) = self.set.join_next().await {
            ended?;
        }
        Ok(())
    }

    /// Starts `workers` tasks that call `sync` for each key. `sync` says when to look at the key again without a change.
    pub(crate) fn work<T, F, R>(
        &mut self,
        controller: &'static str,
        workers: usize,
        queue: Arc<Queue<T>>,
        sync: F,
    ) where
        T: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static,
        F: Fn(T) -> R + Clone + Send + 'static,
        R: Future<Output = Result<Option<Duration>, kube::Error>> + Send + 'static,
    {
        for _ in 0..workers {
            let (queue, shutdown, sync) = (queue.clone(), self.shutdown.clone(), sync.clone());
            let mut complete = self.complete.subscribe();
            self.set.spawn(async move {
                let loop_ = async {
                    // Fails only when the controllers are gone, and then `shutdown` has come too.
                    if complete.wait_for(|complete| *complete).await.is_ok() {
                        work(controller, &queue, sync).await;
                    }
                };
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = loop_ => {}
                }
            });
        }
    }
}

async fn work<T, F, R>(controller: &'static str, queue: &Queue<T>, sync: F)
where
    T: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static,
    F: Fn(T) -> R,
    R: Future<Output = Result<Option<Duration>, kube::Error>>,
{
    loop {
        let key = queue.next().await;
        match sync(key.clone()).await {
            Ok(later) => {
                queue.done(key.clone());
                if let Some(delay) = later {
                    queue.add_after(key, delay);
                }
            }
            Err(error) if is_routine(&error) => {
                let delay = queue.failed(key.clone());
                tracing::debug!(controller, %key, ?delay, %error, "will try again");
            }
            Err(error) => {
                let delay = queue.failed(key.clone());
                tracing::warn!(controller, %key, ?delay, %error, "will try again");
            }
        }
    }
}

/// Errors that concurrent writers and deletions cause all the time.
fn is_routine(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    matches!(status.code, 404 | 409) || causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn key_added_twice_is_worked_on_once() {
        let queue = Queue::new();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!((queue.next().await, queue.next().await), ("a", "b"));
        assert_eq!(queue.next().now_or_never(), None);
    }

    #[tokio::test]
    async fn key_added_while_running_is_worked_on_again_afterwards() {
        let queue = Queue::new();
        queue.add("a");
        let key = queue.next().await;
        queue.add("a");
        assert_eq!(queue.next().now_or_never(), None);
        queue.done(key);
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test]
    async fn later_key_comes_when_first_due() {
        let queue = Queue::new();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(3600));
        queue.add_after("a", Duration::from_millis(20));
        assert_eq!(queue.next().now_or_never(), None);
        assert_eq!(queue.next().await, "a");
        assert!(start.elapsed() >= Duration::from_millis(20));
    }

    #[tokio::test]
    async fn failures_back_off_and_success_forgets_them() {
        let queue = Queue::new();
        let mut delays = Vec::new();
        queue.add("a");
        for _ in 0..3 {
            let key = queue.next().await;
            delays.push(queue.failed(key).as_millis());
        }
        let key = queue.next().await;
        queue.done(key);
        queue.add("a");
        let key = queue.next().await;
        delays.push(queue.failed(key).as_millis());
        assert_eq!(delays, [20, 40, 80, 20]);
    }
}
