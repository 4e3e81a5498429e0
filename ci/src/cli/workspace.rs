//! Where the workspace is, and what is where in it.

use std::path::PathBuf;

use ci::event::{EventSink, Reporting};
use ci::exit::{Failure, Reason};
use ci::report::Terminal;
use ci::spec;

/// The workspace commands work on.
pub(super) struct Workspace {
    /// Its root.
    pub(super) root: PathBuf,
    /// Where runs, clusters and caches are kept.
    pub(super) home: PathBuf,
    /// The embedded engine's binary, which is built beside this one.
    pub(super) engine: PathBuf,
}

impl Workspace {
    /// The workspace around the current directory: the folder that has pipelines.
    pub(super) fn find() -> Result<Workspace, Failure> {
        let here =
            std::env::current_dir().map_err(|error| super::unforeseen("find the workspace", &error))?;
        let root = here.ancestors().find(|folder| folder.join(spec::FOLDER).is_dir()).ok_or_else(|| {
            let message =
                format!("find the workspace: no folder above {} has `{}`", here.display(), spec::FOLDER);
            Failure::says(Reason::Usage, message, Some("go to the workspace and run it there".to_owned()))
        })?;
        let own = std::env::current_exe().map_err(|error| super::unforeseen("find the engine", &error))?;
        Ok(Workspace {
            root: root.to_path_buf(),
            home: root.join("target/slipway"),
            engine: own.with_file_name("slipway-engine"),
        })
    }
}

/// Tells on the terminal what `work` does.
pub(super) async fn told<T>(work: impl AsyncFnOnce(&EventSink) -> Result<T, Failure>) -> Result<T, Failure> {
    let (reporting, events) = Reporting::start(vec![Box::new(Terminal::stderr())]);
    let outcome = work(&events).await;
    // A terminal that cannot be written to has nobody who misses it.
    let _ = reporting.finish();
    outcome
}
