//! `deploy`: build, push and deploy to a cluster that is up, and wait until everything is ready.

use ci::build::build;
use ci::event::Stage;
use ci::exit::{Failure, Reason};
use ci::plan::{Request, cluster_directory};
use ci::run::Run;
use ci::site::{self, Site};
use ci::tiers::stage;
use clap::Args;
use jiff::Timestamp;
use kind::Status;

use super::Outcome;
use super::cluster::{decide, declared_name, request};
use super::workspace::{Workspace, told};

/// Apply the components in order and wait until they are ready
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask cluster up && cargo xtask deploy
  cargo xtask deploy --without authorizer
  cargo xtask deploy --option authorizer-tls   changed as manifests/options/authorizer-tls says
  cargo xtask deploy --cluster slipway-e2e     to the cluster a run has left up")]
pub(super) struct Arguments {
    /// The cluster's name; the declaration's unless given
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Deploy as a folder of manifests/options says (may be repeated)
    #[arg(long = "option", value_name = "OPTION")]
    options: Vec<String>,
    /// Leave a component out (may be repeated)
    #[arg(long, value_name = "COMPONENT")]
    without: Vec<String>,
    /// The registry the cluster pulls from, when it is not the one of this machine
    #[arg(long, value_name = "REGISTRY")]
    registry: Option<String>,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let workspace = Workspace::find()?;
    let name = arguments.cluster.map_or_else(|| declared_name(&workspace), Ok)?;
    let directory = cluster_directory(&workspace.home, &name);
    let Status::Running(recorded) = kind::status(&directory).await.map_err(Failure::from)? else {
        let message = format!("deploy to the cluster `{name}`: it is not up");
        return Err(Failure::says(Reason::Cluster, message, Some("cargo xtask cluster up".to_owned())).into());
    };
    let provider = match &recorded.provider {
        kind::Chosen::Embedded => kind::Provider::Embedded,
        kind::Chosen::Kind(_) => kind::Provider::Kind,
        kind::Chosen::Existing { context, .. } => kind::Provider::Existing(context.clone()),
    };
    let request = Request {
        options: arguments.options,
        without: arguments.without,
        registry: arguments.registry,
        provider: Some(provider),
        ..request(&workspace, name)
    };
    let (plan, cluster) = decide(&workspace, &request).await?;
    let run = Run::create(&workspace.home, "deploy", Timestamp::now())?;
    told(async |events| {
        let Some(images) = &plan.images else { return Ok(()) };
        let images = stage(events, Stage::Build, build(images, events)).await?;
        let registry = site::open_registry(&plan, &cluster).await?;
        let push = site::push_images(&plan, &images, registry.as_ref(), events);
        let references = stage(events, Stage::Push, push).await?;
        let (up, client) = site::bring_up(&cluster, registry.as_ref(), &images, events).await?;
        site::keep(&run, &references, &up)?;
        let site = Site::new(up, client, references, registry);
        ci::deploy(&plan, &site, &run, events).await
    })
    .await?;
    Ok(())
}
