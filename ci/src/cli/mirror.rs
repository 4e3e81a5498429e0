//! `mirror`: images of other registries, copied to an approved one and pinned there.

mod progress;
mod shown;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ci::exit::{Failure, Reason};
use clap::{Args, Subcommand};
use images::client::{Client, Credentials, Options};
use images::mirror::{self, Action, Lock, Mirror, MirrorFailure, Observed, Plan, Repository, Standing};
use jiff::Timestamp;
use serde_json::json;

use super::workspace::Workspace;
use super::{Outcome, Unsuccessful, print, print_json, unforeseen};
use progress::Progress;

/// Copy images to an approved registry and pin them there
#[derive(Args)]
#[command(after_help = "Declared in images/mirror.toml, remembered in images/mirror.lock.

Exit codes: 0 in sync, 3 a declaration has a mistake, 5 a rule forbids an image, 10 something differs from the lock,
11 a registry does not let us in, 12 a registry asks to wait, 13 some images came and some did not, 14 a registry failed")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Plan(PlanArguments),
    Sync(SyncArguments),
    Verify(VerifyArguments),
    Status(StatusArguments),
    Rollback(RollbackArguments),
    Why(WhyArguments),
}

/// Show what a run would do, and how many metered reads that takes
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask mirror plan                        what is new, what moved, what is missing
  cargo xtask mirror plan --update --out p.json  with tags that moved upstream, to be carried out as it is

