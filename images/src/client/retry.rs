//! Whether to try again, and when. Pure, apart from the die.

use std::time::Duration;

use jiff::{Timestamp, fmt::rfc2822};
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// What happened to a request that did not get its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// No answer, or half of one.
    Connection,
    /// An answer that may be another one the next time, with the wait it asks for.
    Status { status: u16, wait: Option<Duration> },
}

/// Whether a status says "not now" rather than "no".
pub(super) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// The pause before attempt number `next` (the first attempt is number 1): what the registry asks for, else doubling, half of it random.
/// `dice` is between 0 and 1.
pub(super) fn pause(trouble: Trouble, next: u32, first: Duration, dice: f64) -> Duration {
    let doubled = first.saturating_mul(1 << next.saturating_sub(2).min(8)).min(Duration::from_secs(30));
    let jittered = doubled.mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0);
    match trouble {
        // Never earlier than asked; a little later, so that not all come back at once.
        Trouble::Status { wait: Some(wait), .. } => {
            wait + first.min(Duration::from_secs(1)).mul_f64(dice.clamp(0.0, 1.0))
        }
        Trouble::Status { wait: None, .. } | Trouble::Connection => jittered,
    }
}

/// Reads `Retry-After`: seconds, or a date against `now`.
pub(super) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    // HTTP writes `GMT` where mail writes `+0000`; mail understands both.
    let date = rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
}

/// A number between 0 and 1 that differs from one call to the next.
pub(super) fn roll() -> f64 {
    let bits = uuid::Uuid::new_v4().as_u128() as u32;
    f64::from(bits) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_given_in_seconds_or_as_a_date() {
        let now: Timestamp = "2026-11-06T08:49:37Z".parse().unwrap();
        let check = |text: &'static str, expected: Option<u64>| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
        };
        check("7", Some(7));
        check(" 0 ", Some(0));
        check("Fri, 06 Nov 2026 08:50:37 GMT", Some(60));
        check("Fri, 06 Nov 2026 08:00:00 GMT", Some(0));
        check("soon", None);
        check("-3", None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_never_undercut_the_registry() {
        let first = Duration::from_millis(100);
        let check = |next, dice, expected| {
            assert_eq!(pause(Trouble::Connection, next, first, dice), Duration::from_millis(expected));
        };
        check(2, 1.0, 100);
        check(3, 1.0, 200);
        check(4, 0.0, 200);
        check(40, 1.0, 25_600);
        let asked = Trouble::Status { status: 429, wait: Some(Duration::from_secs(5)) };
        assert!(pause(asked, 2, first, 0.0) >= Duration::from_secs(5));
        assert!(pause(asked, 2, first, 1.0) <= Duration::from_secs(6));
    }
}
