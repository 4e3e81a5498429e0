//! `report.md`: the status report people used to write at night. Overview by tier, architecture, requirements, issues with their
//! causes, next steps.

use images::proof::Boot;

use super::{Counts, Issue, Report, State, text};
use crate::event::Verdict;

/// The report as Markdown.
pub fn markdown(report: &Report) -> String {
    let mut page = Page::default();
    head(&mut page, report);
    overview(&mut page, report);
    deployment(&mut page, report);
    architecture(&mut page, report);
    coverage(&mut page, report);
    issues(&mut page, report);
    next_steps(&mut page, report);
    page.text
}

/// Text that grows by paragraphs.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// A line, or several.
    fn line(&mut self, line: impl AsRef<str>) {
        self.text.push_str(line.as_ref());
        self.text.push('\n');
    }

    fn heading(&mut self, heading: &str) {
        self.line(format!("\n{heading}\n"));
    }

    fn table<const N: usize>(&mut self, head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
        self.row(&head.map(str::to_string));
        self.row(&head.map(|_| "---".to_string()));
        for row in rows {
            self.row(&row.map(|cell| cell.replace('|', "\\|").replace('\n', " ")));
        }
    }

    fn row(&mut self, cells: &[String]) {
        self.line(format!("| {} |", cells.join(" | ")));
    }

    /// A fence longer than any inside.
    fn block(&mut self, content: &str) {
        let longest = content.split(|c| c != '`').map(str::len).max().unwrap_or(0);
        let fence = "`".repeat(longest.max(2) + 1);
        self.line(format!("{fence}\n{}\n{fence}", content.trim_end()));
    }
}

fn head(page: &mut Page, report: &Report) {
    let pipeline = report.run.as_ref().map_or("run", |run| run.pipeline.as_str());
    page.line(format!("# `{pipeline}`: {}\n", verdict(report)));
    if let Some(run) = &report.run {
        let began = report.began.map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M UTC").to_string());
        page.line(format!("**Date**: {began}  "));
        page.line(format!("**Command**: `{}`  ", run.command));
        if let Some(commit) = &run.commit {
            page.line(format!("**Commit**: {commit}  "));
        }
        page.line(format!("**Machine**: {}, {}  ", run.platform, text::number(run.cores, "core")));
    }
    let counts = report.counts();
    page.line(format!(
        "**Status**: {} {} in {}; {}  ",
        symbol(report.verdict == Some(Verdict::Passed)),
        verdict(report),
        text::duration(report.took()),
        text::counts(counts),
    ));
    if let Some(Issue { title, causes, .. }) = report.issues().into_iter().find(|issue| issue.blocking) {
        let cause = causes.first().map_or_else(String::new, |cause| format!(": {cause}"));
        page.line(format!("**Blocker**: {title}{cause}  "));
    }
    for left_out in report.left_out() {
        page.line(format!("**Left out**: {left_out}  "));
    }
}

fn overview(page: &mut Page, report: &Report) {
    page.heading("## Overview");
    page.table(
        ["Phase", "Status", "Tests passed", "Failed", "Skipped", "Not run", "Flaky", "Time"],
        report.tiers.iter().map(|tier| {
            let Counts { passed, flaky, failed, skipped, not_run } = tier.counts();
            let total = passed + flaky + failed + skipped + not_run;
            let counted = |number: usize| match total {
                0 => "—".to_string(),
                _ => number.to_string(),
            };
            let reason = tier.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            [
                format!("**{}**", tier.title),
                format!("{} {}{reason}", state_symbol(tier.state), tier.state.word()),
                match total {
                    0 => "—".to_string(),
                    _ => format!("{}/{total}", passed + flaky),
                },
                counted(failed),
                counted(skipped),
                counted(not_run),
                counted(flaky),
                tier.span.took.map_or_else(|| "—".to_string(), text::duration),
            ]
        }),
    );
}

fn deployment(page: &mut Page, report: &Report) {
    let Some(cluster) = &report.cluster else { return };
    page.heading("## Deployment");
    let ready = match cluster.took {
        Some(took) => format!(", ready after {}", text::duration(took)),
        None => String::new(),
    };
    page.line(format!("Cluster: **{}** ({}){ready}.\n", cluster.provider, cluster.reason));
    if !report.images.is_empty() {
        page.table(
            ["Image", "Digest", "Platforms", "Size", "Sent"],
            report.images.iter().map(|image| {
                [
                    image.name.clone(),
                    format!("`{}`", text::short_digest(&image.digest)),
                    image.platforms.join(", "),
                    text::bytes(image.bytes),
                    image.sent.map_or_else(|| "—".to_string(), text::bytes),
                ]
            }),
        );
        page.line("");
    }
    if !report.components.is_empty() {
        page.table(
            ["Component", "Status", "Objects", "Changed", "Time"],
            report.components.iter().map(|component| {
                let status = match (&component.waiting, component.ready) {
                    (_, true) => "✅ ready".to_string(),
                    (Some(waiting), false) => format!("❌ not ready: {waiting}"),
                    (None, false) => "❌ not ready".to_string(),
                };
                [
                    component.name.clone(),
                    status,
                    component.objects.to_string(),
                    component.changed.to_string(),
                    component.span.took.map_or_else(|| "—".to_string(), text::duration),
                ]
            }),
        );
    }
}

