//! `doctor`: what this machine has and lacks, with the command that helps.

use ci::exit::Reason;
use ci::facts::Facts;
use clap::Args;
use images::Platform;
use kind::Provider;
use serde::Serialize;
use xshell::{Shell, cmd};

use super::workspace::Workspace;
use super::{Outcome, Unsuccessful, print, print_json};

/// Look for what this machine lacks, with the command that installs it
#[derive(Args)]
#[command(after_help = "Exit code 3 when something is missing that `cargo xtask e2e` cannot do without.")]
pub(super) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// One thing that was looked for.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Finding {
    what: &'static str,
    found: Option<String>,
    /// Whether the main job cannot do without.
    needed: bool,
    hint: Option<String>,
}

pub(super) async fn run(arguments: Arguments) -> Outcome {
    let workspace = Workspace::find()?;
    let facts = Facts::gather(&workspace.root, &workspace.home).await;
    let findings = look(&facts);
    let lacks = findings.iter().any(|finding| finding.needed && finding.found.is_none());
    match arguments.json {
        true => print_json(&findings)?,
        false => print(findings.iter().map(shown).collect::<String>())?,
    }
    if lacks { Err(Unsuccessful::Reported(Reason::Declaration)) } else { Ok(()) }
}

fn look(facts: &Facts) -> Vec<Finding> {
    let cluster = kind::choose(&Provider::Auto, &facts.cluster);
    let (provider, provider_hint) = match cluster {
        Ok(choice) => (Some(format!("{} ({})", choice.provider, choice.reason)), None),
        Err(unavailable) => (None, Some(unavailable.hint)),
    };
    let engine = facts.cluster.container_engine;
    let optional = |what, found: Option<String>, hint: &str| Finding {
        what,
        hint: found.is_none().then(|| hint.to_owned()),
        found,
        needed: false,
    };
    vec![
        Finding {
            what: "Rust",
            found: version("rustc"),
            needed: true,
            hint: Some("install it: https://rustup.rs".to_owned()),
        },
        Finding { what: "cluster", found: provider, needed: true, hint: provider_hint },
        optional(
            "container engine",
            engine.map(|engine| engine.to_string()),
            "not needed: the embedded engine stands in; for kind start docker, podman or nerdctl",
        ),
        optional(
            "kind",
            facts.cluster.kind_installed.then(|| "installed".to_owned()),
            "not needed: the embedded engine stands in; https://kind.sigs.k8s.io/docs/user/quick-start/",
        ),
        optional(
            "kubectl",
            version_of("kubectl", &["version", "--client"]),
            "not needed, but good to look around with: https://kubernetes.io/docs/tasks/tools/",
        ),
        foreign(facts),
        optional("git", version("git"), "without it the report names no commit: apt-get install git"),
    ]
}

/// What compiles for platforms that are not this machine's.
fn foreign(facts: &Facts) -> Finding {
    let foreign = Platform::all()
        .find(|platform| *platform != facts.platform && matches!(platform.architecture(), "amd64" | "arm64"));
    let (found, hint) =
        match foreign.map(|platform| (images::toolchain::choose(&platform, &facts.toolchains), platform)) {
            Some((Ok(toolchain), platform)) => (Some(format!("{platform}: {}", toolchain.why)), None),
            Some((Err(missing), _)) => (None, Some(missing.hint())),
            None => (None, None),
        };
    Finding { what: "foreign images", found, needed: false, hint }
}

fn shown(finding: &Finding) -> String {
    let Finding { what, found, needed, hint } = finding;
    let mark = match (found, needed) {
        (Some(_), _) => "found  ",
        (None, true) => "MISSING",
        (None, false) => "absent ",
    };
    let detail = found.as_deref().unwrap_or_default();
    let hint = match (found, hint) {
        (None, Some(hint)) => format!("\n           = hint: {hint}"),
        _ => String::new(),
    };
    format!("{mark}  {what:<17} {detail}").trim_end().to_owned() + &hint + "\n"
}

fn version(program: &str) -> Option<String> {
    version_of(program, &["--version"])
}

fn version_of(program: &str, arguments: &[&str]) -> Option<String> {
    let shell = Shell::new().ok()?;
    let said = cmd!(shell, "{program} {arguments...}").quiet().ignore_stderr().read().ok()?;
    said.lines().next().map(str::to_owned)
}
