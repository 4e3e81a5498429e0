//! Registries to measure with: the one in this process, and Docker's where it is installed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use images::registry::{self, Running, ServeError};
use tokio::net::TcpStream;

/// Which registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The one in this process.
    InProcess,
    /// Docker's, as Debian packages it.
    Docker,
}

/// A registry that lasts as long as this value.
pub enum Registry {
    /// In this process.
    InProcess(Running),
    /// Docker's, as a process of its own.
    Docker {
        /// The process, which ends with the value.
        child: Child,
        /// Where it listens.
        address: SocketAddr,
    },
}

/// A registry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The one in this process.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Docker's.
    #[error("run `docker-registry`")]
    Docker(#[source] io::Error),
}

/// How long a registry may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

impl Registry {
    /// Starts a registry whose content is in `directory`.
    pub async fn start(kind: Kind, directory: &Path) -> Result<Registry, RegistryError> {
        match kind {
            Kind::InProcess => {
                Ok(Registry::InProcess(registry::serve(registry::Options::on_loopback(directory)).await?))
            }
            Kind::Docker => docker(directory).await.map_err(RegistryError::Docker),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        match self {
            Registry::InProcess(running) => running.address(),
            Registry::Docker { address, .. } => *address,
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if let Registry::Docker { child, .. } = self {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn docker(directory: &Path) -> io::Result<Registry> {
    std::fs::create_dir_all(directory)?;
    // It cannot say which port it took, so a free one is looked for.
    let address = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let config = directory.join("config.yml");
    let data = directory.join("data");
    let text = format!(
        "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\nstorage:\n  filesystem: {{ rootdirectory: {} }}\nhttp: {{ addr: \"{address}\" }}\n",
        data.display()
    );
    std::fs::write(&config, text)?;
    let mut command = Command::new("docker-registry");
    command.arg("serve").arg(&config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let registry = Registry::Docker { child: command.spawn()?, address };
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = TcpStream::connect(address).await {
        if Instant::now() > deadline {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(registry)
}
