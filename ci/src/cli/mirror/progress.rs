//! What is shown while images move: one line that changes on a terminal, a line for each tag elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ci::exit::{Failure, Reason};
use images::mirror::MirrorEvent;

use super::shown::bytes;

/// How often the line changes.
const PACE: Duration = Duration::from_millis(150);

/// Counts what moves.
pub(super) struct Progress {
    live: bool,
    state: Mutex<State>,
}

struct State {
    started: Instant,
    shown: Option<Instant>,
    blobs: usize,
    all_blobs: usize,
    bytes: u64,
    all_bytes: u64,
}

impl Progress {
    /// On stderr.
    pub(super) fn stderr() -> Progress {
        let state =
            State { started: Instant::now(), shown: None, blobs: 0, all_blobs: 0, bytes: 0, all_bytes: 0 };
        Progress { live: io::stderr().is_terminal(), state: Mutex::new(state) }
    }

    /// Takes in what happened.
    pub(super) fn take(&self, event: MirrorEvent) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            MirrorEvent::Transfer { blobs, bytes: total } => {
                (state.all_blobs, state.all_bytes, state.started) = (blobs, total, Instant::now());
                if !self.live && blobs > 0 {
                    say(&format!("moving {blobs} blobs, at most {}", bytes(total)));
                }
            }
            MirrorEvent::Progress { bytes } => state.bytes += bytes,
            MirrorEvent::Blob { .. } => state.blobs += 1,
            MirrorEvent::Promoted { image, digest } => self.above(&format!("{image} is {digest}")),
            MirrorEvent::Failed { failure } => {
                let told = Failure::new(Reason::Partial, &*failure, failure.hint());
                self.above(&told.to_string());
            }
            _ => {}
        }
        let due = state.shown.is_none_or(|shown| shown.elapsed() >= PACE);
        if self.live && due && state.all_blobs > 0 {
            state.shown = Some(Instant::now());
            let _ = write!(io::stderr(), "\r\x1b[K{}", line(&state, state.started.elapsed()));
        }
    }

    /// A line that stays.
    fn above(&self, text: &str) {
        if self.live {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        say(text);
    }

    /// Takes the changing line away.
    pub(super) fn finish(&self) {
        if self.live {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// One line on stderr; there is nobody to tell when that fails.
pub(in crate::cli) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn line(state: &State, elapsed: Duration) -> String {
    let State { blobs, all_blobs, bytes: moved, all_bytes, .. } = state;
    let rate = *moved as f64 / elapsed.as_secs_f64().max(0.001);
    let left = match (all_bytes.saturating_sub(*moved), rate) {
        (0, _) => String::new(),
        (_, rate) if rate < 1.0 => String::new(),
        (rest, rate) => format!(", {:.0} s left", (rest as f64 / rate).ceil()),
    };
    format!(
        "{blobs} of {all_blobs} blobs, {} of at most {}, {}/s{left}",
        bytes(*moved),
        bytes(*all_bytes),
        bytes(rate as u64)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_bytes_rate_and_time_left() {
        let state = State {
            started: Instant::now(),
            shown: None,
            blobs: 3,
            all_blobs: 12,
            bytes: 30_000_000,
            all_bytes: 90_000_000,
        };
        let told = line(&state, Duration::from_secs(2));
        assert_eq!(told, "3 of 12 blobs, 30.0 MB of at most 90.0 MB, 15.0 MB/s, 4 s left");
        let told = line(&State { bytes: 0, ..state }, Duration::from_secs(2));
        assert_eq!(told, "3 of 12 blobs, 0 B of at most 90.0 MB, 0 B/s");
    }
}
