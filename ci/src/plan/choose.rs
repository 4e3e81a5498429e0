//! Which tiers and stages a run has: all that are declared, less what was asked to be left out.

use mistake::did_you_mean;

use super::{PlanError, PlannedTier, Request};
use crate::event::{LeftOut, Stage};
use crate::spec::{Selector, Spec, Tier, Work};

/// The tiers that run and those that do not.
pub(super) struct Choice<'a> {
    pub(super) kept: Vec<&'a Tier>,
    pub(super) left_out: Vec<LeftOut>,
}

impl Choice<'_> {
    /// Whether somebody asked for the images, or for a tier that has a use for them.
    pub(super) fn wants_images(&self, request: &Request) -> bool {
        let has_use = |tier: &&Tier| tier.cluster || tier.work == Work::Architecture;
        request.tiers.is_empty() || self.kept.iter().any(has_use)
    }
}

/// Chooses the tiers.
pub(super) fn tiers<'a>(
    spec: &'a Spec,
    request: &Request,
    without: &[String],
) -> Result<Choice<'a>, PlanError> {
    for name in &request.tiers {
        if !spec.tiers.iter().any(|tier| tier.name == *name) {
            let known = spec.tiers.iter().map(|tier| tier.name.as_str());
            let hint = did_you_mean(name, known.clone())
                .or_else(|| Some(format!("its tiers are: {}", known.collect::<Vec<_>>().join(", "))));
            return Err(PlanError::UnknownTier { name: name.clone(), pipeline: spec.name.clone(), hint });
        }
    }
    let components = without.iter().map(|name| LeftOut {
        what: format!("component `{name}`"),
        reason: match request.without.contains(name) {
            true => format!("--without {name}"),
            false => format!("`without` of the pipeline `{}`", spec.name),
        },
    });
    let mut choice = Choice { kept: Vec::new(), left_out: components.collect() };
    let unwanted: Vec<Option<String>> = spec.tiers.iter().map(|tier| why_not(tier, request)).collect();
    let runs_tests = spec.tiers.iter().zip(&unwanted).any(|(tier, unwanted)| {
        unwanted.is_none() && matches!(tier.work, Work::Tests(_) | Work::Compiles { .. })
    });
    let is_partial = unwanted.iter().any(Option::is_some) || !without.is_empty();
    for (tier, unwanted) in spec.tiers.iter().zip(unwanted) {
        let reason = match &tier.work {
            // Nothing can be tested that was not compiled.
            Work::Compile => unwanted.filter(|_| !runs_tests),
            // Tests that do not run prove nothing about requirements.
            Work::Requirements if is_partial && !request.tiers.contains(&tier.name) => {
                Some("not every test runs".to_owned())
            }
            _ => unwanted,
        };
        match reason {
            None => choice.kept.push(tier),
            Some(reason) => {
                choice.left_out.push(LeftOut { what: format!("tier `{}`", tier.name), reason });
            }
        }
    }
    Ok(choice)
}

fn why_not(tier: &Tier, request: &Request) -> Option<String> {
    if !request.tiers.is_empty() && !request.tiers.contains(&tier.name) {
        return Some(format!("--tier {}", request.tiers.join(" --tier ")));
    }
    let from = request.from.filter(|from| *from > Stage::Build)?;
    let is_before = match tier.work {
        Work::Compile | Work::Requirements => false,
        Work::Tests(_) | Work::Compiles { .. } | Work::Architecture | Work::Policy | Work::Command { .. } => {
            !tier.cluster
        }
    };
    is_before.then(|| format!("--from {from}"))
}

/// Chooses the stages.
pub(super) fn stages(spec: &Spec, request: &Request, wants_cluster: bool) -> Result<Vec<Stage>, PlanError> {
    let first = request.from.unwrap_or(Stage::Plan);
    let mut stages = vec![Stage::Plan, Stage::Build];
    if wants_cluster {
        stages.extend([Stage::Push, Stage::Cluster, Stage::Deploy]);
    }
    if !stages.contains(&first) {
        return Err(PlanError::NoSuchStage { stage: first, pipeline: spec.name.clone() });
    }
    stages.retain(|stage| *stage == Stage::Plan || *stage >= first);
    if wants_cluster && !super::leaves_up(request) {
        stages.push(Stage::Down);
    }
    Ok(stages)
}

/// The test binaries that are compiled before any test runs. What a tier of kind `compiles` is about is its own to compile: a mistake
/// there is that tier's failure.
pub(super) fn compiled_together(tiers: &[PlannedTier]) -> Vec<Selector> {
    let later: Vec<&Selector> = tiers
        .iter()
        .filter_map(|tier| match &tier.work {
            Work::Compiles { tests } => Some(tests),
            _ => None,
        })
        .flatten()
        .collect();
    let mut together: Vec<Selector> = Vec::new();
    for tier in tiers.iter().filter(|tier| tier.skipped.is_none()) {
        let Work::Tests(tests) = &tier.work else { continue };
        for selector in &tests.tests {
            if !later.contains(&selector) && !together.contains(selector) {
                together.push(selector.clone());
            }
        }
    }
    together
}
