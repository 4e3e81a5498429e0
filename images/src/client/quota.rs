//! What a registry counts, as it says in its headers: `ratelimit-limit: 100;w=21600`, `ratelimit-remaining: 76;w=21600`, and for whom,
//! `docker-ratelimit-source`.

use std::time::Duration;

use reqwest::header::HeaderMap;
use serde::{Serialize, Serializer};

/// A registry's quota of manifest reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Quota {
    /// Reads that are left.
    pub remaining: u32,
    /// Reads there are in a window.
    pub limit: Option<u32>,
    /// How long a window is.
    #[serde(serialize_with = "seconds", rename = "window-seconds")]
    pub window: Option<Duration>,
    /// For whom it counts: an address, or an account.
    pub counted_for: Option<String>,
}

fn seconds<S: Serializer>(window: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    window.map(|window| window.as_secs()).serialize(serializer)
}

impl Quota {
    /// What an answer says; nothing when it does not say how many are left.
    pub(super) fn read(headers: &HeaderMap) -> Option<Quota> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (remaining, in_window) = number(text("ratelimit-remaining")?)?;
        let limit = text("ratelimit-limit").and_then(number);
        // A registry's text goes to a terminal.
        let printable = |text: &str| text.chars().filter(char::is_ascii_graphic).take(100).collect();
        Some(Quota {
            remaining,
            limit: limit.map(|(limit, _)| limit),
            window: in_window.or(limit.and_then(|(_, window)| window)),
            counted_for: text("docker-ratelimit-source").map(printable),
        })
    }
}

/// `<number>[;w=<seconds>]`
fn number(value: &str) -> Option<(u32, Option<Duration>)> {
    let mut parts = value.split(',').next()?.split(';').map(str::trim);
    let number = parts.next()?.parse().ok()?;
    let window = parts.find_map(|part| part.strip_prefix("w=")?.parse().ok()).map(Duration::from_secs);
    Some((number, window))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn quota(
        remaining: u32,
        limit: Option<u32>,
        window: Option<u64>,
        counted_for: Option<&str>,
    ) -> Option<Quota> {
        let window = window.map(Duration::from_secs);
        Some(Quota { remaining, limit, window, counted_for: counted_for.map(str::to_owned) })
    }

    #[track_caller]
    fn check(headers: &[(&'static str, &str)], expected: Option<Quota>) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        assert_eq!(Quota::read(&headers), expected, "{headers:?}");
    }

    #[test]
    fn what_a_registry_counts_is_read_from_its_headers() {
        let docker_hub = [
            ("ratelimit-limit", "100;w=21600"),
            ("ratelimit-remaining", "76;w=21600"),
            ("docker-ratelimit-source", "192.0.2.1"),
        ];
        check(&docker_hub, quota(76, Some(100), Some(21600), Some("192.0.2.1")));
        check(&[("ratelimit-remaining", "0")], quota(0, None, None, None));
        let list = [("ratelimit-limit", "100, 100;w=60"), ("ratelimit-remaining", " 3 ")];
        check(&list, quota(3, Some(100), None, None));
        let spaced = [("ratelimit-limit", "200; w=60"), ("ratelimit-remaining", "9")];
        check(&spaced, quota(9, Some(200), Some(60), None));
        for nothing in [&[("ratelimit-limit", "100;w=21600")][..], &[("ratelimit-remaining", "many")], &[]] {
            check(nothing, None);
        }
    }
}
