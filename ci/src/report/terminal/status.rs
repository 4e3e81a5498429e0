//! What is under way, in one line.

use jiff::Timestamp;

use crate::event::{Stage, TestState};
use crate::report::{Report, StageReport, State, TierReport, text};

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
/// When no more tests than these are awaited, they are named.
const NAMED: usize = 3;

/// The moving sign that shows somebody is at work.
pub(super) fn frame(now: Timestamp) -> &'static str {
    FRAMES[usize::try_from(now.as_millisecond() / 100).unwrap_or(0) % FRAMES.len()]
}

/// As in "1m 04s  compiling 60 of 241 (kube-core) · Unit Tests 3 of 5"; `None` before the run and after it.
pub(in crate::report) fn status(report: &Report, now: Timestamp) -> Option<String> {
    let began = report.began.filter(|_| report.verdict.is_none())?;
    let mut parts = Vec::new();
    for compilation in report.compilations.iter().filter(|compilation| compilation.running) {
        let progress = match compilation.progress {
            Some((done, total)) => format!("compiling {done} of {total}"),
            None => "compiling".to_string(),
        };
        let latest = compilation.latest.as_ref().map_or_else(String::new, |latest| format!(" ({latest})"));
        parts.push(format!("{progress}{latest}"));
    }
    let given_up = |stage: &StageReport| stage.stage == Stage::Deploy && stage.state == State::Failed;
    let components = report.components.iter().filter(|component| !component.ready);
    if !report.stages.iter().any(given_up) {
        parts.extend(components.filter_map(|component| {
            Some(format!("{} waits for {}", component.name, component.waiting.as_ref()?))
        }));
    }
    let tiers = || report.tiers.iter().filter(|tier| tier.state == State::Running);
    parts.extend(tiers().filter(|tier| !tier.tests.is_empty()).map(tests));
    if parts.is_empty() {
        let stages = report.stages.iter().filter(|stage| stage.state == State::Running);
        parts.extend(stages.map(|stage| format!("stage {}", stage.stage)));
    }
    if parts.is_empty() {
        parts.extend(tiers().map(|tier| tier.title.clone()));
    }
    let since = text::duration(now.duration_since(began).unsigned_abs());
    Some(format!("{since}  {}", parts.join(" · ")))
}

/// As in "Unit Tests 611 of 612, 1 failed, waiting for heat::tests::water_boils".
fn tests(tier: &TierReport) -> String {
    let counts = tier.counts();
    let total = tier.tests.len();
    let failed = match counts.failed {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    let awaited = match counts.not_run {
        1..=NAMED => {
            let awaited = tier.tests.values().filter(|test| test.state == TestState::NotRun);
            let names: Vec<&str> = awaited.map(|test| test.test.name.as_str()).collect();
            format!(", waiting for {}", names.join(", "))
        }
        _ => String::new(),
    };
    format!("{} {} of {total}{failed}{awaited}", tier.title, total - counts.not_run)
}
