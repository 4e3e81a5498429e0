//! What changes the destination: `plan` shows it, `sync` does it, `rollback` undoes it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ci::exit::{Failure, Reason};
use clap::Args;
use images::mirror::{self, Action, Forecast, MirrorFailure, Plan, Standing};
use images::sign::Signer;
use serde_json::json;

use super::progress::Progress;
use super::{Desk, ended, image, observed, one, shown, something_locked, tell, told};
use crate::cli::{Outcome, print, print_json, unforeseen};

/// Show what a run would do, and how many metered reads that takes
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask mirror plan                        what is new, what moved, what is missing
  cargo xtask mirror plan --sizes                and how large what is new is
  cargo xtask mirror plan --update --out p.json  with tags that moved upstream, to be carried out as it is

Exit codes: 0 in sync, 10 something would be done or has moved")]
pub(super) struct PlanArguments {
    /// Also move tags that are locked and moved upstream
    #[arg(long)]
    update: bool,
    /// Read the manifests of what is new to tell how large it is; sources count these reads
    #[arg(long)]
    sizes: bool,
    /// Save the plan for `sync --plan`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

/// Do what `plan` shows
#[derive(Args)]
#[command(
    after_help = "Nothing is visible under a tag before all of it has arrived and was checked. May be stopped anywhere and run again.

Examples:
  cargo xtask mirror sync                  what is new or missing; locked tags stay
  cargo xtask mirror sync --update         locked tags follow upstream, the previous digest stays under `<tag>.previous`
  cargo xtask mirror sync --plan p.json    exactly what was planned, or nothing"
)]
pub(super) struct SyncArguments {
    /// Also move tags that are locked and moved upstream
    #[arg(long, conflicts_with = "plan")]
    update: bool,
    /// Carry out this plan; fails if anything has moved since
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Sign what is said about each copy with this unencrypted ECDSA P-256 key
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// Give a tag the digest it had before
#[derive(Args)]
pub(super) struct RollbackArguments {
    /// The image at the destination, as in `registry.example/team/app:v1`
    image: String,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn plan(desk: &Desk, arguments: &PlanArguments) -> Outcome {
    let (mut plan, mut observed) = observed(desk, arguments.update).await;
    if arguments.sizes {
        observed.failures.extend(mirror::measure(&desk.client, &desk.mirror, &mut plan, &desk.cache()).await);
    }
    let forecast = forecast(desk, &plan);
    if let Some(file) = &arguments.out {
        let text = serde_json::to_string_pretty(&plan)
            .map_err(|error| unforeseen("write the plan", &error.into()))?;
        std::fs::write(file, text + "\n")
            .map_err(|error| unforeseen(&format!("write the plan to {}", file.display()), &error))?;
    }
    match arguments.json {
        true => {
            print_json(&json!({"plan": plan, "forecast": forecast, "failures": told(&observed.failures)}))?
        }
        false => print(shown::plan(&plan, &forecast))?,
    }
    tell(&observed.failures);
    let drift = plan.steps.iter().any(|step| step.action.is_drift());
    let failed = observed.failures.iter().map(MirrorFailure::standing).max();
    ended(failed.unwrap_or(if drift { Standing::Drift } else { Standing::InSync }))
}

pub(super) async fn sync(mut desk: Desk, arguments: &SyncArguments) -> Outcome {
    let signer = arguments.sign_key.as_deref().map(Signer::read).transpose();
    let signer = signer.map_err(|error| Failure::new(Reason::Usage, &error, error.hint()))?;
    let saved = arguments.plan.as_deref().map(saved).transpose()?;
    let update = saved.as_ref().map_or(arguments.update, |(_, saved)| saved.update);
    let (now, observed) = observed(&desk, update).await;
    let plan = match saved {
        None => now,
        Some((file, saved)) => {
            // What cannot be seen has not moved.
            if let Some(failed) = observed.failures.iter().map(MirrorFailure::standing).max() {
                tell(&observed.failures);
                return ended(failed);
            }
            still_valid(file, saved, &now)?
        }
    };
    if let Some(short) = forecast(&desk, &plan).iter().find(|forecast| forecast.exceeds()) {
        let message = format!("mirror from {}", shown::forecast(short));
        let hint = "wait until the registry's window is over, log in with an account that has more, or narrow the rules";
        return Err(Failure::says(Reason::RateLimit, message, Some(hint.to_owned())).into());
    }
    let progress = Arc::new(Progress::stderr());
    let observer: mirror::Observer = {
        let progress = progress.clone();
        Arc::new(move |event| progress.take(event))
    };
    let run = mirror::Run {
        client: &desk.client,
        mirror: &desk.mirror,
        root: &desk.workspace.root,
        cache: &desk.cache(),
        signer: signer.as_ref(),
        observer: &observer,
    };
    let synced = mirror::sync(run, &plan, &mut desk.lock)
        .await
        .map_err(|error| Failure::new(Reason::Unforeseen, &error, None))?;
    progress.finish();
    tell(&observed.failures);
    let stayed = plan
        .steps
        .iter()
        .any(|step| matches!(step.action, Action::Moved { .. } | Action::Absent | Action::Vanished));
    match arguments.json {
        true => print_json(&json!({
            "promoted": synced.promoted,
            "moves": synced.moves,
            "lock-changed": synced.lock_changed,
            "failures": synced.failures.iter().map(|failure| one(failure)).chain(told(&observed.failures)).collect::<Vec<_>>(),
        }))?,
        false => print(shown::synced(&synced, &plan))?,
    }
    let failed = observed.failures.iter().map(MirrorFailure::standing).max();
    ended(match failed {
        Some(_) if !synced.promoted.is_empty() => Standing::Partial,
        Some(failed) => failed,
        None => synced.standing(stayed),
    })
}

/// What sources will count, against what they said by now is left.
fn forecast(desk: &Desk, plan: &Plan) -> Vec<Forecast> {
    plan.forecast(&mirror::quotas(&desk.client, &desk.mirror.rules))
}

/// A plan that was saved, with its file.
fn saved(file: &Path) -> Result<(&Path, Plan), Failure> {
    let unreadable = |error: String| {
        let hint = format!("make one: cargo xtask mirror plan --out {}", file.display());
        Failure::says(Reason::Usage, format!("read the plan {}: {error}", file.display()), Some(hint))
    };
    let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
    let plan = serde_json::from_str(&text).map_err(|error| unreadable(error.to_string()))?;
    Ok((file, plan))
}

/// The saved plan, if it still is what would be done.
fn still_valid(file: &Path, saved: Plan, now: &Plan) -> Result<Plan, Failure> {
    let changes = now.changes_since(&saved);
    match changes.is_empty() {
        true => Ok(saved),
        false => {
            let name = file.display();
            let message = format!("carry out the plan {name}: {}", changes.join("; "));
            let update = if saved.update { " --update" } else { "" };
            let hint = format!("make a new one: cargo xtask mirror plan{update} --out {name}");
            Err(Failure::says(Reason::Drift, message, Some(hint)))
        }
    }
}

pub(super) async fn rollback(mut desk: Desk, arguments: &RollbackArguments) -> Outcome {
    let (repository, tag) = image(&arguments.image)?;
    let Some(tag) = tag else {
        let hint = format!("write `{}:<tag>`", arguments.image);
        return Err(Failure::says(Reason::Usage, "roll back: no tag is named", Some(hint)).into());
    };
    something_locked(&desk, "roll back")?;
    let root = desk.workspace.root.clone();
    let moved = mirror::rollback(&desk.client, &mut desk.lock, &root, &repository, &tag).await;
    match moved {
        Ok(moved) if arguments.json => print_json(&moved),
        Ok(moved) => print(format!("{} is {} again\n", moved.image, moved.digest)),
        Err(mirror::RollbackError::Image(failure)) => {
            tell([&failure]);
            ended(failure.standing())
        }
        Err(error) => Err(Failure::new(Reason::Unforeseen, &error, None).into()),
    }
}
