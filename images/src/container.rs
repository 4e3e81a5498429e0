//! The other builder: programs compiled inside the mirrored toolchain image by docker, podman or buildah, from the same recipes. `archive` takes
//! what they made into the layout, where it is proven like any other image: who built it makes no difference.

mod archive;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Instant;

use serde::Serialize;
use xshell::{Cmd, Shell, cmd};

pub use archive::ArchiveError;

use crate::build::{BuildError, BuildEvent, BuiltImage, BuiltManifest};
use crate::containerfile::{ContainerfileError, containerfile};
use crate::document::{DescriptorPlatform, INDEX, Index, MANIFEST, Manifest, Raw};
use crate::layout::Layout;
use crate::plan::{BuildPlan, PlannedImage};
use crate::platform::Platform;
use crate::proof;
use crate::reference::Reference;
use archive::Imported;

/// Annotation of a manifest: what made it.
const BUILDER: &str = "dev.slipway.builder";

/// A program that builds images from Containerfiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// Docker, with BuildKit or without.
    Docker,
    /// Podman.
    Podman,
    /// Buildah.
    Buildah,
}

/// How a plan is built in containers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Container {
    /// By what.
    pub engine: Engine,
    /// In which image, by digest.
    pub toolchain: Reference,
    /// More arguments of the engine's `build`, for proxies, volumes and the like.
    pub arguments: Vec<String>,
}

/// No such program.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown engine `{text}`, expected `docker`, `podman` or `buildah`")]
pub struct UnknownEngine {
    text: String,
}

impl FromStr for Engine {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Engine, UnknownEngine> {
        let named = Engine::ALL.into_iter().find(|engine| engine.name() == text);
        named.ok_or_else(|| UnknownEngine { text: text.to_string() })
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An image could not be built in a container.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The recipe is none for containers.
    #[error(transparent)]
    Containerfile(#[from] ContainerfileError),
    /// The engine could not be run.
    #[error("run `{command}`")]
    Run {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// The engine failed.
    #[error("build `{image}` for {platform} with {engine}:\n{output}")]
    Failed {
        /// The image.
        image: String,
        /// The platform.
        platform: Platform,
        /// By what.
        engine: Engine,
        /// The end of what it said.
        output: String,
    },
    /// A file of the build cannot be written.
    #[error("write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What the engine made cannot be read.
    #[error("read what {engine} made of `{image}`")]
    Archive {
        /// The image.
        image: String,
        /// By what.
        engine: Engine,
        /// Why.
        source: ArchiveError,
    },
}

impl ContainerError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            ContainerError::Containerfile(error) => error.hint(),
            ContainerError::Run { .. } => Some("is the engine installed and on PATH?".to_string()),
            ContainerError::Failed { platform, .. } if *platform != Platform::host() => Some(format!(
                "programs for {platform} must be able to run here: install `qemu-user-static`, or build natively"
            )),
            ContainerError::Failed { .. } | ContainerError::Write { .. } | ContainerError::Archive { .. } => {
                None
            }
        }
    }
}

impl Engine {
    /// All of them, the preferred first.
    pub const ALL: [Engine; 3] = [Engine::Docker, Engine::Podman, Engine::Buildah];

    /// Its command.
    pub fn name(self) -> &'static str {
        match self {
            Engine::Docker => "docker",
            Engine::Podman => "podman",
            Engine::Buildah => "buildah",
        }
    }

    /// Whether it is there and answers.
    pub fn answers(self) -> bool {
        let program = self.name();
        let Ok(shell) = Shell::new() else { return false };
        let asked = cmd!(shell, "{program} info").quiet().ignore_status().output();
        asked.is_ok_and(|output| output.status.success())
    }

    /// The first that answers.
    pub fn find() -> Option<Engine> {
        Engine::ALL.into_iter().find(|engine| engine.answers())
    }

    /// Builds `file` with the context `root` as `tag`. Times are those of the sources where the engine lets them be set.
    fn build<'a>(self, shell: &'a Shell, what: &Build<'_>) -> Cmd<'a> {
        let Build { plan, platform, file, tag, arguments } = *what;
        let (platform, root, epoch) = (platform.to_string(), &plan.root, plan.source_date_epoch.to_string());
        match self {
            Engine::Docker => cmd!(
                shell,
                "docker build {arguments...} --platform {platform} --build-arg SOURCE_DATE_EPOCH={epoch} --file {file} --tag {tag} {root}"
            ),
            Engine::Podman => cmd!(
                shell,
                "podman build {arguments...} --layers --timestamp {epoch} --platform {platform} --file {file} --tag {tag} {root}"
            ),
            Engine::Buildah => cmd!(
                shell,
                "buildah build {arguments...} --layers --timestamp {epoch} --platform {platform} --file {file} --tag {tag} {root}"
            ),
        }
    }

    /// Writes an image to a file.
    fn save<'a>(self, shell: &'a Shell, tag: &str, file: &Path) -> Cmd<'a> {
        match self {
            Engine::Docker => cmd!(shell, "docker save --output {file} {tag}"),
            Engine::Podman => cmd!(shell, "podman save --quiet --format oci-archive --output {file} {tag}"),
            Engine::Buildah => {
                let to = format!("oci-archive:{}", file.display());
                cmd!(shell, "buildah push --quiet {tag} {to}")
            }
        }
    }
}

