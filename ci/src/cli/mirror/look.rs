//! What changes nothing: `verify`, `status`, `why`.

use std::path::PathBuf;

use ci::exit::{Failure, Reason};
use clap::Args;
use images::client::{Client, Options};
use images::mirror::{self, MirrorFailure, Standing};
use images::sign::PublicKey;
use jiff::Timestamp;
use serde_json::json;

use super::{Desk, ended, image, one, shown, something_locked, tell};
use crate::cli::{Outcome, print, print_json};

/// Prove that the destination has everything the lock names, and that anybody may pull it
#[derive(Args)]
#[command(
    after_help = "Reads every manifest the lock names and asks for every blob, signature and SBOM, and for the original of an image whose
platforms were left out.

Examples:
  cargo xtask mirror verify                        as anybody may
  cargo xtask mirror verify --key mirror.pub       each copy also has to say, signed, where it came from

Exit codes: 0 all of it is there, 10 something differs from the lock or there is no lock, 11 to 14 a registry could not be asked"
)]
pub(super) struct VerifyArguments {
    /// Use credentials: for destinations that are not public
    #[arg(long)]
    authenticated: bool,
    /// Public key (PEM) of `sync --sign-key`: every copy has to have a statement signed with it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Print what was found as JSON
    #[arg(long)]
    json: bool,
}

/// Fail when the lock is older than `max-lock-age`
#[derive(Args)]
#[command(after_help = "Exit codes: 0 young enough, 10 too old or never compared")]
pub(super) struct StatusArguments {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Tell which rule takes or skips the tags of a repository, and what that comes to
#[derive(Args)]
#[command(
    after_help = "Of one tag that `sync` would bring, the image is read, too: what its rule has against it (age, platforms, size, signature) is told.

Examples:
  cargo xtask mirror why docker.io/library/rust         every tag of the source
  cargo xtask mirror why docker.io/library/rust:1.95    one of them"
)]
pub(super) struct WhyArguments {
    /// A source or destination, with or without a tag
    image: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn verify(desk: &Desk, arguments: &VerifyArguments) -> Outcome {
    something_locked(desk, "verify the mirror")?;
    let anonymous = Client::new(Options::default());
    let client = if arguments.authenticated { &desk.client } else { &anonymous };
    let key = arguments.key.as_deref().map(PublicKey::read).transpose();
    let key = key.map_err(|error| Failure::new(Reason::Usage, &error, error.hint()))?;
    let verified = mirror::verify(client, &desk.mirror, &desk.lock, key.as_ref()).await;
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

pub(super) fn status(desk: &Desk, arguments: &StatusArguments) -> Outcome {
    let age = mirror::age(&desk.mirror, &desk.lock, Timestamp::now());
    match arguments.json {
        true => print_json(&json!({"age": age, "images": desk.lock.images.len()}))?,
        false => print(shown::age(&age, desk.lock.images.len()))?,
    }
    ended(if age.stale { Standing::Drift } else { Standing::InSync })
}

pub(super) async fn why(desk: &Desk, arguments: &WhyArguments) -> Outcome {
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
    let mut observed = mirror::observe(&desk.client, &rules).await;
    let mut all = mirror::why(&rules, &desk.lock, &observed, tag.as_deref());
    if tag.is_some() {
        for why in &mut all {
            let looked =
                mirror::examine(&desk.client, &desk.mirror, &desk.workspace.root, &desk.cache(), why).await;
            observed.failures.extend(looked.err());
        }
    }
    match arguments.json {
        true => print_json(&all)?,
        false => print(shown::why(&all))?,
    }
    tell(&observed.failures);
    ended(observed.failures.iter().map(MirrorFailure::standing).max().unwrap_or(Standing::InSync))
}
