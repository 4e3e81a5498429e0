//! Every test, by tier, the slowest first; those that did not simply pass stand above them.

use super::element::escape;
use crate::event::TestState;
use crate::report::{Report, TestReport, TierReport, text};

/// The section.
pub(super) fn tests(report: &Report) -> String {
    let tiers: String = report.tiers.iter().filter(|tier| !tier.tests.is_empty()).map(tier).collect();
    if tiers.is_empty() {
        return String::new();
    }
    format!(
        "<section>\n<h2>Tests<span class=\"aside\">{}</span></h2>\n\
         <input type=\"search\" id=\"filter\" placeholder=\"Filter by name or state\" aria-label=\"Filter tests\">\n{tiers}</section>\n",
        text::counts(report.counts()),
    )
}

fn tier(tier: &TierReport) -> String {
    let mut tests: Vec<&TestReport> = tier.tests.values().collect();
    let took = |test: &TestReport| test.attempts.iter().filter_map(|attempt| attempt.took).max();
    tests.sort_by_key(|test| (test.state == TestState::Passed, std::cmp::Reverse(took(test))));
    let rows: String = tests
        .iter()
        .map(|test| {
            let state = test.state.to_string();
            let class = state.replace(' ', "-");
            let attempts = match test.attempts.len() {
                0 | 1 => String::new(),
                attempts => format!(" <span class=\"quiet\">{attempts} attempts</span>"),
            };
            format!(
                "<tr><td><span class=\"dot {class}\"></span>{state}<td class=\"suite\">{}<td><code>{}</code>{attempts}<td class=\"n\">{}\n",
                escape(&test.test.suite),
                escape(&test.test.name),
                took(test).map_or_else(String::new, text::duration),
            )
        })
        .collect();
    let counts = tier.counts();
    format!(
        "<details class=\"tests\"><summary>{}<span class=\"quiet\">{}</span></summary>\n\
         <table><thead><tr><th>State<th>Suite<th>Test<th class=\"n\">Time<tbody>{rows}</table></details>\n",
        escape(&tier.title),
        text::counts(counts),
    )
}
