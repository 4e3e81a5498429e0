//! The lines that stay: a verb, and what it is about.

use images::BuildEvent;
use images::proof::Boot;
use kind::ClusterEvent;
use manifests::{DeployEvent, Diagnosis};

use super::look::{Tone, paint};
use crate::event::{Event, Outcome, PushEvent, RunEvent, StageEvent, TestState, TierEvent};
use crate::report::{Report, text};

/// A verb in its column and what follows it.
pub(super) fn line(tone: Tone, verb: &str, rest: &str, colour: bool) -> String {
    format!("{} {rest}", paint(tone, &format!("{verb:>12}"), colour))
}

/// What there is to say about an event, which is in the report already.
pub(super) fn lines(event: &Event, report: &Report, colour: bool) -> Vec<String> {
    let spoken = match event {
        Event::Run(event) => run(event, report),
        Event::Stage(event) => stage(event),
        Event::Build(event) => build(event),
        Event::Push(event) => push(event),
        Event::Cluster(event) => cluster(event),
        Event::Deploy(event) => deploy(event, report),
        Event::Tier(event) => tier(event, report),
    };
    spoken.into_iter().map(|(tone, verb, rest)| line(tone, verb, &rest, colour)).collect()
}

type Spoken = Vec<(Tone, &'static str, String)>;

fn run(event: &RunEvent, report: &Report) -> Spoken {
    match event {
        RunEvent::Started(started) => {
            let commit =
                started.commit.as_ref().map_or_else(String::new, |commit| format!(", commit {commit}"));
            let cores = text::number(started.cores, "core");
            let rest = format!("{} on {}, {cores}{commit}", started.pipeline, started.platform);
            vec![(Tone::Plain, "Starting", rest)]
        }
        RunEvent::Planned { tiers, .. } => {
            let titles: Vec<&str> = tiers.iter().map(|tier| tier.title.as_str()).collect();
            let mut spoken = Vec::new();
            if !titles.is_empty() {
                spoken.push((Tone::Plain, "Planned", titles.join(" → ")));
            }
            spoken.extend(
                report.left_out().into_iter().map(|left_out| (Tone::Attention, "Left out", left_out)),
            );
            spoken
        }
        RunEvent::ClusterChosen { provider, reason } => {
            vec![(Tone::Plain, "Cluster", format!("{provider}: {reason}"))]
        }
        RunEvent::NodesKnown { .. } => Vec::new(),
        RunEvent::Diagnosed(Diagnosis { component, causes, .. }) => {
            let likeliest = causes.first();
            let cause = likeliest.map_or("no known cause fits", |cause| cause.sentence.as_str());
            let mut spoken =
                vec![(Tone::Attention, "Diagnosed", format!("component `{component}`: {cause}"))];
            spoken.extend(likeliest.map(|cause| (Tone::Attention, "hint", cause.hint.clone())));
            spoken
        }
        RunEvent::Note { message } => vec![(Tone::Plain, "Note", message.clone())],
        RunEvent::Warning { message, hint } => {
            let mut spoken = vec![(Tone::Attention, "Warning", message.clone())];
            spoken.extend(hint.iter().map(|hint| (Tone::Attention, "hint", hint.clone())));
            spoken
        }
        RunEvent::Coverage { requirements } => {
            let covered = requirements.iter().filter(|covered| covered.holds()).count();
            let tone = if covered == requirements.len() { Tone::Good } else { Tone::Bad };
            vec![(
                tone,
                "Covered",
                format!("{covered} of {}", text::number(requirements.len(), "requirement")),
            )]
        }
        RunEvent::Finished { .. } => Vec::new(),
    }
}

fn stage(event: &StageEvent) -> Spoken {
    match event {
        StageEvent::Started { .. } => Vec::new(),
        StageEvent::Finished { stage, took } => {
            vec![(Tone::Good, "Finished", format!("stage {stage} in {}", text::duration(*took)))]
        }
        StageEvent::Failed { stage, took, problem } => {
            let rest =
                format!("stage {stage} after {}: {}", text::duration(*took), first_line(&problem.message));
            vec![(Tone::Bad, "FAILED", rest)]
        }
        StageEvent::Reused { stage, reason } => {
            vec![(Tone::Good, "Reused", format!("stage {stage}: {reason}"))]
        }
    }
}

fn build(event: &BuildEvent) -> Spoken {
    match event {
        BuildEvent::Preparing { platform, what } => {
            vec![(Tone::Plain, "Preparing", format!("{platform}: {what}, once on this machine"))]
        }
        BuildEvent::CompileStarted { platform, binaries, .. } => {
            let what = match binaries.is_empty() {
                true => "the workspace".to_string(),
                false => binaries.join(", "),
            };
            vec![(Tone::Plain, "Compiling", format!("{what} for {platform}"))]
        }
        BuildEvent::CompileFinished { platform, compiled, duration } => vec![match compiled {
            0 => (Tone::Good, "Compiled", format!("nothing for {platform}: everything is up to date")),
            _ => {
                let crates = text::number(*compiled, "crate");
                (Tone::Good, "Compiled", format!("{crates} for {platform} in {}", text::duration(*duration)))
            }
        }],
        BuildEvent::Built(image) => {
            let unchanged = if image.cached { ", unchanged" } else { "" };
            let started = |boot: &Boot| match boot {
                Boot::Native { .. } => "native",
                Boot::Emulated { .. } => "emulated",
                Boot::NotRun { .. } => "not run",
            };
            // Only the entrypoint is started; it is the first of its platform that says how.
            let proven = image.manifests.iter().map(|built| {
                let row = image.proof.iter().find(|row| row.platform == built.platform);
                let how = row.map_or("no executable", |row| started(&row.boot));
                format!("{} {how}", built.platform)
            });
            let bytes = image.manifests.iter().map(|built| built.layer_bytes).sum();
            let rest = format!(
                "{} {} {} ({}){unchanged}",
                image.name,
                text::short_digest(&image.index.digest.to_string()),
                text::bytes(bytes),
                proven.collect::<Vec<_>>().join(", "),
            );
            vec![(Tone::Good, "Built", rest)]
        }
        BuildEvent::CompilerLine { .. }
        | BuildEvent::Progress { .. }
        | BuildEvent::Compiled { .. }
        | BuildEvent::Assembling { .. } => Vec::new(),
    }
}

fn push(event: &PushEvent) -> Spoken {
    match event {
        PushEvent::RegistryReady { .. } => Vec::new(),
        PushEvent::Pushed { image, bytes, took, .. } => {
            let sent = match bytes {
                0 => "nothing to send".to_string(),
                bytes => format!("{} in {}", text::bytes(*bytes), text::duration(*took)),
            };
            vec![(Tone::Good, "Pushed", format!("{image}: {sent}"))]
        }
    }
}

fn cluster(event: &ClusterEvent) -> Spoken {
    match event {
        ClusterEvent::Stale { what } => {
            vec![(Tone::Attention, "Removing", format!("{what}, left by an earlier run"))]
        }
        ClusterEvent::Reusing { name, server } => {
            vec![(Tone::Good, "Reusing", format!("cluster {name} at {server}"))]
        }
        ClusterEvent::Ignored { what } => vec![(Tone::Attention, "Ignored", what.clone())],
        ClusterEvent::Starting { .. } => Vec::new(),
        ClusterEvent::Command { line } => vec![(Tone::Plain, "Running", format!("`{line}`"))],
        ClusterEvent::Ready { server, took } => {
            vec![(Tone::Good, "Ready", format!("cluster in {}: {server}", text::duration(*took)))]
        }
        ClusterEvent::CollectedLogs { path } => {
            vec![(Tone::Plain, "Collected", format!("logs in {}", path.display()))]
        }
        ClusterEvent::Stopping { .. } => Vec::new(),
        ClusterEvent::Stopped { name, took } => {
            vec![(Tone::Good, "Stopped", format!("cluster {name} in {}", text::duration(*took)))]
        }
    }
}

fn deploy(event: &DeployEvent, report: &Report) -> Spoken {
    match event {
        DeployEvent::Pruned { object, .. } => {
            vec![(Tone::Attention, "Pruned", format!("{object}, which left the declaration"))]
        }
        DeployEvent::Ready { component, .. } => {
            let known = report.components.iter().find(|report| report.name == *component);
            let rest = known.map_or_else(String::new, |report| {
                let took =
                    report.span.took.map_or_else(String::new, |took| format!(", {}", text::duration(took)));
                let objects = text::number(report.objects, "object");
                format!(" ({objects}, {} changed{took})", report.changed)
            });
            vec![(Tone::Good, "Ready", format!("{component}{rest}"))]
        }
        DeployEvent::Applying { .. }
        | DeployEvent::Applied { .. }
        | DeployEvent::Retrying { .. }
        | DeployEvent::Waiting { .. } => Vec::new(),
    }
}

fn tier(event: &TierEvent, report: &Report) -> Spoken {
    let known = |name: &str| report.tiers.iter().find(|tier| tier.name == name);
    let title = |name: &str| known(name).map_or_else(|| name.to_string(), |tier| tier.title.clone());
    let counted = |name: &str| match known(name).filter(|tier| !tier.tests.is_empty()) {
        Some(tier) => format!(": {}", text::counts(tier.counts())),
        None => String::new(),
    };
    match event {
        TierEvent::Started { .. } | TierEvent::Found { .. } => Vec::new(),
        TierEvent::TestFinished { tier, test, outcome, took, .. } => {
            let tier = known(tier);
            let report = tier.and_then(|tier| tier.tests.get(test));
            let flaky = report.is_some_and(|report| report.state == TestState::Flaky);
            // Tests on a cluster are few and take their time: each is worth a line.
            let told_each = tier.is_some_and(|tier| tier.on_cluster);
            let time = took.map_or_else(String::new, |took| format!(" ({})", text::duration(took)));
            match outcome {
                Outcome::Failed => vec![(Tone::Bad, "FAIL", format!("{test}{time}"))],
                Outcome::Passed if flaky => {
                    vec![(Tone::Attention, "FLAKY", format!("{test}{time}, after it had failed"))]
                }
                Outcome::Passed if told_each => vec![(Tone::Good, "pass", format!("{test}{time}"))],
                Outcome::Passed | Outcome::Skipped { .. } => Vec::new(),
            }
        }
        TierEvent::Passed { tier, took } => {
            let rest = format!("{}{} in {}", title(tier), counted(tier), text::duration(*took));
            vec![(Tone::Good, "Passed", rest)]
        }
        TierEvent::Failed { tier, took, problem } => {
            let why = match counted(tier) {
                counted if counted.is_empty() => format!(": {}", first_line(&problem.message)),
                counted => counted,
            };
            vec![(Tone::Bad, "FAILED", format!("{}{why} in {}", title(tier), text::duration(*took)))]
        }
        TierEvent::Blocked { tier, reason } => {
            vec![(Tone::Attention, "Blocked", format!("{}: {reason}", title(tier)))]
        }
        TierEvent::Skipped { tier, reason } => {
            vec![(Tone::Attention, "Skipped", format!("{}: {reason}", title(tier)))]
        }
        TierEvent::NotRun { tier, reason } => {
            vec![(Tone::Attention, "Not run", format!("{}: {reason}", title(tier)))]
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
