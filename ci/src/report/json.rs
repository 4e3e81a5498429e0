//! `report.json`: the whole report for machines. What most of them ask for comes first.

use indexmap::IndexMap;
use serde::{Serialize, Serializer};

use super::{Counts, Issue, Report, State};

/// Raised when a field changes its meaning or goes away.
const VERSION: u32 = 1;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Document<'a> {
    version: u32,
    counts: Counts,
    /// Stages and tiers that failed although no test of theirs did: a compiler's error, a deployment, a requirement.
    failed_gates: usize,
    issues: Vec<Issue>,
    next_steps: Vec<String>,
    #[serde(flatten)]
    report: &'a Report,
}

/// The report as JSON.
pub fn json(report: &Report) -> serde_json::Result<String> {
    let stages = report.stages.iter().filter(|stage| stage.state == State::Failed).count();
    let tiers =
        report.tiers.iter().filter(|tier| tier.state == State::Failed && tier.counts().failed == 0).count();
    let document = Document {
        version: VERSION,
        counts: report.counts(),
        failed_gates: stages + tiers,
        issues: report.issues(),
        next_steps: report.next_steps(),
        report,
    };
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    Ok(text)
}

/// A map by keys that its values repeat, as a list.
pub(super) fn values<K, V: Serialize, S: Serializer>(
    map: &IndexMap<K, V>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(map.values())
}
