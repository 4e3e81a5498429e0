//! The end of a run on the terminal: what went wrong with output and hints, the overview, the verdict.

use super::look::{Tone, paint};
use crate::event::Verdict;
use crate::report::{Issue, Report, State, text};

/// Lines of output shown for each failure; all of it is in the files.
const OUTPUT: usize = 40;

/// The summary, ending in the verdict.
pub fn summary(report: &Report, colour: bool) -> String {
    let mut lines = Vec::new();
    for issue in report.issues() {
        lines.extend(self::issue(&issue, colour));
        lines.push(String::new());
    }
    lines.extend(overview(report, colour));
    lines.extend(verdict(report, colour));
    lines.push(String::new());
    lines.join("\n")
}

fn issue(issue: &Issue, colour: bool) -> Vec<String> {
    let Issue { title, blocking, symptoms, causes, fixes } = issue;
    let (tone, word) = if *blocking { (Tone::Bad, "error") } else { (Tone::Attention, "warning") };
    let mut lines = vec![format!("{}: {title}", paint(tone, word, colour))];
    let shown = text::tail(symptoms, OUTPUT);
    lines.extend(shown.lines().map(|line| format!("  {}", paint(Tone::Quiet, "│", colour) + " " + line)));
    lines
        .extend(causes.iter().map(|cause| format!("  {}: {cause}", paint(Tone::Attention, "cause", colour))));
    lines.extend(fixes.iter().map(|fix| format!("  {}: {fix}", paint(Tone::Plain, "hint", colour))));
    lines
}

fn overview(report: &Report, colour: bool) -> Vec<String> {
    let width = report.tiers.iter().map(|tier| tier.title.chars().count()).max().unwrap_or(0);
    let row = |tier: &crate::report::TierReport| {
        let tone = match tier.state {
            State::Passed | State::Reused => Tone::Good,
            State::Failed => Tone::Bad,
            State::Blocked | State::Skipped | State::NotRun | State::Waiting | State::Running => {
                Tone::Attention
            }
        };
        let state = paint(tone, &format!("{:<8}", tier.state.word()), colour);
        let time = tier.span.took.map_or_else(|| "-".to_string(), text::duration);
        let detail = match (&tier.reason, tier.tests.is_empty()) {
            (Some(reason), _) => reason.clone(),
            (None, false) => text::counts(tier.counts()),
            (None, true) => String::new(),
        };
        format!("  {:<width$}  {state}  {time:>8}  {detail}", tier.title).trim_end().to_string()
    };
    let mut lines: Vec<String> = report.tiers.iter().map(row).collect();
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

fn verdict(report: &Report, colour: bool) -> Vec<String> {
    let (tone, word) = match report.verdict {
        Some(Verdict::Passed) => (Tone::Good, "passed"),
        Some(Verdict::Failed) => (Tone::Bad, "failed"),
        Some(Verdict::Interrupted) => (Tone::Bad, "interrupted"),
        None => (Tone::Bad, "did not finish"),
    };
    let pipeline = report.run.as_ref().map_or("run", |run| run.pipeline.as_str());
    let counts = text::counts(report.counts());
    let mut line =
        format!("{pipeline} {} in {}: {counts}", paint(tone, word, colour), text::duration(report.took()));
    for left_out in report.left_out() {
        line.push_str(&format!(", without {left_out}"));
    }
    let mut lines = vec![line];
    if let Some(run) = &report.run {
        lines.push(format!("report: {}", run.directory.join("report.html").display()));
    }
    lines
}
