//! Where there is no network between: `bundle` on one side, `load` on the other.

use std::path::PathBuf;
use std::sync::Arc;

use ci::exit::{Failure, Reason};
use clap::Args;
use images::mirror::bundle::{self, BundleError};
use images::mirror::{Lock, Observer, Repository, Standing};
use serde_json::json;

use super::progress::Progress;
use super::{Desk, ended, one, shown, something_locked};
use crate::cli::{Outcome, print, print_json};

/// Write everything the lock names to an OCI layout, to be carried where there is no network
#[derive(Args)]
#[command(
    after_help = "The layout has every platform, signature, SBOM and statement, and can be read by any other tool. May be stopped anywhere and run
again: it continues with what is there. Only a finished bundle can be loaded.

Examples:
  cargo xtask mirror bundle /media/usb/images                        all of it
  cargo xtask mirror bundle /media/usb/new --since last-month.lock   only the blobs that lock does not name

Exit codes: 0 the bundle is finished, 11 to 14 a registry could not be read"
)]
pub(super) struct BundleArguments {
    /// Directory of the layout; made if there is none
    directory: PathBuf,
    /// Leave out the blobs of an older images/mirror.lock, which were carried before
    #[arg(long, value_name = "OLD.lock")]
    since: Option<PathBuf>,
    /// Print what was written as JSON
    #[arg(long)]
    json: bool,
}

/// Load a bundle into a registry and lock what it has
#[derive(Args)]
#[command(
    after_help = "Every blob is hashed before anything is sent; a tag moves when all behind it has arrived, and its previous digest stays under
`<tag>.previous`. May be stopped anywhere and run again: only what is missing is sent.

Examples:
  cargo xtask mirror load /media/usb/images                                   to where the lock says
  cargo xtask mirror load /media/usb/images --to registry.inside.example/team to a registry of this side

Exit codes: 0 all of it is there, 13 some images came and some did not, 11 to 14 a registry failed"
)]
pub(super) struct LoadArguments {
    /// Directory of the layout
    directory: PathBuf,
    /// Registry on this side, with or without a path; the lock's own unless given
    #[arg(long, value_name = "REGISTRY[/PATH]")]
    to: Option<String>,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
}

fn observer() -> (Arc<Progress>, Observer) {
    let progress = Arc::new(Progress::stderr());
    let told = progress.clone();
    (progress, Arc::new(move |event| told.take(event)))
}

fn unusable(error: &BundleError) -> Failure {
    Failure::new(Reason::Usage, error, error.hint())
}

pub(super) async fn bundle(desk: &Desk, arguments: &BundleArguments) -> Outcome {
    let BundleArguments { directory, since, json } = arguments;
    something_locked(desk, "bundle the mirror")?;
    let since = match since {
        None => None,
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                Failure::says(Reason::Usage, format!("read the lock {}: {error}", file.display()), None)
            })?;
            let lock = Lock::parse(&text).map_err(|error| Failure::new(Reason::Declaration, &error, None))?;
            Some(lock)
        }
    };
    let (progress, observer) = observer();
    let written = bundle::write(&desk.client, &desk.lock, since.as_ref(), directory, &observer).await;
    progress.finish();
    let written = written.map_err(|error| unusable(&error))?;
    match json {
        true => print_json(&json!({
            "images": written.images,
            "blobs": written.blobs,
            "left-out": written.left_out,
            "fetched": written.fetched.0,
            "fetched-bytes": written.fetched.1,
            "finished": written.failures.is_empty(),
            "failures": written.failures.iter().map(|failure| one(failure)).collect::<Vec<_>>(),
        }))?,
        false => print(shown::bundled(&written, directory))?,
    }
    ended(written.failures.iter().map(|failure| failure.standing()).max().unwrap_or(Standing::InSync))
}

pub(super) async fn load(mut desk: Desk, arguments: &LoadArguments) -> Outcome {
    let LoadArguments { directory, to, json } = arguments;
    let to = to.as_deref().map(side).transpose()?;
    let root = desk.workspace.root.clone();
    let (progress, observer) = observer();
    let loaded = bundle::load(&desk.client, directory, to.as_ref(), &mut desk.lock, &root, &observer).await;
    progress.finish();
    let loaded = loaded.map_err(|error| unusable(&error))?;
    match json {
        true => print_json(&json!({
            "loaded": loaded.promoted,
            "moves": loaded.moves,
            "lock-changed": loaded.lock_changed,
            "failures": loaded.failures.iter().map(|failure| one(failure)).collect::<Vec<_>>(),
        }))?,
        false => print(shown::loaded(&loaded))?,
    }
    ended(loaded.standing(false))
}

/// `registry[/path]`
fn side(text: &str) -> Result<Repository, Failure> {
    let (registry, name) = text.split_once('/').unwrap_or((text, ""));
    let is_host = registry.contains(['.', ':']) || registry == "localhost";
    match is_host && (name.is_empty() || images::reference::is_repository(name)) {
        true => Ok(Repository { registry: registry.to_owned(), name: name.to_owned() }),
        false => {
            let hint = "write `<registry>` or `<registry>/<path>`".to_owned();
            Err(Failure::says(Reason::Usage, format!("load to `{text}`: that is no registry"), Some(hint)))
        }
    }
}
