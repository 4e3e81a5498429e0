//! Tiers that this machine cannot run because it lacks a program. They are not failed, and nobody is left to believe that they passed:
//! they are part of what is left out, which every report and the verdict name.

use super::{PlanError, PlannedTier, Request, Skipped};
use crate::event::LeftOut;
use crate::facts::Facts;
use crate::spec::Tier;

/// Marks the tiers that lack a program, and those that need such a tier; gives what that leaves out.
pub(super) fn without_programs(
    tiers: &mut [PlannedTier],
    declared: &[&Tier],
    facts: &Facts,
    request: &Request,
) -> Result<Vec<LeftOut>, PlanError> {
    let mut left_out = Vec::new();
    for position in 0..tiers.len() {
        let (before, rest) = tiers.split_at_mut(position);
        let (Some(tier), Some(declared)) = (rest.first_mut(), declared.get(position)) else { break };
        let absent = declared.programs.iter().find(|program| facts.absent.contains(program));
        let own = absent.map(|program| Skipped {
            reason: format!("`{}` is not installed", program.name),
            hint: format!("install it: {}", program.install),
        });
        let inherited = || {
            let needed = |other: &&PlannedTier| tier.needs.contains(&other.name);
            before.iter().filter(needed).find_map(|other| {
                let Skipped { hint, .. } = other.skipped.clone()?;
                Some(Skipped { reason: format!("`{}` is skipped", other.name), hint })
            })
        };
        let Some(skipped) = own.or_else(inherited) else { continue };
        if request.tiers.contains(&tier.name) {
            return Err(PlanError::Skipped { tier: tier.name.clone(), skipped });
        }
        left_out.push(LeftOut { what: format!("tier `{}`", tier.name), reason: skipped.reason.clone() });
        tier.skipped = Some(skipped);
    }
    Ok(left_out)
}