Exit codes: 0 in sync, 10 something would be done or has moved")]
struct PlanArguments {
    /// Also move tags that are locked and moved upstream
    #[arg(long)]
    update: bool,
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
struct SyncArguments {
    /// Also move tags that are locked and moved upstream
    #[arg(long)]
    update: bool,
    /// Carry out this plan; fails if anything has moved since
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

/// Prove that the destination has everything the lock names, and that anybody may pull it
#[derive(Args)]
struct VerifyArguments {
    /// Use credentials: for destinations that are not public
    #[arg(long)]
    authenticated: bool,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// Fail when the lock is older than `max-lock-age`
#[derive(Args)]
struct StatusArguments {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Give a tag the digest it had before
#[derive(Args)]
struct RollbackArguments {
    /// The image at the destination, as in `registry.example/team/app:v1`
    image: String,
}

/// Tell which rule takes or skips the tags of a repository
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask mirror why docker.io/library/rust         every tag of the source
  cargo xtask mirror why docker.io/library/rust:1.95    one of them")]
struct WhyArguments {
    /// A source or destination, with or without a tag
    image: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Everything a command works with.
struct Desk {
    workspace: Workspace,
    mirror: Mirror,
    lock: Lock,
    client: Client,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let workspace = Workspace::find()?;
    let declaration =
        |error: &(dyn std::error::Error + 'static)| Failure::new(Reason::Declaration, error, None);
    let mirror = mirror::declaration::load(&workspace.root).map_err(|error| declaration(&error))?;
    let lock = Lock::load(&workspace.root).map_err(|error| declaration(&error))?;
    let desk = Desk { client: client()?, workspace, mirror, lock };
    match arguments.command {
        Command::Plan(arguments) => plan(&desk, &arguments).await,
        Command::Sync(arguments) => sync(desk, &arguments).await,
        Command::Verify(arguments) => verify(&desk, &arguments).await,
        Command::Status(arguments) => status(&desk, &arguments),
        Command::Rollback(arguments) => rollback(desk, &arguments).await,
        Command::Why(arguments) => why(&desk, &arguments).await,
    }
}

fn client() -> Result<Client, Failure> {
    let credentials = Credentials::load(|name| std::env::var(name).ok())
        .map_err(|error| Failure::new(Reason::Auth, &error, error.hint()))?;
    Ok(Client::new(Options { credentials, ..Options::default() }))
}

async fn observed(desk: &Desk, update: bool) -> (Plan, Observed) {
    let observed = mirror::observe(&desk.client, &desk.mirror.rules).await;
    (mirror::plan(&desk.mirror.rules, &desk.lock, &observed.seen, update), observed)
}

async fn plan(desk: &Desk, arguments: &PlanArguments) -> Outcome {
    let (plan, observed) = observed(desk, arguments.update).await;
    let forecast = plan.forecast(&observed.remaining);
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
    say(&observed.failures);
    let drift = plan.steps.iter().any(|step| step.action.is_drift());
    let failed = observed.failures.iter().map(MirrorFailure::standing).max();
    ended(failed.unwrap_or(if drift { Standing::Drift } else { Standing::InSync }))
}

async fn sync(mut desk: Desk, arguments: &SyncArguments) -> Outcome {
    let (plan, observed) = observed(&desk, arguments.update || arguments.plan.is_some()).await;
    let plan = match &arguments.plan {
        None => plan,
        Some(file) => still_valid(file, &plan)?,
    };
    let forecast = plan.forecast(&observed.remaining);
    if let Some(short) = forecast.iter().find(|forecast| forecast.exceeds()) {
        let message = format!(
            "mirror from {}: the plan needs {} metered reads, {} are left",
            short.registry,
            short.needed,
            short.remaining.unwrap_or_default()
        );
        let hint = "wait until the registry's window is over, log in with an account that has more, or narrow the rules";
        return Err(Failure::says(Reason::RateLimit, message, Some(hint.to_owned())).into());
    }
    let progress = Arc::new(Progress::stderr());
    let observer: mirror::Observer = {
        let progress = progress.clone();
        Arc::new(move |event| progress.take(event))
    };
    let (root, cache) = (desk.workspace.root.clone(), desk.workspace.home.join("cache/mirror"));
    let synced = mirror::sync(&desk.client, &desk.mirror, &plan, &mut desk.lock, &root, &cache, &observer)
        .await
        .map_err(|error| Failure::new(Reason::Unforeseen, &error, None))?;
    progress.finish();
    say(&observed.failures);
    let stayed = plan.steps.iter().any(|step| matches!(step.action, Action::Moved { .. } | Action::Vanished));
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

/// The saved plan, if it still is what would be done.
fn still_valid(file: &Path, now: &Plan) -> Result<Plan, Failure> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::says(Reason::Usage, format!("read the plan {name}: {error}"), None))?;
    let saved: Plan = serde_json::from_str(&text)
        .map_err(|error| Failure::says(Reason::Usage, format!("read the plan {name}: {error}"), None))?;
    let changes = now.changes_since(&saved);
    match changes.is_empty() {
        true => Ok(saved),
        false => {
            let message = format!("carry out the plan {name}: {}", changes.join("; "));
            let hint = format!("make a new one: cargo xtask mirror plan --update --out {name}");
            Err(Failure::says(Reason::Drift, message, Some(hint)))
        }
    }
}

async fn verify(desk: &Desk, arguments: &VerifyArguments) -> Outcome {
    let anonymous = Client::new(Options::default());
    let client = if arguments.authenticated { &desk.client } else { &anonymous };
    let verified = mirror::verify(client, &desk.mirror, &desk.lock).await;
    match arguments.json {
        true => print_json(&json!({
            "sound": verified.sound,
            "looked-at": verified.looked_at,
            "faults": verified.faults,
            "failures": verified.failures.iter().map(|failure| one(failure)).collect::<Vec<_>>(),
        }))?,
        false => print(shown::verified(&verified, desk.lock.images.len()))?,
    }
    let failed = verified.failures.iter().map(|failure| failure.standing()).max();
    let found = if verified.faults.is_empty() { Standing::InSync } else { Standing::Drift };
    ended(failed.unwrap_or(found))
}

fn status(desk: &Desk, arguments: &StatusArguments) -> Outcome {
    let age = mirror::age(&desk.mirror, &desk.lock, Timestamp::now());
    match arguments.json {
        true => print_json(&json!({"age": age, "images": desk.lock.images.len()}))?,
        false => print(shown::age(&age, desk.lock.images.len()))?,
    }
    ended(if age.stale { Standing::Drift } else { Standing::InSync })
}

async fn rollback(mut desk: Desk, arguments: &RollbackArguments) -> Outcome {
    let (repository, tag) = image(&arguments.image)?;
    let Some(tag) = tag else {
        let hint = format!("write `{}:<tag>`", arguments.image);
        return Err(Failure::says(Reason::Usage, "roll back: no tag is named", Some(hint)).into());
    };
    let root = desk.workspace.root.clone();
    let moved = mirror::rollback(&desk.client, &mut desk.lock, &root, &repository, &tag).await;
    match moved {
        Ok(moved) => print(format!("{} is {} again\n", moved.image, moved.digest)),
        Err(mirror::RollbackError::Image(failure)) => {
            say([&failure]);
            ended(failure.standing())
        }
        Err(error) => Err(Failure::new(Reason::Unforeseen, &error, None).into()),
    }
}

async fn why(desk: &Desk, arguments: &WhyArguments) -> Outcome {
    let (repository, tag) = image(&arguments.image)?;
    let rules: Vec<_> = desk
        .mirror
        .rules
        .iter()
        .filter(|rule| rule.source == repository || rule.destination == repository)
        .cloned()
        .collect();
    if rules.is_empty() {
        let known: Vec<String> = desk.mirror.rules.iter().map(|rule| rule.source.to_string()).collect();
        let message = format!("no rule of {} names `{repository}`", mirror::declaration::FILE);
        let hint = Some(format!("the sources are: {}", known.join(", ")));
        return Err(Failure::says(Reason::Usage, message, hint).into());
    }
    let observed = mirror::observe(&desk.client, &rules).await;
    let decisions: Vec<_> = observed
        .decisions
        .iter()
        .filter(|(_, decision)| tag.as_ref().is_none_or(|tag| *tag == decision.tag))
        .collect();
    match arguments.json {
        true => print_json(&decisions.iter().map(|(_, decision)| decision).collect::<Vec<_>>())?,
        false => print(shown::decisions(&rules, &decisions))?,
    }
    say(&observed.failures);
    ended(observed.failures.iter().map(MirrorFailure::standing).max().unwrap_or(Standing::InSync))
}

/// `registry/repository[:tag]`
fn image(text: &str) -> Result<(Repository, Option<String>), Failure> {
    let reference: images::Reference =
        text.parse().map_err(|error: images::reference::MalformedReference| {
            Failure::says(
                Reason::Usage,
                error.to_string(),
                Some("write `<registry>/<repository>[:<tag>]`".to_owned()),
            )
        })?;
    Ok((Repository { registry: reference.registry, name: reference.repository }, reference.tag))
}

fn told(failures: &[MirrorFailure]) -> Vec<serde_json::Value> {
    failures.iter().map(one).collect()
}

fn one(failure: &MirrorFailure) -> serde_json::Value {
    let standing = failure.standing();
    let failure = Failure::new(reason(standing), failure, failure.hint());
    json!({"standing": standing, "message": failure.problem.message, "causes": failure.problem.causes, "hint": failure.problem.hint})
}

/// Tells of what did not work, on stderr.
fn say<'a>(failures: impl IntoIterator<Item = &'a MirrorFailure>) {
    for failure in failures {
        progress::say(&Failure::new(reason(failure.standing()), failure, failure.hint()).to_string());
    }
}

fn ended(standing: Standing) -> Outcome {
    match standing {
        Standing::InSync => Ok(()),
        other => Err(Unsuccessful::Reported(reason(other))),
    }
}

fn reason(standing: Standing) -> Reason {
    match standing {
        Standing::InSync | Standing::Drift => Reason::Drift,
        Standing::Partial => Reason::Partial,
        Standing::Policy => Reason::Policy,
        Standing::RateLimit => Reason::RateLimit,
        Standing::Auth => Reason::Auth,
        Standing::Unavailable => Reason::Unavailable,
    }
}
