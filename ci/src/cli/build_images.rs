//! `build-images`: recipes to proven images: in a layout, in a file, in a registry, in a container engine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ci::build::{build, client};
use ci::event::Stage;
use ci::exit::{Failure, Reason};
use ci::facts::Facts;
use ci::tiers::stage;
use clap::{Args, ValueEnum};
use images::attest::Origin;
use images::container::{Container, Engine};
use images::containerfile::containerfile;
use images::prove::{self, Proven};
use images::push::{self, Destination, Pushed};
use images::recipe::Compression;
use images::{
    BuildPlan, BuildRequest, BuiltImage, Layout, Platform, Platforms, Recipes, Reference, recipe, sign,
    tarball,
};
use serde::Serialize;
use xshell::{Shell, cmd};

use super::workspace::{Workspace, told};
use super::{Outcome, print, print_json};

/// Build proven OCI images for every declared platform
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask build-images                                  all images, into an OCI layout
  cargo xtask build-images kettle --platform linux/amd64    one image for one platform
  cargo xtask build-images --push registry.example/team:v1  to a registry; what it has does not move
  cargo xtask build-images --compression zstd --push …      layers that unpack faster, for runtimes since 2021
  cargo xtask build-images --load                           into docker, podman or nerdctl
  cargo xtask build-images --prove                          twice, and compare bit by bit
  cargo xtask build-images --builder container              with docker, podman or buildah, in the mirrored toolchain")]
pub(super) struct Arguments {
    /// Names of images; all unless given
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
    /// The same as an option (may be repeated)
    #[arg(long = "image", value_name = "IMAGE")]
    more_images: Vec<String>,
    /// For this platform (may be repeated); every declared one unless given
    #[arg(long = "platform", value_name = "PLATFORM")]
    platforms: Vec<Platform>,
    /// Push to this registry
    #[arg(long, value_name = "HOST[/PREFIX][:TAG]")]
    push: Option<Destination>,
    /// Sign what was pushed with this ECDSA P-256 key, for `cosign verify --key`
    #[arg(long, value_name = "FILE", requires = "push")]
    sign_key: Option<PathBuf>,
    /// Load into the container engine of this machine
    #[arg(long)]
    load: bool,
    /// Write the OCI layout to this directory
    #[arg(long, value_name = "DIR")]
    layout: Option<PathBuf>,
    /// Write one file for `docker load`
    #[arg(long, value_name = "FILE")]
    tarball: Option<PathBuf>,
    /// Build everything a second time under other circumstances, and compare
    #[arg(long)]
    prove: bool,
    /// Who compiles: cargo on this machine, or a container engine in the mirrored toolchain image
    #[arg(long, value_enum, default_value_t = Builder::Native)]
    builder: Builder,
    /// The container engine: docker, podman or buildah; the first that answers unless given
    #[arg(long, value_name = "NAME")]
    engine: Option<Engine>,
    /// The image containers compile in, by digest, instead of the declared one
    #[arg(long, value_name = "IMAGE@DIGEST")]
    toolchain: Option<Reference>,
    /// One more argument for the engine's `build` (may be repeated), as in `--engine-argument=--network=host`
    #[arg(long = "engine-argument", value_name = "ARGUMENT", allow_hyphen_values = true)]
    engine_arguments: Vec<String>,
    /// Only print the Containerfiles of the images
    #[arg(long)]
    containerfile: bool,
    /// Pack layers this way instead of the recipes': gzip or zstd, with a level
    #[arg(long, value_name = "NAME[:LEVEL]")]
    compression: Option<Compression>,
    /// cargo profile; `dev` shares what is compiled with the tests
    #[arg(long, default_value = "release")]
    profile: String,
    /// Print what was made as JSON on stdout
    #[arg(long)]
    json: bool,
}

/// Who compiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Builder {
    Native,
    Container,
}

/// What was made.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Made {
    images: Vec<BuiltImage>,
    layout: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    pushed: Option<Pushed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proven: Option<Vec<Proven>>,
}

