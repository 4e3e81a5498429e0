//! `build-images`: recipes to proven images in the layout.

use std::path::Path;

use ci::build::build;
use ci::event::Stage;
use ci::exit::{Failure, Reason};
use ci::facts::Facts;
use ci::tiers::stage;
use clap::Args;
use images::{BuildRequest, BuiltImage, Platform, Platforms, recipe};

use super::workspace::{Workspace, told};
use super::{Outcome, print, print_json};

/// Build proven OCI images
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask build-images                            all images for this machine's platform
  cargo xtask build-images kettle                     one image
  cargo xtask build-images --platform linux/arm64     for another platform
  cargo xtask build-images --all-platforms --json     for every declared platform, digests as JSON")]
pub(super) struct Arguments {
    /// Names of images; all unless given
    images: Vec<String>,
    /// For this platform (may be repeated)
    #[arg(long = "platform", value_name = "PLATFORM", conflicts_with = "all_platforms")]
    platforms: Vec<Platform>,
    /// For every platform the recipes declare
    #[arg(long)]
    all_platforms: bool,
    /// Print the images as JSON on stdout
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let workspace = Workspace::find()?;
    let recipes = recipe::load(&workspace.root)
        .map_err(|error| Failure::new(Reason::Declaration, &error, error.hint()))?;
    let facts = Facts::gather(&workspace.root, &workspace.home).await;
    let request = BuildRequest {
        root: workspace.root.clone(),
        cache: workspace.home.join("cache"),
        images: arguments.images,
        platforms: match (arguments.all_platforms, arguments.platforms.as_slice()) {
            (true, _) => Platforms::Declared,
            (false, []) => Platforms::Host,
            (false, platforms) => Platforms::Only(platforms.to_vec()),
        },
        profile: None,
        source_date_epoch: facts.source_date_epoch,
        toolchains: facts.toolchains,
    };
    let plan = images::plan(&recipes, &request)
        .map_err(|error| Failure::new(Reason::Declaration, &error, error.hint()))?;
    let images = told(async |events| stage(events, Stage::Build, build(&plan, events)).await).await?;
    match arguments.json {
        true => print_json(&images),
        false => print(listed(&images, &plan.layout)),
    }
}

fn listed(images: &[BuiltImage], layout: &Path) -> String {
    let lines = images.iter().map(|image| format!("{}@{}\n", image.name, image.index.digest));
    lines.collect::<String>() + &format!("OCI layout: {}\n", layout.display())
}
