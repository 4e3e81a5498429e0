//! The controller as a task of this process, killed by dropping it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use clap::Parser;
use controller::config::Config;
use kube::Client;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::cluster::DEADLINE;

/// Cooldown that no test waits for by chance.
const FLAGS: [&str; 2] = ["--cooldown-period=1s", "--base-cooldown-seconds=1"];

/// A controller that runs. Dropping it kills it.
pub struct Controller {
    /// Where it serves `/healthz` and `/readyz`.
    pub health: SocketAddr,
    /// Where it serves `/metrics`.
    pub metrics: SocketAddr,
    task: JoinHandle<Result<(), controller::Error>>,
    end: oneshot::Sender<()>,
}

impl Controller {
    /// Starts one that acts through `client` and sends its audit events to `storage`. Later flags win.
    pub fn start(client: Client, storage: &str, flags: &[&str]) -> Self {
        let (health, metrics) = (free_address(), free_address());
        let arguments = ["controller".to_owned()]
            .into_iter()
            .chain(FLAGS.iter().filter(|flag| !overridden(flag, flags)).map(ToString::to_string))
            .chain([
                format!("--datastorage-url={storage}"),
                format!("--health-probe-bind-address={health}"),
                format!("--metrics-bind-address={metrics}"),
            ])
            .chain(flags.iter().map(ToString::to_string));
        let config = Config::try_parse_from(arguments).unwrap();
        let (end, told) = oneshot::channel();
        let task = tokio::spawn(controller::run(config, client, async move {
            if told.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        Self { health, metrics, task, end }
    }

    /// Kills it: wherever it is, it goes no further.
    pub async fn kill(mut self) {
        self.task.abort();
        // Gone for good, so that another does not meet the rest of it.
        let _ = (&mut self.task).await;
    }

    /// Tells it to end, and waits for that.
    pub async fn stop(mut self) -> Result<(), controller::Error> {
        let (unused, _) = oneshot::channel();
        let _ = std::mem::replace(&mut self.end, unused).send(());
        self.outcome().await
    }

    /// Waits until it ends by itself.
    pub async fn outcome(mut self) -> Result<(), controller::Error> {
        tokio::time::timeout(DEADLINE, &mut self.task).await.expect("it ends").unwrap()
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn overridden(flag: &str, by: &[&str]) -> bool {
    let name = flag.split('=').next();
    by.iter().any(|other| other.split('=').next() == name)
}

/// An address of this machine that nobody listens at.
pub fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}

/// GET, as status and text.
pub async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let response = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
    let response = response.get(format!("http://{address}{path}")).send().await.ok()?;
    Some((response.status().as_u16(), response.text().await.ok()?))
}

/// GET until the answer is as wanted.
pub async fn until_answer(address: SocketAddr, path: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
    let mut last = None;
    let found = async {
        loop {
            last = get(address, path).await;
            match &last {
                Some((status, text)) if wanted(*status, text) => return text.clone(),
                _ => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    };
    match tokio::time::timeout(DEADLINE, found).await {
        Ok(text) => text,
        Err(_) => panic!("{path} last answered {last:?}"),
    }
}