pub(super) async fn run(mut arguments: Arguments) -> Outcome {
    let more = std::mem::take(&mut arguments.more_images);
    arguments.images.extend(more);
    let workspace = Workspace::find()?;
    if arguments.containerfile {
        return print_containerfiles(&arguments, &workspace);
    }
    let facts = Facts::gather(&workspace.root, &workspace.home).await;
    let plan = plan(&arguments, &workspace, &facts)?;
    let images = told(async |events| stage(events, Stage::Build, build(&plan, events)).await).await?;

    let proven = if arguments.prove { Some(proven(&plan, &images).await?) } else { None };
    let layout =
        Layout::open(&plan.layout).map_err(|error| Failure::new(Reason::Build, &error, error.hint()))?;
    if let Some(file) = &arguments.tarball {
        write_tarball(&layout, &images, file)?;
    }
    if arguments.load {
        load(&layout, &images, &workspace, &facts)?;
    }
    let pushed = match &arguments.push {
        Some(destination) => {
            Some(pushed(&layout, &images, destination, arguments.sign_key.as_deref()).await?)
        }
        None => None,
    };
    let differs = proven.iter().flatten().find_map(|proven| {
        Some(format!("reproduce the image `{}`: {}", proven.image, proven.difference.as_ref()?))
    });
    let made = Made { images, layout: plan.layout, pushed, proven };
    match arguments.json {
        true => print_json(&made)?,
        false => print(listed(&made))?,
    }
    match differs {
        Some(message) => Err(Failure::says(Reason::Build, message, None).into()),
        None => Ok(()),
    }
}

fn print_containerfiles(arguments: &Arguments, workspace: &Workspace) -> Outcome {
    let recipes = recipe::load(&workspace.root)
        .map_err(|error| Failure::new(Reason::Declaration, &error, error.hint()))?;
    let toolchain = toolchain(arguments, &recipes)?;
    let names: Vec<&str> = match arguments.images.as_slice() {
        [] => recipes.names().collect(),
        names => names.iter().map(String::as_str).collect(),
    };
    let mut text = String::new();
    for name in names {
        let recipe = recipes.get(name).ok_or_else(|| {
            let known: Vec<&str> = recipes.names().collect();
            let hint = Some(format!("the recipes are: {}", known.join(", ")));
            Failure::says(
                Reason::Declaration,
                format!("print a Containerfile: there is no image `{name}`"),
                hint,
            )
        })?;
        text += &containerfile(recipe, &toolchain)
            .map_err(|error| Failure::new(Reason::Declaration, &error, error.hint()))?;
    }
    print(text)
}

/// The image containers compile in.
fn toolchain(arguments: &Arguments, recipes: &Recipes) -> Result<Reference, Failure> {
    arguments.toolchain.clone().or_else(|| recipes.toolchain.clone()).ok_or_else(|| {
        let hint = format!("add `toolchain` to `[container]` in `{}`, or give `--toolchain`", recipe::FILE);
        Failure::says(Reason::Declaration, "build in containers: no toolchain image is declared", Some(hint))
    })
}

fn container(arguments: &Arguments, recipes: &Recipes) -> Result<Container, Failure> {
    let engine = arguments.engine.or_else(Engine::find).ok_or_else(|| {
        let hint = "start docker, or install podman or buildah".to_owned();
        Failure::says(Reason::Declaration, "build in containers: no container engine answers", Some(hint))
    })?;
    let toolchain = toolchain(arguments, recipes)?;
    Ok(Container { engine, toolchain, arguments: arguments.engine_arguments.clone() })
}

