//! Numbers as people read them.

use std::time::Duration;

use crate::report::Counts;

/// `0.24 s`, `12.3 s`, `1m 04s`, `1h 02m`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match duration.as_secs() {
        0..10 => format!("{seconds:.2} s"),
        10..60 => format!("{seconds:.1} s"),
        whole @ 60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        whole => format!("{}h {:02}m", whole / 3600, whole % 3600 / 60),
    }
}

/// `512 B`, `8.1 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1000.0;
    let mut unit = 0;
    while amount >= 1000.0 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

/// `1 test`, `2 tests`.
pub(super) fn number(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{number} {noun}s"),
    }
}

/// `12 passed, 1 flaky, 2 not run`; only what there is.
pub(super) fn counts(counts: Counts) -> String {
    let Counts { passed, flaky, failed, skipped, not_run } = counts;
    let parts = [
        (passed, "passed"),
        (flaky, "flaky"),
        (failed, "failed"),
        (skipped, "skipped"),
        (not_run, "not run"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    match parts.is_empty() {
        true => "no tests".to_string(),
        false => parts.join(", "),
    }
}

/// The last lines of an output, with how many were left out.
pub(super) fn tail(output: &str, lines: usize) -> String {
    let all: Vec<&str> = output.trim_end().lines().collect();
    match all.len().checked_sub(lines) {
        None | Some(0) => all.join("\n"),
        Some(left_out) => {
            format!("[{} before]\n{}", number(left_out, "line"), all[left_out..].join("\n"))
        }
    }
}

/// `sha256:1a2b3c4d5e6f`: enough to recognise a digest.
pub(super) fn short_digest(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}
