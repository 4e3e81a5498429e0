//! `e2e`, `test` and `ci <pipeline>`: a pipeline from its declaration to its verdict.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

use ci::event::{Event, Reporter, Reporting, RunEvent, Stage, Started};
use ci::exit::{Failure, Reason};
use ci::facts::Facts;
use ci::interrupt::Interrupt;
use ci::plan::{Plan, Request};
use ci::report::{EventLog, Files, Terminal};
use ci::run::Run;
use ci::{declaration, plan};
use clap::Args;
use jiff::Timestamp;
use kind::Provider;

use super::workspace::Workspace;
use super::{Outcome, Unsuccessful};

/// The main job: build, push, cluster up, deploy, every tier, report
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask e2e                        everything
  cargo xtask e2e --keep                 and leave the cluster up
  cargo xtask e2e --from deploy          once more on the cluster that was left up
  cargo xtask e2e --tier e2e-runtime     only the scenarios, on a new cluster
  cargo xtask e2e --without authorizer   without a component, which the verdict says")]
pub(super) struct E2e {
    #[command(flatten)]
    selection: Selection,
}

/// Checks, unit and integration tiers: what to run before pushing
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask test                       everything that needs no cluster
  cargo xtask test --tier unit           only unit tests")]
pub(super) struct Test {
    #[command(flatten)]
    selection: Selection,
}

/// Run a pipeline by its file in `ci/pipelines/`
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask ci e2e                     the pipeline ci/pipelines/e2e.toml
  cargo xtask ci e2e --json              its report as JSON on stdout")]
pub(super) struct Ci {
    /// The name of a file in `ci/pipelines/`, without `.toml`
    pipeline: String,
    #[command(flatten)]
    selection: Selection,
}

/// What is wanted of a pipeline.
#[derive(Args, Clone, Default)]
pub(super) struct Selection {
    /// Run only this tier and what it cannot do without (may be repeated)
    #[arg(long = "tier", value_name = "TIER")]
    tiers: Vec<String>,
    /// Leave a component out; the verdict says so (may be repeated)
    #[arg(long, value_name = "COMPONENT")]
    without: Vec<String>,
    /// Begin at this stage with what the run before has left
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    from: Option<Stage>,
    /// Leave the cluster up
    #[arg(long)]
    keep: bool,
    /// auto, embedded, kind, existing or existing:<context>, instead of the declared one
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<Provider>,
    /// Push to this registry instead of one on this machine, as in `registry.example.com/team`
    #[arg(long, value_name = "REGISTRY")]
    registry: Option<String>,
    /// Print the report as JSON on stdout
    #[arg(long)]
    pub(super) json: bool,
}

fn stage(word: &str) -> Result<Stage, String> {
    let stages = [Stage::Build, Stage::Push, Stage::Cluster, Stage::Deploy];
    stages.into_iter().find(|stage| stage.name() == word).ok_or_else(|| {
        let names: Vec<&str> = stages.iter().map(|stage| stage.name()).collect();
        format!("the stages are: {}", names.join(", "))
    })
}

pub(super) async fn e2e(arguments: E2e) -> Outcome {
    run("e2e", arguments.selection).await
}

pub(super) async fn test(arguments: Test) -> Outcome {
    run("test", arguments.selection).await
}

pub(super) async fn ci(arguments: Ci) -> Outcome {
    run(&arguments.pipeline, arguments.selection).await
}

/// Decides what will be done.
pub(super) async fn decide(
    workspace: &Workspace,
    pipeline: &str,
    selection: Selection,
) -> Result<Plan, Failure> {
    let declaration = declaration::load(&workspace.root, pipeline)?;
    let facts = Facts::gather_for(&declaration.spec, &workspace.root, &workspace.home).await;
    Ok(plan::plan(&declaration, &facts, &request(workspace, selection))?)
}

fn request(workspace: &Workspace, selection: Selection) -> Request {
    let Selection { tiers, without, from, keep, provider, registry, json: _ } = selection;
    Request {
        root: workspace.root.clone(),
        home: workspace.home.clone(),
        engine: workspace.engine.clone(),
        options: Vec::new(),
        without,
        tiers,
        from,
        keep,
        cluster: None,
        provider,
        registry,
    }
}

async fn run(pipeline: &str, selection: Selection) -> Outcome {
    let mut interrupt =
        Interrupt::listen().map_err(|error| super::unforeseen("listen to signals", &error))?;
    let json = selection.json;
    let workspace = Workspace::find()?;
    let plan = decide(&workspace, pipeline, selection).await?;
    let _lock = plan.cluster.as_ref().map(|cluster| lock(&cluster.directory)).transpose()?;
    let run = Run::create(&workspace.home, pipeline, Timestamp::now())?;
    let unwritable = |error: io::Error| super::unforeseen("write the run's events", &error);
    let reporters: Vec<Box<dyn Reporter>> = vec![
        Box::new(EventLog::create(&run.directory).map_err(unwritable)?),
        Box::new(Files::new(&run.directory)),
        Box::new(Terminal::stderr()),
    ];
    let (reporting, events) = Reporting::start(reporters);
    events.emit(Event::Run(RunEvent::Started(started(&plan, &run, &workspace.root))));
    let verdict = ci::run(&plan, &run, &events, &mut interrupt).await;
    let errors = reporting.finish();
    if let Some(error) = errors.first() {
        return Err(super::unforeseen("report the run", error).into());
    }
    if json {
        let report = fs::read(run.file("report.json"))
            .map_err(|error| super::unforeseen("read the report", &error))?;
        super::print(report)?;
    }
    verdict.map_err(Unsuccessful::Reported)
}

fn started(plan: &Plan, run: &Run, root: &Path) -> Started {
    let words: Vec<String> = std::env::args().skip(1).collect();
    Started {
        run: run.id.clone(),
        pipeline: plan.pipeline.clone(),
        command: format!("cargo xtask {}", words.join(" ")),
        directory: run.directory.strip_prefix(root).unwrap_or(&run.directory).to_path_buf(),
        commit: plan.commit.as_ref().map(ToString::to_string),
        platform: plan.platform.clone(),
        cores: plan.cores,
    }
}

/// Two runs would take each other's cluster down. The kernel lets go of the lock when the process ends, however it ends.
fn lock(directory: &Path) -> Result<File, Failure> {
    let file = directory.join("run.lock");
    let unusable = |error: io::Error| super::unforeseen(&format!("lock `{}`", file.display()), &error);
    fs::create_dir_all(directory).map_err(unusable)?;
    let lock = File::create(&file).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
        Err(TryLockError::WouldBlock) => Err(Failure::says(
            Reason::Cluster,
            format!("use the cluster in `{}`: another run is using it", directory.display()),
            Some("wait for it to end, or stop it".to_owned()),
        )),
    }
}