fn plan(arguments: &Arguments, workspace: &Workspace, facts: &Facts) -> Result<BuildPlan, Failure> {
    let recipes = recipe::load(&workspace.root)
        .map_err(|error| Failure::new(Reason::Declaration, &error, error.hint()))?;
    let request = BuildRequest {
        root: workspace.root.clone(),
        cache: workspace.home.join("cache"),
        images: arguments.images.clone(),
        platforms: match arguments.platforms.as_slice() {
            [] => Platforms::Declared,
            platforms => Platforms::Only(platforms.to_vec()),
        },
        compression: arguments.compression,
        profile: Some(arguments.profile.clone()).filter(|profile| profile != "dev"),
        source_date_epoch: facts.source_date_epoch,
        origin: Some(Origin::gather(&workspace.root, facts.toolchains.compiler.clone())),
        container: match arguments.builder {
            Builder::Native => None,
            Builder::Container => Some(container(arguments, &recipes)?),
        },
        toolchains: facts.toolchains.clone(),
    };
    let mut plan = images::plan(&recipes, &request)
        .map_err(|error| Failure::new(Reason::Declaration, &error, error.hint()))?;
    if let Some(layout) = &arguments.layout {
        plan.layout.clone_from(layout);
    }
    Ok(plan)
}

/// As long as a build from nothing, so whoever waits is told what happens.
async fn proven(plan: &BuildPlan, images: &[BuiltImage]) -> Result<Vec<Proven>, Failure> {
    told(async |events| {
        let (plan, images, events) = (plan.clone(), images.to_vec(), events.clone());
        let again =
            move || prove::prove(&plan, &images, &|event| events.emit(ci::event::Event::Build(event)));
        let proven = tokio::task::spawn_blocking(again).await;
        let ending = || Failure::says(Reason::Unforeseen, "build a second time: the process is ending", None);
        proven.map_err(|_| ending())?.map_err(|error| Failure::new(Reason::Build, &error, error.hint()))
    })
    .await
}

async fn pushed(
    layout: &Layout,
    images: &[BuiltImage],
    destination: &Destination,
    key: Option<&Path>,
) -> Result<Pushed, Failure> {
    let unsigned = |error: sign::SignError| Failure::new(Reason::Cluster, &error, error.hint());
    let signer = key.map(sign::Signer::read).transpose().map_err(unsigned)?;
    let client = client()?;
    let nobody: push::Observer = Arc::new(|_| ());
    let pushed = push::push(layout, images, destination, &client, &nobody).await?;
    if let Some(signer) = &signer {
        sign::sign(&pushed, destination, &client, signer).await.map_err(unsigned)?;
    }
    Ok(pushed)
}

fn write_tarball(layout: &Layout, images: &[BuiltImage], path: &Path) -> Result<(), Failure> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        let message = format!("write {}: {error}", path.display());
        Failure::says(Reason::Build, message, None)
    };
    let file = std::fs::File::create(path).map_err(|error| failed(&error))?;
    tarball::write(layout, images, "latest", std::io::BufWriter::new(file)).map_err(|error| failed(&error))
}

fn load(layout: &Layout, images: &[BuiltImage], workspace: &Workspace, facts: &Facts) -> Result<(), Failure> {
    let failed = |message: String, hint: Option<String>| Failure::says(Reason::Cluster, message, hint);
    let Some(engine) = facts.cluster.container_engine else {
        let hint = "start docker, podman or nerdctl, or write a file with `--tarball`".to_owned();
        return Err(failed("load the images: no container engine answers".to_owned(), Some(hint)));
    };
    let file = workspace.home.join("load.tar");
    write_tarball(layout, images, &file)?;
    let engine = engine.to_string();
    let loaded = Shell::new().and_then(|shell| cmd!(shell, "{engine} load --input {file}").quiet().read());
    // It served its purpose, whatever came of it.
    let _ = std::fs::remove_file(&file);
    loaded.map(drop).map_err(|error| failed(format!("load the images: {error}"), None))
}

fn listed(made: &Made) -> String {
    let Made { images, layout, pushed, proven } = made;
    let mut text = String::new();
    for image in images {
        let reference = pushed.as_ref().and_then(|pushed| pushed.references.get(&image.name)).cloned();
        text += &reference.unwrap_or_else(|| format!("{}@{}", image.name, image.index.digest));
        text += "\n";
    }
    for Proven { image, difference } in proven.iter().flatten() {
        text += &match difference {
            None => format!("{image}: the same bits with {}\n", prove::CIRCUMSTANCES),
            Some(difference) => format!("{image}: {difference}\n"),
        };
    }
    text + &format!("OCI layout: {}\n", layout.display())
}
