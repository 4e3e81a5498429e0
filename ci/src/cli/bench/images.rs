//! `bench images`: assembling and pushing images that are compiled already, against buildah, podman and docker.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use ci::build::build;
use ci::event::Stage;
use ci::exit::{Failure, Reason};
use ci::facts::Facts;
use ci::tiers::stage;
use clap::Args;
use images::client::{Client, Options};
use images::push::{self, Destination};
use images::registry::{self, serve};
use images::{BuildPlan, BuildRequest, Layout, Platform, Platforms, recipe};
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::content::Content;
use super::peer::Peer;
use crate::cli::workspace::{Workspace, told};
use crate::cli::{Outcome, print, print_json};

/// Assemble and push images against buildah, podman and docker, on the same files
#[derive(Args)]
#[command(
    after_help = "Everybody packs the same files (those of the images, compiled before the clock starts) with the same
Containerfile or recipe, for the same platforms, and pushes them to an empty registry in this process. Ours also proves each
executable and starts it. A builder that is not installed is \"not run\".

Examples:
  cargo xtask bench images
  cargo xtask bench images --platform linux/amd64 --rounds 5
  cargo xtask bench images --at-least 10                     exit code 8 when ours is not 10 times faster"
)]
pub(super) struct Arguments {
    /// For this platform (may be repeated); every declared one unless given
    #[arg(long = "platform", value_name = "PLATFORM")]
    platforms: Vec<Platform>,
    /// How often everybody begins from nothing; the best counts
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Fail unless ours is that many times faster than each that was run
    #[arg(long, value_name = "RATIO")]
    at_least: Option<f64>,
    /// cargo profile of the programs
    #[arg(long, default_value = "release")]
    profile: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What came out.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Measured {
    images: usize,
    platforms: usize,
    /// Bytes of all files before packing.
    bytes: u64,
    rounds: u32,
    rows: Vec<Row>,
}

/// One builder.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<Times>,
    /// Why it was not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_run: Option<String>,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Times {
    /// Seconds when nothing was there.
    cold: f64,
    /// Seconds when nothing had changed.
    warm: f64,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let workspace = Workspace::find()?;
    let facts = Facts::gather(&workspace.root, &workspace.home).await;
    let plan = plan(&arguments, &workspace, &facts)?;
    let images = told(async |events| stage(events, Stage::Build, build(&plan, events)).await).await?;

    let failed =
        |error: anyhow::Error| Failure::says(Reason::Unforeseen, format!("measure: {error:#}"), None);
    let place = tempfile::Builder::new().prefix("slipway-bench-").tempdir().context("make a directory");
    let place = place.map_err(failed)?;
    let content = Content::of(&images, &plan, place.path().join("content")).map_err(failed)?;
    let content = Arc::new(content);
    let mut rows = vec![Row {
        name: "slipway".to_owned(),
        times: Some(ours(&plan, &content, place.path(), arguments.rounds).await.map_err(failed)?),
        not_run: None,
    }];
    for peer in Peer::ALL {
        rows.push(theirs(peer, &content, place.path(), arguments.rounds).await);
    }
    let measured = Measured {
        images: images.len(),
        platforms: content.parts.len().checked_div(images.len()).unwrap_or_default(),
        bytes: content.bytes,
        rounds: arguments.rounds,
        rows,
    };
    match arguments.json {
        true => print_json(&measured)?,
        false => print(measured.shown())?,
    }
    match arguments.at_least.and_then(|ratio| measured.too_slow(ratio)) {
        Some(message) => Err(Failure::says(Reason::Gate, message, None).into()),
        None => Ok(()),
    }
}

fn plan(arguments: &Arguments, workspace: &Workspace, facts: &Facts) -> Result<BuildPlan, Failure> {
    let recipes = recipe::load(&workspace.root)
        .map_err(|error| Failure::new(Reason::Declaration, &error, error.hint()))?;
    let request = BuildRequest {
        root: workspace.root.clone(),
        cache: workspace.home.join("cache"),
        images: Vec::new(),
        platforms: match arguments.platforms.as_slice() {
            [] => Platforms::Declared,
            platforms => Platforms::Only(platforms.to_vec()),
        },
        profile: Some(arguments.profile.clone()).filter(|profile| profile != "dev"),
        compression: None,
        source_date_epoch: facts.source_date_epoch,
        container: None,
        origin: None,
        toolchains: facts.toolchains.clone(),
    };
    images::plan(&recipes, &request).map_err(|error| Failure::new(Reason::Declaration, &error, error.hint()))
}