/// One run of an engine.
struct Build<'a> {
    plan: &'a BuildPlan,
    platform: &'a Platform,
    file: &'a Path,
    tag: &'a str,
    arguments: &'a [String],
}

/// Builds one image for each of its platforms and takes it into the layout, proven.
pub(crate) fn build(
    plan: &BuildPlan,
    layout: &Layout,
    image: &PlannedImage,
    container: &Container,
    observer: &(dyn Fn(BuildEvent) + Sync),
) -> Result<BuiltImage, BuildError> {
    let started = Instant::now();
    let PlannedImage { recipe, platforms } = image;
    let Container { engine, toolchain, arguments } = container;
    let text = containerfile(recipe, toolchain).map_err(ContainerError::from)?;
    let file = plan.cache.join("containerfiles").join(format!("{}.Containerfile", recipe.name));
    write(&file, &text)?;
    let (mut manifests, mut rows) = (Vec::new(), Vec::new());
    for platform in platforms {
        let tag = format!("localhost/slipway/{}:{}", recipe.name, platform.slug());
        let what = Build { plan, platform, file: &file, tag: &tag, arguments };
        run(*engine, &recipe.name, &what, observer)?;
        observer(BuildEvent::Assembling { image: recipe.name.clone(), platform: platform.clone() });
        let imported = import(*engine, &recipe.name, &tag, plan, layout, image)?;
        let subject = proof::Subject {
            image: &recipe.name,
            platform,
            config: &imported.config.bytes,
            layers: imported
                .layers
                .iter()
                .map(|(name, layer)| (name.as_str(), proof::Layer::Packed(layer)))
                .collect(),
            entrypoint: &recipe.entrypoint,
            scratch: &plan.cache,
        };
        rows.extend(proof::prove(layout, &subject)?);
        manifests.push(documents(layout, &recipe.name, platform, *engine, &imported)?);
    }
    let index = Index::new(manifests.iter().map(|built| built.manifest.clone()).collect());
    let index = Raw::of(INDEX, &index).map_err(document_error(&recipe.name, "index"))?;
    layout.put(&index)?;
    let moved = layout.tag(&recipe.name, index.descriptor())?;
    Ok(BuiltImage {
        name: recipe.name.clone(),
        index: index.descriptor(),
        manifests,
        proof: rows,
        attestations: Vec::new(),
        cached: !moved,
        seconds: started.elapsed().as_secs_f64(),
    })
}

fn write(path: &Path, text: &str) -> Result<(), ContainerError> {
    let failed = |source| ContainerError::Write { path: path.to_path_buf(), source };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}

/// Runs the engine and passes on what it says.
fn run(
    engine: Engine,
    image: &str,
    what: &Build<'_>,
    observer: &(dyn Fn(BuildEvent) + Sync),
) -> Result<(), ContainerError> {
    let platform = what.platform;
    let shell = shell(engine)?;
    let command = engine.build(&shell, what);
    let text = command.to_string();
    observer(BuildEvent::CompileStarted {
        platform: platform.clone(),
        binaries: vec![image.to_string()],
        command: text.clone(),
    });
    let started = Instant::now();
    let failed = |source| ContainerError::Run { command: text.clone(), source };
    let mut command = Command::from(command);
    // Docker says what happens on one, the others on the other.
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let pass_on = |line: String| {
        observer(BuildEvent::CompilerLine { platform: platform.clone(), line: line.clone() });
        line
    };
    let output = std::thread::scope(|scope| {
        let lines =
            |pipe: Box<dyn io::Read + Send>| BufReader::new(pipe).lines().map_while(Result::ok).map(pass_on);
        let other = scope
            .spawn(move || stderr.map(|pipe| lines(Box::new(pipe)).collect::<Vec<_>>()).unwrap_or_default());
        let mut said = stdout.map(|pipe| lines(Box::new(pipe)).collect::<Vec<_>>()).unwrap_or_default();
        said.extend(other.join().unwrap_or_default());
        said
    });
    if !child.wait().map_err(failed)?.success() {
        // The reason comes last, after minutes of progress.
        let output = output.get(output.len().saturating_sub(40)..).unwrap_or_default().join("\n");
        return Err(ContainerError::Failed {
            image: image.to_string(),
            platform: platform.clone(),
            engine,
            output,
        });
    }
    observer(BuildEvent::CompileFinished {
        platform: platform.clone(),
        compiled: 1,
        duration: started.elapsed(),
    });
    Ok(())
}

