//! How many requests a registry gets at once: one more while all goes well, half as many when it says "not now".

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Where it begins.
const FIRST: f64 = 32.0;
/// More than any registry is helped by.
const MOST: f64 = 128.0;
/// Refusals within this time have one cause and count once.
const ONE_CAUSE: Duration = Duration::from_millis(500);

/// The turns of one registry.
#[derive(Debug)]
pub(super) struct Flow {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    limit: f64,
    under_way: usize,
    halved: Option<Instant>,
}

/// One request's turn; the next one's begins when it is dropped.
pub(super) struct Turn<'a> {
    flow: &'a Flow,
}

impl Flow {
    pub fn new() -> Flow {
        let state = State { limit: FIRST, under_way: 0, halved: None };
        Flow { state: Mutex::new(state), freed: Notify::new() }
    }

    /// Waits until another request may be under way.
    pub async fn turn(&self) -> Turn<'_> {
        loop {
            // Who is about to wait is told of everything that happens after this line.
            let freed = self.freed.notified();
            if self.take() {
                return Turn { flow: self };
            }
            freed.await;
        }
    }

    fn take(&self) -> bool {
        let mut state = self.state();
        let free = (state.under_way as f64) < state.limit.floor();
        state.under_way += usize::from(free);
        free
    }

    /// A request was answered: a little more is possible, if what is possible was used.
    pub fn answered(&self) {
        let mut state = self.state();
        if state.under_way as f64 + 1.0 >= state.limit {
            state.limit = (state.limit + 1.0 / state.limit).min(MOST);
        }
    }

    /// The registry has had too much.
    pub fn refused(&self, now: Instant) {
        let mut state = self.state();
        if state.halved.is_some_and(|halved| now.saturating_duration_since(halved) < ONE_CAUSE) {
            return;
        }
        state.limit = (state.limit / 2.0).max(1.0);
        state.halved = Some(now);
    }

    /// How many may be under way now.
    #[cfg(test)]
    fn limit(&self) -> usize {
        self.state().limit as usize
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.flow.state().under_way -= 1;
        self.flow.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn refusals_of_one_moment_halve_once_and_answers_raise_again() {
        let flow = Flow::new();
        let begin = Instant::now();
        flow.refused(begin);
        flow.refused(begin + ONE_CAUSE / 2);
        assert_eq!(flow.limit(), 16);
        for refusal in 2..12 {
            flow.refused(begin + ONE_CAUSE * refusal);
        }
        assert_eq!(flow.limit(), 1);
        // One at a time now.
        let first = flow.turn().await;
        assert!(flow.turn().now_or_never().is_none());
        flow.answered();
        assert_eq!(flow.limit(), 2);
        let second = flow.turn().await;
        assert!(flow.turn().now_or_never().is_none());
        drop(first);
        drop(flow.turn().await);
        drop(second);
    }

    #[tokio::test]
    async fn what_is_not_used_does_not_grow() {
        let flow = Flow::new();
        for _ in 0..1000 {
            let _turn = flow.turn().await;
            flow.answered();
        }
        assert_eq!(flow.limit(), 32);
    }

    #[tokio::test]
    async fn everybody_who_waits_gets_a_turn() {
        let flow = Flow::new();
        for refusal in 1..8 {
            flow.refused(Instant::now() + ONE_CAUSE * refusal);
        }
        let turns = (0..100).map(|_| async {
            let _turn = flow.turn().await;
            tokio::task::yield_now().await;
        });
        assert_eq!(futures::future::join_all(turns).await.len(), 100);
    }
}