fn architecture(page: &mut Page, report: &Report) {
    if report.architecture.is_empty() {
        return;
    }
    page.heading("## Architecture");
    let node = report.cluster.as_ref().and_then(|cluster| cluster.architecture.as_deref());
    if let Some(node) = node {
        page.line(format!(
            "The nodes are {node}. Each executable was examined in the bytes its layer is made of.\n"
        ));
    }
    page.table(
        ["Image", "Platform", "Executable", "ELF machine", "Linkage", "Started", "Runs on the nodes"],
        report.architecture.iter().map(|row| {
            let for_nodes = node.map(|node| row.platform.split('/').nth(1) == Some(node));
            [
                row.image.clone(),
                row.platform.clone(),
                format!("`{}`", row.file),
                format!("✅ {}", row.machine),
                row.linkage.to_string(),
                match &row.boot {
                    Boot::Native { answer } => format!("✅ native: {answer}"),
                    Boot::Emulated { emulator, answer } => format!("✅ emulated by {emulator}: {answer}"),
                    Boot::NotRun { reason } => format!("not run: {reason}"),
                },
                match for_nodes {
                    None => "—".to_string(),
                    Some(true) => "✅ yes".to_string(),
                    Some(false) => "no, for other nodes".to_string(),
                },
            ]
        }),
    );
}

fn coverage(page: &mut Page, report: &Report) {
    if report.coverage.is_empty() {
        return;
    }
    let covered = report.coverage.iter().filter(|covered| covered.holds()).count();
    page.heading("## Requirement coverage");
    page.line(format!("{covered} of {} are covered by tests that passed.\n", report.coverage.len()));
    page.table(
        ["Requirement", "Title", "Status", "Tests"],
        report.coverage.iter().map(|covered| {
            let tests = covered.tests.iter().map(|test| format!("`{}` {}", test.test, test.state));
            [
                covered.id.clone(),
                covered.title.clone(),
                match covered.holds() {
                    true => "✅ covered".to_string(),
                    false => "❌ not covered".to_string(),
                },
                tests.collect::<Vec<_>>().join("<br>"),
            ]
        }),
    );
}

fn issues(page: &mut Page, report: &Report) {
    page.heading("## Issues");
    let issues = report.issues();
    if issues.is_empty() {
        page.line("None.");
    }
    for (number, issue) in issues.iter().enumerate() {
        let Issue { title, blocking, symptoms, causes, fixes } = issue;
        let mark = if *blocking { "❌" } else { "⚠️" };
        if number > 0 {
            page.line("");
        }
        page.line(format!("### {}. {mark} {title}", number + 1));
        if !symptoms.is_empty() {
            page.line("\n**Symptoms**:\n");
            page.block(&text::tail(symptoms, 80));
        }
        listed(page, "Cause", "Causes", causes);
        listed(page, "Fix", "Fixes", fixes);
    }
    if !report.notes.is_empty() {
        page.heading("## Notes");
        report.notes.iter().for_each(|note| page.line(format!("- {note}")));
    }
}

/// One is said in a line, several are numbered by likelihood.
fn listed(page: &mut Page, what: &str, plural: &str, items: &[String]) {
    match items {
        [] => {}
        [only] => page.line(format!("\n**{what}**: {only}")),
        several => {
            page.line(format!("\n**{plural}**, the most likely first:\n"));
            several
                .iter()
                .enumerate()
                .for_each(|(number, item)| page.line(format!("{}. {item}", number + 1)));
        }
    }
}

fn next_steps(page: &mut Page, report: &Report) {
    page.heading("## Next steps");
    let steps = report.next_steps();
    if steps.is_empty() {
        page.line("Nothing is left to do.");
    }
    steps.iter().enumerate().for_each(|(number, step)| page.line(format!("{}. {step}", number + 1)));
}

fn verdict(report: &Report) -> String {
    report.verdict.map_or_else(|| "did not finish".to_string(), |verdict| verdict.to_string())
}

fn symbol(good: bool) -> &'static str {
    if good { "✅" } else { "❌" }
}

fn state_symbol(state: State) -> &'static str {
    match state {
        State::Passed | State::Reused => "✅",
        State::Failed => "❌",
        State::Blocked => "⚠️",
        State::Waiting | State::Running | State::Skipped | State::NotRun => "▫️",
    }
}
