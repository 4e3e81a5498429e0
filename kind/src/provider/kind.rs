//! The kind command line on docker, podman or nerdctl. Its kubeconfig is a file of ours; `~/.kube/config` is never touched.

mod diagnose;
mod registry;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use xshell::{Shell, cmd};

use super::{ClusterError, Guard};
use crate::UpPlan;
use crate::event::{ClusterEvent, Observer};
use crate::facts::ContainerEngine;
use crate::state::{self, Recorded};

pub(super) use registry::Door;

/// Creates the cluster; collects its logs first when that fails.
pub(super) async fn up(
    engine: ContainerEngine,
    plan: &UpPlan,
    fingerprint: &str,
    observer: Observer<'_>,
) -> Result<(Recorded, Option<Guard>), ClusterError> {
    let kubeconfig = plan.directory.join("kubeconfig");
    let mut recorded = Recorded {
        name: plan.spec.name.clone(),
        provider: plan.provider.clone(),
        kubeconfig: kubeconfig.clone(),
        server: String::new(),
        node_architecture: String::new(),
        process: None,
        lifetime: plan.lifetime,
        mirrors: plan.mirrors.clone(),
        fingerprint: fingerprint.to_owned(),
    };
    // Recorded before it exists: an interrupted create is deleted by the next command.
    state::write(&plan.directory, &recorded)?;
    let name = plan.spec.name.clone();
    // Not the declared file itself: node images may be pulled from elsewhere than is written there.
    let config = plan.directory.join("kind.yaml");
    std::fs::write(&config, &plan.spec.text).map_err(|source| ClusterError::File {
        doing: "write",
        file: config.clone(),
        source,
    })?;
    let created = run(engine, create(plan, &config, &kubeconfig), observer).await;
    if let Err(ClusterError::Command { line, message, .. }) = created {
        let logs = plan.directory.join("logs");
        // What an earlier failure left is no reason for this one.
        let _ = std::fs::remove_dir_all(&logs);
        // kind fails when one of many logs cannot be had; those it could get are there all the same.
        let _ = export_logs(engine, &name, &plan.directory, observer).await;
        // The failure is what is reported; a delete that fails too is found by the next command through the record.
        let _ = run(engine, delete(&name), observer).await;
        let cause = diagnose::cause(&message, Some(&logs));
        let logs = (std::fs::create_dir_all(&logs).is_ok()
            && std::fs::write(logs.join("kind-create.log"), &message).is_ok())
        .then_some(logs);
        let message = diagnose::essence(&message);
        return Err(ClusterError::Command { line, message, cause, logs });
    }
    created?;
    let guard = open_registries(engine, plan, observer).await?;
    recorded.server = server(&kubeconfig)?;
    Ok((recorded, Some(guard)))
}

/// Deletes the cluster.
pub(super) async fn down(
    engine: ContainerEngine,
    recorded: &Recorded,
    observer: Observer<'_>,
) -> Result<(), ClusterError> {
    let deleted = run(engine, delete(&recorded.name), observer).await;
    deleted.map(|_| ()).map_err(|error| without_kind(engine, &recorded.name, error))
}

/// Says how a cluster goes when kind has gone before it: its nodes are containers with a label.
fn without_kind(engine: ContainerEngine, name: &str, error: ClusterError) -> ClusterError {
    match error {
        ClusterError::Missing { line, program, hint } => {
            let engine = engine.command();
            let nodes = format!("{engine} ps -aq --filter label=io.x-k8s.kind.cluster={name}");
            ClusterError::Missing {
                line,
                program,
                hint: format!("{hint}; by hand: {engine} rm -f $({nodes})"),
            }
        }
        error => error,
    }
}

/// Fills `<directory>/logs`.
pub(super) async fn export_logs(
    engine: ContainerEngine,
    name: &str,
    directory: &Path,
    observer: Observer<'_>,
) -> Result<PathBuf, ClusterError> {
    let path = directory.join("logs");
    let arguments = ["export", "logs", "--name", name].map(str::to_owned).into_iter();
    let arguments = arguments.chain([path.display().to_string()]).collect();
    run(engine, ("kind", arguments), observer).await?;
    observer(ClusterEvent::CollectedLogs { path: path.clone() });
    Ok(path)
}

