//! `mirror`: images of other registries, copied to an approved one and pinned there.

mod apply;
mod carry;
mod look;
mod progress;
mod shown;

use std::path::PathBuf;

use ci::exit::{Failure, Reason};
use clap::{Args, Subcommand};
use images::client::{Client, Credentials, Options};
use images::mirror::{self, Lock, Mirror, MirrorFailure, Observed, Plan, Repository, Standing};
use serde_json::json;

use super::workspace::Workspace;
use super::{Outcome, Unsuccessful};

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
    Plan(apply::PlanArguments),
    Sync(apply::SyncArguments),
    Verify(look::VerifyArguments),
    Status(look::StatusArguments),
    Rollback(apply::RollbackArguments),
    Why(look::WhyArguments),
    Bundle(carry::BundleArguments),
    Load(carry::LoadArguments),
}

/// Everything a command works with.
struct Desk {
    workspace: Workspace,
    mirror: Mirror,
    lock: Lock,
    client: Client,
}

impl Desk {
    /// Where blobs are between source and destination.
    fn cache(&self) -> PathBuf {
        self.workspace.home.join("cache/mirror")
    }
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let workspace = Workspace::find()?;
    let mirror = mirror::declaration::load(&workspace.root)
        .map_err(|error| Failure::new(Reason::Declaration, &error, error.hint()))?;
    let lock =
        Lock::load(&workspace.root).map_err(|error| Failure::new(Reason::Declaration, &error, None))?;
    let desk = Desk { client: client()?, workspace, mirror, lock };
    match arguments.command {
        Command::Plan(arguments) => apply::plan(&desk, &arguments).await,
        Command::Sync(arguments) => apply::sync(desk, &arguments).await,
        Command::Verify(arguments) => look::verify(&desk, &arguments).await,
        Command::Status(arguments) => look::status(&desk, &arguments),
        Command::Rollback(arguments) => apply::rollback(desk, &arguments).await,
        Command::Why(arguments) => look::why(&desk, &arguments).await,
        Command::Bundle(arguments) => carry::bundle(&desk, &arguments).await,
        Command::Load(arguments) => carry::load(desk, &arguments).await,
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

/// Nothing is proven, and nothing carried, by a lock of nothing.
fn something_locked(desk: &Desk, doing: &str) -> Result<(), Failure> {
    match desk.lock.images.is_empty() {
        false => Ok(()),
        true => {
            let message = format!("{doing}: {} has no images", mirror::lock::FILE);
            Err(Failure::says(Reason::Drift, message, Some(SYNC.to_owned())))
        }
    }
}

/// The command that makes a lock.
const SYNC: &str = "make the lock: cargo xtask mirror sync";

fn told(failures: &[MirrorFailure]) -> Vec<serde_json::Value> {
    failures.iter().map(one).collect()
}

fn one(failure: &MirrorFailure) -> serde_json::Value {
    let standing = failure.standing();
    let failure = Failure::new(reason(standing), failure, failure.hint());
    json!({"standing": standing, "message": failure.problem.message, "causes": failure.problem.causes, "hint": failure.problem.hint})
}

pub(in crate::cli) use progress::say;

/// Tells of what did not work, on stderr.
fn tell<'a>(failures: impl IntoIterator<Item = &'a MirrorFailure>) {
    for failure in failures {
        say(&Failure::new(reason(failure.standing()), failure, failure.hint()).to_string());
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
