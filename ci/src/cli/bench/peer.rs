//! Other people's builders, each with a storage of its own that goes away with it.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use xshell::{Shell, cmd};

use super::content::{Content, Part};

/// A builder that is driven through its command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    Buildah,
    Podman,
    Docker,
}

impl Peer {
    pub const ALL: [Peer; 3] = [Peer::Buildah, Peer::Podman, Peer::Docker];

    pub fn name(self) -> &'static str {
        match self {
            Peer::Buildah => "buildah",
            Peer::Podman => "podman",
            Peer::Docker => "docker",
        }
    }

    /// Its version, if it can be used here; else why not.
    pub fn version(self) -> Result<String, String> {
        let name = self.name();
        let ask = |arguments: &[&str]| -> Result<String, String> {
            let shell = Shell::new().map_err(|error| error.to_string())?;
            let output = cmd!(shell, "{name} {arguments...}").quiet().ignore_status().output();
            let output = output.map_err(|_| "not installed".to_owned())?;
            match output.status.success() {
                true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
                false => Err(format!("`{name} {}` fails", arguments.join(" "))),
            }
        };
        let said = ask(&["--version"])?;
        if self == Peer::Docker {
            ask(&["info"]).map_err(|_| "no daemon answers".to_owned())?;
        }
        let number =
            said.split([' ', ',']).find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
        Ok(number.unwrap_or(&said).to_owned())
    }

    /// Builds everything and pushes it to `registry`. `storage` holds what the builder remembers; docker has its daemon's.
    pub fn run(self, content: &Content, registry: &str, storage: &Path) -> anyhow::Result<Duration> {
        let started = Instant::now();
        match self {
            Peer::Buildah | Peer::Podman => self.daemonless(content, registry, storage)?,
            Peer::Docker => docker(content, registry)?,
        }
        Ok(started.elapsed())
    }

    /// One manifest list per image, as ours has one index.
    fn daemonless(self, content: &Content, registry: &str, storage: &Path) -> anyhow::Result<()> {
        let program = self.name();
        let shell = shell()?;
        let storage = ["--root".into(), storage.join("root"), "--runroot".into(), storage.join("run")];
        let storage = storage.as_slice();
        let mut lists: Vec<&str> = Vec::new();
        for Part { image, platform, directory } in &content.parts {
            if !lists.contains(&image.as_str()) {
                // One of an earlier round would be added to.
                let remove = cmd!(shell, "{program} {storage...} manifest rm localhost/{image}");
                remove.quiet().ignore_status().ignore_stdout().ignore_stderr().run()?;
                lists.push(image);
            }
            let build = cmd!(
                shell,
                "{program} {storage...} build --quiet --layers --platform {platform} --manifest localhost/{image} {directory}"
            );
            quietly(build)?;
        }
        for image in lists {
            let to = format!("docker://{registry}/{program}/{image}:bench");
            quietly(cmd!(
                shell,
                "{program} {storage...} manifest push --quiet --all --tls-verify=false localhost/{image} {to}"
            ))?;
        }
        Ok(())
    }
}

/// A tag per platform; without a list of them, which the classic client cannot make for a registry without TLS.
fn docker(content: &Content, registry: &str) -> anyhow::Result<()> {
    let shell = shell()?;
    for Part { image, platform, directory } in &content.parts {
        let tag = format!("{registry}/docker/{image}:{}", platform.replace('/', "-"));
        let file = directory.join("Containerfile");
        quietly(cmd!(
            shell,
            "docker build --quiet --platform {platform} --file {file} --tag {tag} {directory}"
        ))?;
        quietly(cmd!(shell, "docker push --quiet {tag}"))?;
    }
    Ok(())
}

fn shell() -> anyhow::Result<Shell> {
    Shell::new().context("start a command")
}

/// Shows what a command said only when it fails.
fn quietly(command: xshell::Cmd<'_>) -> anyhow::Result<()> {
    let text = command.to_string();
    let output = command.quiet().ignore_status().output()?;
    anyhow::ensure!(
        output.status.success(),
        "`{text}` failed:\n{}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
