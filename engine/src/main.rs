//! The binary `slipway-engine`: one embedded cluster, for as long as the process lives.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use engine::node::sandbox::entry;
use engine::run::{self, Options};
use engine::services::PortMapping;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// An embedded Kubernetes cluster in one process
///
/// It needs Linux with root or user namespaces. Everything it makes (processes, mounts, network interfaces) is inside
/// namespaces of its own and gone when it ends, however it ends.
#[derive(Parser)]
#[command(name = "slipway-engine", version)]
enum Command {
    /// Run a cluster until SIGTERM or SIGINT
    ///
    /// When the API answers, one line is written to standard output: {"ready":true,"server":"https://…"}. The log goes to
    /// standard error.
    Run(Run),
}

#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  slipway-engine run --state-dir /tmp/c/state --store-dir /tmp/c/store --kubeconfig /tmp/c/kubeconfig"
)]
struct Run {
    /// Directory for pods and persistent volumes of this cluster
    #[arg(long, value_name = "DIR")]
    state_dir: PathBuf,
    /// Directory in which images are kept; several clusters may share it
    #[arg(long, value_name = "DIR")]
    store_dir: PathBuf,
    /// File that is written for clients of the cluster
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Address of the host on which the API is served; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Name of the node
    #[arg(long, value_name = "NAME", default_value = "slipway-control-plane")]
    node_name: String,
    /// Pull images of a registry from another endpoint, e.g. registry.example.com=http://127.0.0.1:5000
    #[arg(long, value_name = "HOST=ENDPOINT", value_parser = registry_mirror)]
    registry_mirror: Vec<(String, String)>,
    /// Open a port of the host that leads to a node port, e.g. 127.0.0.1:8080:30080
    #[arg(long, value_name = "ADDRESS:PORT:NODEPORT", value_parser = port_mapping)]
    port_mapping: Vec<PortMapping>,
    /// How much is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", env = "SLIPWAY_ENGINE_LOG", default_value = "info")]
    log: LevelFilter,
}

fn main() -> ExitCode {
    if let Some(code) = entry::container_process() {
        return code;
    }
    let Command::Run(arguments) = Command::parse();
    log(arguments.log);
    match run::run(options(arguments), say_ready) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes =
                std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
            let causes: Vec<String> = causes.map(ToString::to_string).collect();
            tracing::error!("{}", causes.join(": "));
            ExitCode::FAILURE
        }
    }
}

/// Logs to standard error; what libraries say below `info` is left out.
fn log(level: LevelFilter) {
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::INFO))
        .with_targets([("engine", level), ("slipway_engine", level)]);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(targets).init();
}

fn options(arguments: Run) -> Options {
    let Run { state_dir, store_dir, kubeconfig, listen, node_name, registry_mirror, port_mapping, log: _ } =
        arguments;
    Options {
        state_dir,
        store_dir,
        kubeconfig,
        listen,
        node_name,
        registry_mirrors: registry_mirror.into_iter().collect(),
        port_mappings: port_mapping,
    }
}

/// Whoever started the engine reads this line; that nobody reads is no reason to end.
fn say_ready(server: &str) {
    let line = serde_json::json!({"ready": true, "server": server});
    let mut output = std::io::stdout();
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

fn registry_mirror(text: &str) -> Result<(String, String), String> {
    let (host, endpoint) = text.split_once('=').ok_or("must be HOST=ENDPOINT")?;
    if host.is_empty() || endpoint.is_empty() {
        return Err("must be HOST=ENDPOINT".to_owned());
    }
    Ok((host.to_owned(), endpoint.to_owned()))
}

fn port_mapping(text: &str) -> Result<PortMapping, String> {
    let (host, node_port) = text.rsplit_once(':').ok_or("must be ADDRESS:PORT:NODEPORT")?;
    let host = host.parse().map_err(|_| format!("{host:?} is not an address with a port"))?;
    let node_port = node_port.parse().map_err(|_| format!("{node_port:?} is not a port"))?;
    Ok(PortMapping { host, node_port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_mappings_name_both_sides() {
        let mapping = port_mapping("127.0.0.1:8080:30080").unwrap();
        assert_eq!((mapping.host.port(), mapping.node_port), (8080, 30080));
        assert_eq!(port_mapping("[::1]:8080:30080").unwrap().host.to_string(), "[::1]:8080");
        assert!(port_mapping("8080:30080").is_err());
        assert!(port_mapping("127.0.0.1:8080:x").is_err());
    }

    #[test]
    fn a_mirror_names_a_host_and_an_endpoint() {
        let mirror = registry_mirror("r.example.com=http://127.0.0.1:5000").unwrap();
        assert_eq!(mirror, ("r.example.com".to_owned(), "http://127.0.0.1:5000".to_owned()));
        assert!(registry_mirror("r.example.com").is_err());
        assert!(registry_mirror("=http://x").is_err());
    }
}
