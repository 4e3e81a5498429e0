//! The tiers that run nothing: they judge what the run has shown so far.

use std::collections::BTreeMap;

use images::BuiltImage;
use images::policy::Severity;
use jiff::Zoned;

use crate::declaration::Provenance;
use crate::event::{Event, EventSink, Problem, RunEvent, TestId, TestState};
use crate::exit::{Failure, Reason};
use crate::requirements::Requirements;

/// Every finding is told; those that violate the policy fail the tier.
pub(super) fn policy(provenance: Option<&Provenance>, events: &EventSink) -> Result<(), Failure> {
    let Some(Provenance { policy, mentions, own, unlocked }) = provenance else { return Ok(()) };
    let findings = images::policy::check(policy, mentions, own, Zoned::now().date());
    let (violations, warnings): (Vec<_>, Vec<_>) =
        findings.iter().chain(unlocked).partition(|finding| finding.severity == Severity::Error);
    for warning in warnings {
        let message = format!("{}:{}: {}", warning.file, warning.line, warning.message);
        events.emit(Event::Run(RunEvent::Warning { message, hint: Some(warning.fix.clone()) }));
    }
    if violations.is_empty() {
        return Ok(());
    }
    let message =
        format!("{} of {} image references violate the registry policy", violations.len(), mentions.len());
    let causes = violations.iter().map(ToString::to_string).collect();
    let hint =
        Some(format!("the policy is `{}`; see it alone: cargo xtask policy check", images::policy::FILE));
    Err(Failure { reason: Reason::Policy, problem: Problem { message, causes, hint, ..Problem::default() } })
}

/// Every requirement has a passing test, and every test that is named exists.
pub(super) fn requirements(
    requirements: Option<&Requirements>,
    results: &BTreeMap<TestId, TestState>,
    events: &EventSink,
) -> Result<(), Failure> {
    let Some(requirements) = requirements else { return Ok(()) };
    let covered = requirements.coverage(results);
    let open: Vec<String> = covered
        .iter()
        .filter(|covered| !covered.holds())
        .map(|covered| format!("{} ({})", covered.id, covered.title))
        .collect();
    let all = covered.len();
    events.emit(Event::Run(RunEvent::Coverage { requirements: covered }));
    let known: Vec<TestId> = results.keys().cloned().collect();
    let unknown = requirements.unknown_tests(&known);
    if open.is_empty() && unknown.is_empty() {
        return Ok(());
    }
    let message = format!("{} of {all} requirements have no passing test", open.len());
    let causes = unknown.iter().map(ToString::to_string).chain(open).collect();
    let hint = Some(format!("they are declared in `{}`", crate::requirements::FILE));
    Err(Failure { reason: Reason::Gate, problem: Problem { message, causes, hint, ..Problem::default() } })
}

/// Every executable was proven when its image was built; here it counts that there is no image without a proof.
pub(super) fn architecture(images: &[BuiltImage]) -> Result<(), Failure> {
    let unproven: Vec<String> = images
        .iter()
        .flat_map(|image| image.manifests.iter().map(move |manifest| (image, &manifest.platform)))
        .filter(|(image, platform)| !image.proof.iter().any(|row| row.platform == **platform))
        .map(|(image, platform)| format!("`{}` for {platform} has no executable that was proven", image.name))
        .collect();
    match (images.is_empty(), unproven.is_empty()) {
        (false, true) => Ok(()),
        (true, _) => Err(Failure::says(Reason::Gate, "no image was built", None)),
        (false, false) => {
            let message = "not every image is proven".to_owned();
            let problem = Problem { message, causes: unproven, ..Problem::default() };
            Err(Failure { reason: Reason::Gate, problem })
        }
    }
}
