//! The embedded engine: one process of ours, started here, told apart from all others by its pid and start time.

mod launch;

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use super::{ClusterError, Guard};
use crate::UpPlan;
use crate::event::{ClusterEvent, Observer};
use crate::process;
use crate::spec::Protocol;
use crate::state::{self, Recorded};
pub(super) use launch::Engine;

/// How long the engine may take to end its pods and itself before it is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(10);

/// How much of the log an error shows.
const TAIL_LINES: usize = 12;

/// The line the engine prints when it serves.
#[derive(Deserialize)]
struct ReadyLine {
    ready: bool,
    server: String,
}

/// Starts the engine and waits for its ready line.
pub(super) async fn up(
    plan: &UpPlan,
    fingerprint: &str,
    observer: Observer<'_>,
) -> Result<(Recorded, Option<Guard>), ClusterError> {
    for what in plan.spec.ignored_by_embedded() {
        observer(ClusterEvent::Ignored { what });
    }
    let directory = absolute(&plan.directory)?;
    let log = log_file(&directory);
    let command = command(plan, &directory)?;
    observer(ClusterEvent::Command { line: shown(&command) });
    let launched = launch::launch(command, plan.lifetime)
        .await
        .map_err(|source| ClusterError::Start { engine: plan.engine.clone(), source })?;
    let mut recorded = Recorded {
        name: plan.spec.name.clone(),
        provider: plan.provider.clone(),
        kubeconfig: directory.join("kubeconfig"),
        server: String::new(),
        node_architecture: String::new(),
        process: Some(launched.engine.process),
        lifetime: plan.lifetime,
        mirrors: plan.mirrors.clone(),
        fingerprint: fingerprint.to_owned(),
    };
    // Recorded before it is ready: whoever comes after an interruption finds it.
    state::write(&plan.directory, &recorded)?;
    let outcome = launched.ready_line(plan.deadline).await;
    let outcome = outcome.and_then(|(engine, line)| match serde_json::from_str::<ReadyLine>(&line) {
        Ok(ReadyLine { ready: true, server }) => Ok((engine, server)),
        _ => Err(format!("said `{line}` instead of being ready")),
    });
    match outcome {
        Ok((engine, server)) => {
            recorded.server = server;
            // The node is this machine; pods of another architecture fail on it as they would anywhere.
            recorded.node_architecture = oci_architecture().to_owned();
            Ok((recorded, Some(Guard::Engine(engine))))
        }
        Err(what) => {
            down(&recorded).await;
            state::forget(&plan.directory)?;
            Err(ClusterError::NotReady { what, tail: tail(&log), log })
        }
    }
}

/// Stops the recorded engine, if it is still that process.
pub(super) async fn down(recorded: &Recorded) {
    if let Some(process) = recorded.process {
        process.stop(ENDS_WITHIN).await;
    }
}

/// Removes what an engine that did not end properly has left: engines nobody recorded, and the state directory.
pub(super) async fn clean(directory: &Path, observer: Observer<'_>) -> Result<(), ClusterError> {
    let state = state_directory(&absolute(directory)?);
    for stray in process::with_argument(&state) {
        observer(ClusterEvent::Stale { what: format!("an engine nobody recorded (pid {})", stray.pid) });
        stray.stop(ENDS_WITHIN).await;
    }
    match fs::remove_dir_all(&state) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(ClusterError::File { doing: "remove", file: state, source })
        }
        _ => Ok(()),
    }
}

/// The engine's log.
pub(super) fn log_file(directory: &Path) -> PathBuf {
    directory.join("engine.log")
}

fn state_directory(directory: &Path) -> PathBuf {
    directory.join("state")
}

fn absolute(path: &Path) -> Result<PathBuf, ClusterError> {
    std::path::absolute(path).map_err(|source| ClusterError::File {
        doing: "find",
        file: path.to_path_buf(),
        source,
    })
}

fn command(plan: &UpPlan, directory: &Path) -> Result<Command, ClusterError> {
    let log = log_file(directory);
    let file_failed = |file: &Path| {
        let file = file.to_path_buf();
        move |source| ClusterError::File { doing: "create", file, source }
    };
    let log_writer = File::create(&log).map_err(file_failed(&log))?;
    let store = absolute(&plan.store)?;
    fs::create_dir_all(&store).map_err(file_failed(&store))?;
    let state = state_directory(directory);
    fs::create_dir_all(&state).map_err(file_failed(&state))?;
    let mut command = Command::new(absolute(&plan.engine)?);
    command.arg("run").arg("--state-dir").arg(state).arg("--store-dir").arg(store);
    command.arg("--kubeconfig").arg(directory.join("kubeconfig")).args(arguments(plan));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_writer).current_dir(directory);
    Ok(command)
}

/// The arguments that come from the declaration.
fn arguments(plan: &UpPlan) -> Vec<String> {
    let networking = &plan.spec.networking;
    let address = networking.api_server_address.as_deref().unwrap_or("127.0.0.1");
    let port = networking.api_server_port.unwrap_or(0);
    let node_name = format!("{}-control-plane", plan.spec.name);
    let mut arguments =
        vec!["--listen".to_owned(), format!("{address}:{port}"), "--node-name".to_owned(), node_name];
    for mirror in &plan.mirrors {
        arguments.extend(["--registry-mirror".to_owned(), format!("{}={}", mirror.host, mirror.endpoint)]);
    }
    for mapping in plan.spec.port_mappings().filter(|mapping| mapping.protocol == Protocol::Tcp) {
        let mapped = format!("{}:{}:{}", mapping.listen_address, mapping.host_port, mapping.container_port);
        arguments.extend(["--port-mapping".to_owned(), mapped]);
    }
    arguments
}

/// A command as it could be typed.
fn shown(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// The last lines of a log, without reading all of it.
fn tail(log: &Path) -> Vec<String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(16 * 1024)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| (*line).to_owned()).collect()
}

/// This machine's architecture in OCI's words.
fn oci_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