/// Tells every node where the images of each mirrored host are, and opens a door to registries that listen on loopback.
pub(super) async fn open_registries(
    engine: ContainerEngine,
    plan: &UpPlan,
    observer: Observer<'_>,
) -> Result<Guard, ClusterError> {
    if plan.mirrors.is_empty() {
        return Ok(Guard::Doors(Vec::new()));
    }
    let name = plan.spec.name.clone();
    let nodes =
        run(engine, ("kind", vec!["get".into(), "nodes".into(), "--name".into(), name]), observer).await?;
    let gateway = run(engine, registry::gateway_query(engine), observer).await?;
    let gateway = registry::gateway(&gateway);
    let mut doors = Vec::new();
    for mirror in &plan.mirrors {
        let (endpoint, door) = registry::reachable(&mirror.endpoint, gateway).await?;
        doors.extend(door);
        for node in nodes.split_whitespace() {
            run(engine, registry::write_hosts_file(engine, node, &mirror.host, &endpoint), observer).await?;
        }
    }
    Ok(Guard::Doors(doors))
}

type Line = (&'static str, Vec<String>);

fn create(plan: &UpPlan, config: &Path, kubeconfig: &Path) -> Line {
    let wait = format!("{}s", plan.deadline.as_secs());
    let arguments =
        ["create", "cluster", "--name", &plan.spec.name, "--config"].map(str::to_owned).into_iter();
    let config = config.display().to_string();
    let rest = [
        "--kubeconfig".to_owned(),
        kubeconfig.display().to_string(),
        "--wait".to_owned(),
        wait,
        "--retain".to_owned(),
    ];
    ("kind", arguments.chain([config]).chain(rest).collect())
}

fn delete(name: &str) -> Line {
    // An empty kubeconfig of its own: delete would otherwise edit the default one.
    let arguments = ["delete", "cluster", "--name", name, "--kubeconfig", "/dev/null"];
    ("kind", arguments.map(str::to_owned).to_vec())
}

/// Runs a command to its end and gives its standard output.
async fn run(
    engine: ContainerEngine,
    (program, arguments): Line,
    observer: Observer<'_>,
) -> Result<String, ClusterError> {
    let line = format!("{program} {}", arguments.join(" "));
    observer(ClusterEvent::Command { line: line.clone() });
    let failed =
        |message: String| ClusterError::Command { line: line.clone(), message, cause: None, logs: None };
    let ran = tokio::task::spawn_blocking(move || {
        let shell = Shell::new().map_err(io::Error::other)?;
        let command = cmd!(shell, "{program} {arguments...}");
        Command::from(command.env("KIND_EXPERIMENTAL_PROVIDER", engine.command())).output()
    });
    match ran.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ClusterError::Missing {
            hint: format!("install `{program}`, or put it on the PATH, and repeat the command"),
            program: program.to_owned(),
            line,
        }),
        Err(error) => Err(failed(error.to_string())),
    }
}

fn server(kubeconfig: &Path) -> Result<String, ClusterError> {
    let failed =
        |message: String| ClusterError::Kubeconfig { file: kubeconfig.to_path_buf(), message, hint: None };
    let read = kube::config::Kubeconfig::read_from(kubeconfig).map_err(|error| failed(error.to_string()))?;
    let server = read.clusters.into_iter().find_map(|cluster| cluster.cluster?.server);
    server.ok_or_else(|| failed("it names no server".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tool_that_is_gone_is_named_with_what_helps() {
        let line = ("slipway-has-no-such-tool", vec!["delete".to_owned()]);
        let error = run(ContainerEngine::Podman, line, &|_| {}).await.unwrap_err();
        insta::assert_snapshot!(without_kind(ContainerEngine::Podman, "slipway", error), @r"
        run `slipway-has-no-such-tool delete`: `slipway-has-no-such-tool` is not on the PATH
          = hint: install `slipway-has-no-such-tool`, or put it on the PATH, and repeat the command; by hand: podman rm -f $(podman ps -aq --filter label=io.x-k8s.kind.cluster=slipway)
        ");
    }
}