/// Assembles, proves and pushes; the best of some rounds from nothing, and of one more each with nothing changed.
async fn ours(plan: &BuildPlan, content: &Content, place: &Path, rounds: u32) -> anyhow::Result<Times> {
    let mut best = Times { cold: f64::INFINITY, warm: f64::INFINITY };
    for round in 0..rounds {
        let place = place.join(format!("slipway-{round}"));
        let registry = serve(registry::Options::on_loopback(place.join("registry"))).await?;
        let destination =
            Destination { tags: vec!["bench".to_owned()], ..Destination::registry(registry.host()) };
        let plan = content.plan(plan, &place);
        settle().await?;
        let once = async || -> anyhow::Result<f64> {
            let started = Instant::now();
            let building = plan.clone();
            let images = spawn_blocking(move || images::build(&building, &|_| ())).await??;
            // As a new process would.
            let client = Client::new(Options::default());
            let nobody: push::Observer = Arc::new(|_| ());
            push::push(&Layout::open(&plan.layout)?, &images, &destination, &client, &nobody).await?;
            Ok(started.elapsed().as_secs_f64())
        };
        best.cold = best.cold.min(once().await?);
        best.warm = best.warm.min(once().await?);
        registry.stop().await;
    }
    Ok(best)
}

/// Waits until everything written before is on the disk, so that nobody is slowed by what another left.
async fn settle() -> anyhow::Result<()> {
    Ok(spawn_blocking(nix::unistd::sync).await?)
}

async fn theirs(peer: Peer, content: &Arc<Content>, place: &Path, rounds: u32) -> Row {
    let version = match peer.version() {
        Ok(version) => version,
        Err(reason) => return Row { name: peer.name().to_owned(), times: None, not_run: Some(reason) },
    };
    let name = format!("{} {version}", peer.name());
    let measure = async {
        let mut best = Times { cold: f64::INFINITY, warm: f64::INFINITY };
        for round in 0..rounds {
            let place = place.join(format!("{}-{round}", peer.name()));
            let registry = serve(registry::Options::on_loopback(place.join("registry"))).await?;
            settle().await?;
            let once = async || -> anyhow::Result<Duration> {
                let (content, host, storage) = (content.clone(), registry.host(), place.join("storage"));
                spawn_blocking(move || peer.run(&content, &host, &storage)).await?
            };
            best.cold = best.cold.min(once().await?.as_secs_f64());
            best.warm = best.warm.min(once().await?.as_secs_f64());
            registry.stop().await;
        }
        anyhow::Ok(best)
    };
    match measure.await {
        Ok(times) => Row { name, times: Some(times), not_run: None },
        Err(error) => Row { name, times: None, not_run: Some(format!("{error:#}")) },
    }
}

impl Measured {
    fn ours(&self) -> Option<Times> {
        self.rows.first().and_then(|row| row.times)
    }

    fn shown(&self) -> String {
        let Measured { images, platforms, bytes, rounds, rows } = self;
        let megabytes = *bytes as f64 / 1e6;
        let mut text = format!(
            "{images} images x {platforms} platforms, {megabytes:.1} MB of files, best of {rounds}: assembled and pushed to an empty registry\n\n\
             {:<18} {:>12} {:>8} {:>16} {:>8}\n",
            "", "from nothing", "ratio", "nothing changed", "ratio"
        );
        let ours = self.ours();
        for Row { name, times, not_run } in rows {
            text += &match (times, not_run) {
                (Some(times), _) => {
                    let ratio = |theirs: f64, ours: Option<f64>| {
                        ours.map_or(String::new(), |ours| format!("{:.1}x", theirs / ours))
                    };
                    format!(
                        "{name:<18} {:>10.2} s {:>8} {:>14.2} s {:>8}\n",
                        times.cold,
                        ratio(times.cold, ours.map(|ours| ours.cold)),
                        times.warm,
                        ratio(times.warm, ours.map(|ours| ours.warm)),
                    )
                }
                (None, reason) => format!("{name:<18} not run: {}\n", reason.as_deref().unwrap_or("unknown")),
            };
        }
        text
    }

    /// Who is not slower by the ratio that was asked for.
    fn too_slow(&self, ratio: f64) -> Option<String> {
        let ours = self.ours()?.cold;
        self.rows.iter().skip(1).find_map(|row| {
            let found = row.times?.cold / ours;
            (found < ratio)
                .then(|| format!("be {ratio} times as fast as {}: it is {found:.1} times", row.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        let row = |name: &str, cold: f64, warm: f64| Row {
            name: name.to_owned(),
            times: Some(Times { cold, warm }),
            not_run: None,
        };
        let absent =
            Row { name: "docker".to_owned(), times: None, not_run: Some("no daemon answers".to_owned()) };
        let rows = vec![row("slipway", 0.5, 0.01), row("buildah 1.28.2", 6.0, 2.0), absent];
        Measured { images: 3, platforms: 2, bytes: 84_100_000, rounds: 3, rows }
    }

    #[test]
    fn the_table_says_how_often_ours_fits_into_theirs_and_who_was_not_there() {
        insta::assert_snapshot!(measured().shown(), @r"
        3 images x 2 platforms, 84.1 MB of files, best of 3: assembled and pushed to an empty registry

                           from nothing    ratio  nothing changed    ratio
        slipway                  0.50 s     1.0x           0.01 s     1.0x
        buildah 1.28.2           6.00 s    12.0x           2.00 s   200.0x
        docker             not run: no daemon answers
        ");
    }

    #[test]
    fn only_those_that_ran_are_held_against_the_ratio() {
        assert_eq!(measured().too_slow(10.0), None);
        assert!(measured().too_slow(13.0).unwrap().contains("buildah"));
    }
}
