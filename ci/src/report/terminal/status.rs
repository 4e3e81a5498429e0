//! What is under way, in one line.

use jiff::Timestamp;

use crate::report::{Report, State, TierReport, text};

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// Running tests named at once.
const NAMED: usize = 2;

/// The moving sign that shows somebody is at work.
pub(super) fn frame(now: Timestamp) -> &'static str {
    FRAMES[usize::try_from(now.as_millisecond() / 100).unwrap_or(0) % FRAMES.len()]
}

/// As in "1m 04s  compiling 60 of 241 (kube-core) · unit 3 of 5"; `None` before the run and after it.
pub(super) fn status(report: &Report, now: Timestamp) -> Option<String> {
    let began = report.began.filter(|_| report.verdict.is_none())?;
    let mut parts = Vec::new();
    for compilation in report.compilations.iter().filter(|compilation| compilation.span.took.is_none()) {
        let progress = match compilation.progress {
            Some((done, total)) => format!("compiling {done} of {total}"),
            None => "compiling".to_string(),
        };
        let latest = compilation.latest.as_ref().map_or_else(String::new, |latest| format!(" ({latest})"));
        parts.push(format!("{progress}{latest}"));
    }
    let waiting = report.components.iter().filter(|component| !component.ready && report.verdict.is_none());
    for component in waiting {
        if let Some(waiting) = &component.waiting {
            parts.push(format!("{} waits for {waiting}", component.name));
        }
    }
    parts
        .extend(report.tiers.iter().filter(|tier| tier.state == State::Running && tier.has_tests).map(tests));
    if parts.is_empty() {
        let stages = report.stages.iter().filter(|stage| stage.state == State::Running);
        parts.extend(stages.map(|stage| stage.stage.to_string()));
        let tiers = report.tiers.iter().filter(|tier| tier.state == State::Running);
        parts.extend(tiers.map(|tier| tier.title.clone()));
    }
    let since = text::duration(now.duration_since(began).unsigned_abs());
    Some(format!("{since}  {}", parts.join(" · ")))
}

/// As in "unit 120 of 612, 1 failed: kettle heat::tests::water_boils".
fn tests(tier: &TierReport) -> String {
    let counts = tier.counts();
    let total = tier.tests.len();
    let failed = match counts.failed {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let running: Vec<&str> =
        tier.tests.values().filter(|test| test.running).map(|test| test.test.name.as_str()).collect();
    let named = match running.len() {
        0 => String::new(),
        1..=NAMED => format!(": {}", running.join(", ")),
        more => format!(": {} and {} more", running[..NAMED].join(", "), more - NAMED),
    };
    format!("{} {} of {total}{failed}{named}", tier.title, total - counts.not_run)
}