fn shell(engine: Engine) -> Result<Shell, ContainerError> {
    let failed =
        |error| ContainerError::Run { command: engine.name().to_string(), source: io::Error::other(error) };
    Shell::new().map_err(failed)
}

fn import(
    engine: Engine,
    image: &str,
    tag: &str,
    plan: &BuildPlan,
    layout: &Layout,
    planned: &PlannedImage,
) -> Result<Imported, ContainerError> {
    let place = |source| ContainerError::Write { path: plan.cache.clone(), source };
    let directory = tempfile::Builder::new().prefix("import-").tempdir_in(&plan.cache).map_err(place)?;
    let file = directory.path().join("image.tar");
    let shell = shell(engine)?;
    let command = engine.save(&shell, tag, &file);
    let text = command.to_string();
    let output = command.quiet().ignore_status().output();
    let output = output
        .map_err(|error| ContainerError::Run { command: text.clone(), source: io::Error::other(error) })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
        return Err(ContainerError::Run { command: text, source: io::Error::other(said) });
    }
    archive::import(&file, directory.path(), layout, planned.recipe.compression)
        .map_err(|source| ContainerError::Archive { image: image.to_string(), engine, source })
}

fn documents(
    layout: &Layout,
    image: &str,
    platform: &Platform,
    engine: Engine,
    imported: &Imported,
) -> Result<BuiltManifest, BuildError> {
    layout.put(&imported.config)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(MANIFEST.to_string()),
        artifact_type: None,
        config: imported.config.descriptor(),
        layers: imported.layers.iter().map(|(_, layer)| layer.clone()).collect(),
        subject: None,
        annotations: BTreeMap::from([(BUILDER.to_string(), engine.to_string())]),
    };
    let layer_bytes = manifest.layers.iter().map(|layer| layer.size).sum();
    let manifest = Raw::of(MANIFEST, &manifest).map_err(document_error(image, "manifest"))?;
    layout.put(&manifest)?;
    let mut descriptor = manifest.descriptor();
    descriptor.platform = Some(DescriptorPlatform::from(platform));
    Ok(BuiltManifest { platform: platform.to_string(), manifest: descriptor, layer_bytes })
}

fn document_error(image: &str, document: &'static str) -> impl FnOnce(serde_json::Error) -> BuildError {
    let image = image.to_string();
    move |source| BuildError::Document { image, document, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_engine_is_called_the_way_it_understands() {
        let plan = crate::plan::tests::empty();
        let platform: Platform = "linux/arm64".parse().unwrap();
        let arguments = ["--network=host".to_string()];
        let what = Build {
            plan: &plan,
            platform: &platform,
            file: Path::new("/f"),
            tag: "localhost/x:y",
            arguments: &arguments,
        };
        let shell = Shell::new().unwrap();
        let commands = Engine::ALL.map(|engine| engine.build(&shell, &what).to_string());
        insta::assert_snapshot!(commands.join("\n"), @r"
        docker build --network=host --platform linux/arm64 --build-arg SOURCE_DATE_EPOCH=0 --file /f --tag localhost/x:y /workspace
        podman build --network=host --layers --timestamp 0 --platform linux/arm64 --file /f --tag localhost/x:y /workspace
        buildah build --network=host --layers --timestamp 0 --platform linux/arm64 --file /f --tag localhost/x:y /workspace
        ");
    }

    #[test]
    fn an_engine_is_known_by_its_command() {
        assert_eq!("podman".parse(), Ok(Engine::Podman));
        assert!("kaniko".parse::<Engine>().unwrap_err().to_string().contains("buildah"));
    }
}
