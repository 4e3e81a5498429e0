//! One attempt: ask the container, in the way it wants to be asked.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    ContainerPort, ExecAction, GRPCAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::net::TcpStream;

use super::{grpc, http};
use crate::node::exec::Inside;

/// The container that is asked.
#[derive(Debug)]
pub(crate) struct Target {
    /// Address of its pod.
    pub host: String,
    /// Its ports, for those that are meant by name.
    pub ports: Vec<ContainerPort>,
    /// Its processes.
    pub inside: Inside,
}

/// How to ask.
#[derive(Debug, Clone)]
pub(crate) enum Check {
    /// A request that must be answered with a code from 200 to 399. Redirects are not followed.
    Http(HTTPGetAction),
    /// A connection.
    Tcp(TCPSocketAction),
    /// A command that must end with 0.
    Exec(ExecAction),
    /// The health protocol of gRPC.
    Grpc(GRPCAction),
    /// A pause.
    Sleep(Duration),
    /// Nothing: always well.
    Nothing,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Upstream's words.
    pub message: String,
    /// Nothing listens there.
    pub refused: bool,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), refused: false }
    }

    /// No answer within the time allowed.
    pub(super) fn timeout(check: &Check, target: &Target, limit: Duration) -> Self {
        let port = |port| target.port(port).map(|port| format!("{}:{port}", target.host)).unwrap_or_default();
        Self::new(match check {
            Check::Http(action) => format!(
                "Get {:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                http::url(action, target).unwrap_or_default()
            ),
            Check::Tcp(action) => format!("dial tcp {}: i/o timeout", port(&action.port)),
            Check::Exec(action) => {
                let command = action.command.clone().unwrap_or_default().join(" ");
                format!("command timed out: {command:?} timed out after {}s", limit.as_secs())
            }
            _ => format!("timeout: health rpc did not complete within {}s", limit.as_secs()),
        })
    }
}

impl Target {
    /// The number of a port.
    pub(super) fn port(&self, port: &IntOrString) -> Result<u16, Failure> {
        let number = match port {
            IntOrString::Int(number) => Some(*number),
            IntOrString::String(name) => {
                let named = self.ports.iter().find(|port| port.name.as_deref() == Some(name));
                named.map(|port| port.container_port).or_else(|| name.parse().ok())
            }
        };
        let name = match port {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(name) => name.clone(),
        };
        number
            .and_then(|number| u16::try_from(number).ok())
            .ok_or_else(|| Failure::new(format!("couldn't find port: {name:?}")))
    }
}

impl Check {
    /// What a probe does.
    pub(super) fn of_probe(probe: &Probe) -> Self {
        let Probe { exec, grpc, http_get, tcp_socket, .. } = probe.clone();
        exec.map(Self::Exec)
            .or(http_get.map(Self::Http))
            .or(tcp_socket.map(Self::Tcp))
            .or(grpc.map(Self::Grpc))
            .unwrap_or(Self::Nothing)
    }

    /// What a hook does.
    pub(crate) fn of_hook(hook: &LifecycleHandler) -> Self {
        let LifecycleHandler { exec, http_get, sleep, tcp_socket: _never_did_anything } = hook.clone();
        let pause = |seconds| Self::Sleep(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
        exec.map(Self::Exec)
            .or(http_get.map(Self::Http))
            .or(sleep.map(|action| pause(action.seconds)))
            .unwrap_or(Self::Nothing)
    }

    /// Asks once, however long it takes.
    pub(crate) async fn attempt(&self, target: &Target) -> Result<(), Failure> {
        match self {
            Self::Http(action) => http::get(action, target).await,
            Self::Tcp(action) => {
                let host = action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(&target.host);
                dial(host, target.port(&action.port)?).await.map(drop)
            }
            Self::Exec(action) => {
                let command = action.command.clone().unwrap_or_default();
                match target.inside.run(&command).await {
                    Ok(finished) if finished.exit.code == 0 => Ok(()),
                    Ok(finished) if finished.output.is_empty() => {
                        Err(Failure::new(format!("command {command:?} exited with {}", finished.exit.code)))
                    }
                    Ok(finished) => Err(Failure::new(finished.output)),
                    Err(error) => Err(Failure::new(error.to_string())),
                }
            }
            Self::Grpc(action) => grpc::check(action, target).await,
            Self::Sleep(pause) => {
                tokio::time::sleep(*pause).await;
                Ok(())
            }
            Self::Nothing => Ok(()),
        }
    }
}

/// Connects to the container.
pub(super) async fn dial(host: &str, port: u16) -> Result<TcpStream, Failure> {
    TcpStream::connect((host, port)).await.map_err(|error| dial_failure(host, port, &error))
}

fn dial_failure(host: &str, port: u16, error: &io::Error) -> Failure {
    let refused = error.kind() == io::ErrorKind::ConnectionRefused;
    let cause: &dyn Display = if refused { &"connection refused" } else { error };
    Failure { message: format!("dial tcp {host}:{port}: connect: {cause}"), refused }
}
