//! Programs that copy images, each in the way its own documentation recommends for many of them, and what a run of one costs.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::corpus::Published;

/// A program that copies images between registries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tool {
    /// This program.
    Slipway,
    /// `skopeo sync --all`
    Skopeo,
    /// `crane copy --all-tags`
    Crane,
    /// `regsync once`
    Regsync,
}

impl Tool {
    /// All of them, ours first.
    pub const ALL: [Tool; 4] = [Tool::Slipway, Tool::Skopeo, Tool::Crane, Tool::Regsync];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Tool::Slipway => "slipway",
            Tool::Skopeo => "skopeo",
            Tool::Crane => "crane",
            Tool::Regsync => "regsync",
        }
    }

    /// Where it is on this machine; nothing if it is not.
    pub(super) fn find(self) -> Option<PathBuf> {
        if self == Tool::Slipway {
            return std::env::current_exe().ok();
        }
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join(self.name())).find(|file| file.is_file())
    }
}

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub seconds: f64,
    /// How long its processes had a processor, as far as that was seen.
    pub processor: f64,
    /// The most memory one of its processes ever had resident, in bytes.
    pub memory: u64,
}

/// How often memory and processor time are looked at.
const PACE: Duration = Duration::from_millis(20);

/// Parts of a second in which the kernel counts processor time for others to see, on every architecture we build for.
const TICKS: f64 = 100.0;

/// Everything a tool has to be told.
pub(super) struct Task<'a> {
    pub program: &'a Path,
    /// A folder of the tool's own, the same for all runs of one measurement.
    pub folder: &'a Path,
    pub source: &'a str,
    pub destination: &'a str,
    pub published: &'a Published,
}

impl Task<'_> {
    /// The commands that copy everything.
    pub(super) fn commands(&self, tool: Tool) -> io::Result<Vec<Command>> {
        let Task { program, folder, source, destination, published } = self;
        for below in ["images", "ci/pipelines", "home"] {
            std::fs::create_dir_all(folder.join(below))?;
        }
        let command = |arguments: &[&str]| {
            let mut command = Command::new(program);
            command.args(arguments).current_dir(folder).env("HOME", folder.join("home"));
            command.env("DOCKER_CONFIG", folder.join("home")).kill_on_drop(true);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            command
        };
        let repositories = published.repositories();
        let tags = |repository: &str| -> Vec<&str> {
            let of_it = published.images.iter().filter(|(name, _, _)| name == repository);
            of_it.map(|(_, tag, _)| tag.as_str()).collect()
        };
        let mut text = String::new();
        match tool {
            Tool::Slipway => {
                for repository in repositories {
                    let tags = tags(repository);
                    // The same text in JSON and TOML.
                    let _ = writeln!(
                        text,
                        "[[image]]\nsource = \"{source}/{repository}\"\ndestination = \"{destination}/{repository}\"\ntags = {tags:?}"
                    );
                }
                std::fs::write(folder.join("images/mirror.toml"), text)?;
                Ok(vec![command(&["mirror", "sync"])])
            }
            Tool::Skopeo => {
                let _ = writeln!(text, "\"{source}\":\n  tls-verify: false\n  images:");
                for repository in repositories {
                    let _ = writeln!(text, "    {repository}: {:?}", tags(repository));
                }
                std::fs::write(folder.join("skopeo.yaml"), text)?;
                let to = format!("{destination}/library");
                let arguments = ["--insecure-policy", "sync", "--all", "--preserve-digests", "--src", "yaml"];
                let arguments =
                    [&arguments[..], &["--dest", "docker", "--dest-tls-verify=false", "skopeo.yaml", &to]];
                Ok(vec![command(&arguments.concat())])
            }
            Tool::Crane => Ok(repositories
                .into_iter()
                .map(|repository| {
                    let (from, to) =
                        (format!("{source}/{repository}"), format!("{destination}/{repository}"));
                    command(&["copy", "--insecure", "--all-tags", &from, &to])
                })
                .collect()),
            Tool::Regsync => {
                let _ = writeln!(text, "version: 1\ncreds:");
                for registry in [source, destination] {
                    let _ = writeln!(text, "  - registry: {registry}\n    tls: disabled");
                }
                let _ = writeln!(text, "defaults:\n  parallel: 8\nsync:");
                for repository in repositories {
                    let _ = writeln!(
                        text,
                        "  - source: {source}/{repository}\n    target: {destination}/{repository}\n    type: repository\n    tags:\n      allow: {:?}",
                        tags(repository)
                    );
                }
                std::fs::write(folder.join("regsync.yaml"), text)?;
                Ok(vec![command(&["once", "-c", "regsync.yaml"])])
            }
        }
    }
}

/// Runs commands one after the other; the error is what the one that failed said.
pub(super) async fn run(commands: Vec<Command>) -> Result<Cost, String> {
    let started = Instant::now();
    let (mut memory, mut processor) = (0, 0.0);
    for mut command in commands {
        let child = command.spawn().map_err(|error| error.to_string())?;
        let process = child.id();
        let mut spent = 0.0;
        let output = child.wait_with_output();
        tokio::pin!(output);
        let output = loop {
            memory = memory.max(process.map_or(0, resident));
            spent = process.map_or(0.0, processor_time).max(spent);
            tokio::select! {
                output = &mut output => break output.map_err(|error| error.to_string())?,
                () = tokio::time::sleep(PACE) => {}
            }
        };
        processor += spent;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last: Vec<&str> = said.lines().rev().take(5).collect();
            return Err(format!(
                "{}: {}",
                output.status,
                last.into_iter().rev().collect::<Vec<_>>().join(" | ")
            ));
        }
    }
    Ok(Cost { seconds: started.elapsed().as_secs_f64(), processor, memory })
}

/// The most memory a process ever had resident, as the kernel counts it; 0 once it is gone.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or_default() * 1024
}

/// How long a process has had a processor, in seconds; 0 once it is gone.
fn processor_time(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // After its name, which may have anything in it: the state is the first, user and system time are the twelfth and thirteenth.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = rest.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS
}
