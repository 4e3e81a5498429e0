//! A plan as text for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Cluster, Deploy, Plan, PlannedTier, Registry, Skipped};
use crate::spec::{Selector, Work};

impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan {
            pipeline,
            description,
            commit,
            platform,
            cores,
            deadline,
            stages,
            from: _,
            code: _,
            images,
            layout: _,
            registry,
            cluster,
            deploy,
            tiers,
            left_out,
            requirements: _,
            provenance: _,
        } = self;
        writeln!(out, "pipeline {pipeline}: {description}")?;
        let commit =
            commit.as_ref().map_or("no git checkout".to_owned(), |commit| format!("commit {commit}"));
        writeln!(out, "  {commit}, {platform}, {cores} cores, at most {}", time(*deadline))?;
        let names: Vec<&str> = stages.iter().map(|stage| stage.name()).collect();
        writeln!(out, "stages: {}", names.join(" → "))?;
        if let Some(images) = images {
            writeln!(out, "images:")?;
            for image in &images.images {
                let platforms: Vec<String> = image.platforms.iter().map(ToString::to_string).collect();
                writeln!(out, "  {} for {}", image.recipe.name, platforms.join(", "))?;
            }
            for compilation in &images.compilations {
                writeln!(out, "  {}: {}", compilation.toolchain.triple, compilation.toolchain.why)?;
            }
        }
        if let Registry::Other(registry) = registry {
            writeln!(out, "registry {registry}")?;
        }
        if let Some(cluster) = cluster {
            show_cluster(out, cluster)?;
        }
        if let Some(deploy) = deploy {
            show_deploy(out, deploy)?;
        }
        writeln!(out, "tiers:")?;
        tiers.iter().try_for_each(|tier| show_tier(out, tier))?;
        if !left_out.is_empty() {
            writeln!(out, "left out:")?;
            left_out.iter().try_for_each(|each| writeln!(out, "  {} ({})", each.what, each.reason))?;
        }
        Ok(())
    }
}

fn show_cluster(out: &mut fmt::Formatter<'_>, cluster: &Cluster) -> fmt::Result {
    let lifetime = match cluster.lifetime {
        kind::Lifetime::Tied => "taken down at the end",
        kind::Lifetime::Detached => "left up",
    };
    writeln!(out, "cluster {}: {}, {lifetime}", cluster.name, cluster.provider)?;
    writeln!(out, "  because {}", cluster.reason)?;
    cluster.ignored.iter().try_for_each(|ignored| writeln!(out, "  ignored: {ignored}"))?;
    show_copies(out, &cluster.copies)
}

/// Images of others that are pulled from elsewhere than is written.
fn show_copies(out: &mut fmt::Formatter<'_>, copies: &BTreeMap<String, String>) -> fmt::Result {
    copies.iter().try_for_each(|(written, pulled)| writeln!(out, "  {written} is pulled from {pulled}"))
}

fn show_deploy(out: &mut fmt::Formatter<'_>, deploy: &Deploy) -> fmt::Result {
    writeln!(out, "deploy:")?;
    for component in &deploy.order {
        let needs = match component.needs.as_slice() {
            [] => String::new(),
            needs => format!(", after {}", needs.join(", ")),
        };
        let deadline = time(component.deadline);
        writeln!(out, "  {}: {} objects, ready within {deadline}{needs}", component.name, component.objects)?;
    }
    show_copies(out, &deploy.copies)
}

fn show_tier(out: &mut fmt::Formatter<'_>, tier: &PlannedTier) -> fmt::Result {
    if let Some(Skipped { reason, hint }) = &tier.skipped {
        return writeln!(out, "  {}: skipped, {reason}\n    = hint: {hint}", tier.name);
    }
    let work = match &tier.work {
        Work::Compile => "compiles the images and the tests".to_owned(),
        Work::Tests(tests) => format!("runs the tests in {}", words(&tests.tests)),
        Work::Compiles { tests } => format!("compiles {}", words(tests)),
        Work::Architecture => "compares executables, images and nodes".to_owned(),
        Work::Policy => "judges where images come from".to_owned(),
        Work::Requirements => "compares requirements with tests".to_owned(),
        Work::Command { command, .. } => format!("runs `{}`", command.join(" ")),
    };
    let gate = match &tier.work {
        Work::Tests(_) => format!(", {} % pass", tier.threshold),
        _ => String::new(),
    };
    let place = if tier.cluster { " on the cluster" } else { "" };
    let needs = match tier.needs.as_slice() {
        [] => String::new(),
        needs => format!(", after {}", needs.join(", ")),
    };
    writeln!(out, "  {}: {work}{place} within {}{gate}{needs}", tier.name, time(tier.deadline))?;
    tier.skip.iter().try_for_each(|(name, reason)| writeln!(out, "    skips `{name}` ({reason})"))
}

fn words(selectors: &[Selector]) -> String {
    let words: Vec<&str> = selectors
        .iter()
        .map(|selector| match selector {
            Selector::Lib => "libraries",
            Selector::Bin => "binaries",
            Selector::Named(name) => name.as_str(),
        })
        .collect();
    words.join(", ")
}

fn time(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
