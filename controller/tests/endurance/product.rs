//! All of the product as processes, each of which can be killed: PostgreSQL, DataStorage, AuthWebhook and the controller, on the API server
//! of this process.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use api::names::SYSTEM_NAMESPACE;
use engine::store::{Expect, GroupResource};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::cluster::Cluster;
use crate::postgres::{Server, Writes};
use crate::service::{free_address, until_answer};

/// A webhook is reached at its Service's address and port 443; this one stays on the loopback interface.
const WEBHOOK: &str = "127.77.0.1";

/// A program that is started again when it ends, as a kubelet would.
struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
    child: Child,
    health: (SocketAddr, &'static str),
}

impl Program {
    fn start(
        path: PathBuf,
        arguments: Vec<String>,
        environment: Vec<(String, String)>,
        log: PathBuf,
        health: (SocketAddr, &'static str),
    ) -> Program {
        let child = spawn(&path, &arguments, &environment, &log);
        Program { path, arguments, environment, log, child, health }
    }

    async fn kill(&mut self) {
        // It may have ended by itself, as when its database is away.
        let _ = self.child.start_kill();
        self.child.wait().await.unwrap();
    }

    /// Starts it if it does not run.
    fn keep_up(&mut self) {
        if self.child.try_wait().unwrap().is_some() {
            self.child = spawn(&self.path, &self.arguments, &self.environment, &self.log);
        }
    }
}

fn spawn(path: &Path, arguments: &[String], environment: &[(String, String)], log: &Path) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    let mut command = Command::new(path);
    command.args(arguments).envs(environment.iter().cloned());
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).kill_on_drop(true);
    command.spawn().unwrap()
}

/// One of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The database server.
    Postgres,
    /// The audit trail.
    DataStorage,
    /// The admission webhook.
    AuthWebhook,
    /// The controller.
    Controller,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 4] = [Part::Postgres, Part::DataStorage, Part::AuthWebhook, Part::Controller];
}

/// What runs.
pub struct Product {
    /// Where DataStorage answers.
    pub storage: SocketAddr,
    /// The database.
    pub database: String,
    postgres: Server,
    datastorage: Program,
    authwebhook: Program,
    controller: Program,
    directory: TempDir,
}

impl Product {
    /// Starts all of it, and waits until it is ready.
    pub async fn start(cluster: &Cluster) -> Product {
        assert!(
            nix::unistd::Uid::effective().is_root(),
            "the webhook listens on port 443\n  hint: run this test as root"
        );
        let directory = tempfile::tempdir().unwrap();
        let postgres = Server::start(Writes::Synced);
        let database = postgres.url("postgres");
        let at = |name: &str| directory.path().join(name);
        let program = |name: &str| {
            let path = Path::new(env!("CARGO_BIN_EXE_workflowexecution-controller")).with_file_name(name);
            assert!(path.exists(), "there is no {}\n  hint: cargo build --workspace --bins", path.display());
            path
        };

        let storage = free_address();
        let arguments = vec![
            format!("--listen={storage}"),
            "--rate-limit=0".to_owned(),
            format!("--database={database}"),
            format!("--signing-directory={}", at("keys").display()),
        ];
        let datastorage = Program::start(
            program("datastorage"),
            arguments,
            Vec::new(),
            at("datastorage.log"),
            (storage, "/health/ready"),
        );

        serve_webhook(cluster);
        let health = free_address();
        let arguments = vec![
            format!("--listen={WEBHOOK}:443"),
            format!("--health-listen={health}"),
            format!("--datastorage-url=http://{storage}"),
            format!("--journal={}", at("journal").display()),
            "--interval=1s".to_owned(),
        ];
        let environment = kubeconfig(cluster, "authwebhook", &at("authwebhook.kubeconfig")).await;
        let authwebhook = Program::start(
            program("authwebhook"),
            arguments,
            environment,
            at("authwebhook.log"),
            (health, "/readyz"),
        );

        let health = free_address();
        let arguments = vec![
            format!("--datastorage-url=http://{storage}"),
            format!("--health-probe-bind-address={health}"),
            format!("--metrics-bind-address={}", free_address()),
            "--cooldown-period=100ms".to_owned(),
            "--leader-elect".to_owned(),
            "--pod-name=endurance".to_owned(),
        ];
        let account = "workflowexecution-controller";
        let environment = kubeconfig(cluster, account, &at("controller.kubeconfig")).await;
        let controller = Program::start(
            program(account),
            arguments,
            environment,
            at("controller.log"),
            (health, "/readyz"),
        );
        let mut product =
            Product { storage, database, postgres, datastorage, authwebhook, controller, directory };
        product.until_ready().await;
        product
    }

    /// kill -9.
    pub async fn kill(&mut self, part: Part) {
        match part {
            Part::Postgres => self.postgres.kill(),
            Part::DataStorage => self.datastorage.kill().await,
            Part::AuthWebhook => self.authwebhook.kill().await,
            Part::Controller => self.controller.kill().await,
        }
    }

    /// Starts what was killed, and whatever has ended because of it.
    pub fn revive(&mut self, part: Part) {
        if part == Part::Postgres {
            self.postgres.serve();
        }
        for program in [&mut self.datastorage, &mut self.authwebhook, &mut self.controller] {
            program.keep_up();
        }
    }

    /// Waits until everything is well, however often it has to be started.
    pub async fn until_ready(&mut self) {
        for program in [&mut self.datastorage, &mut self.authwebhook, &mut self.controller] {
            let (address, path) = program.health;
            let mut look = tokio::time::interval(std::time::Duration::from_millis(200));
            tokio::select! {
                _ = until_answer(address, path, |status, _| status == 200) => {}
                () = async {
                    loop {
                        look.tick().await;
                        program.keep_up();
                    }
                } => {}
            }
        }
    }

    /// The end of each program's log.
    pub fn logs(&self) -> String {
        ["datastorage", "authwebhook", "controller"]
            .iter()
            .map(|name| {
                let text = std::fs::read_to_string(self.directory.path().join(format!("{name}.log")));
                let text = text.unwrap_or_default();
                let lines: Vec<&str> = text.lines().rev().take(15).collect();
                format!("{name}:\n{}\n", lines.into_iter().rev().collect::<Vec<_>>().join("\n"))
            })
            .collect()
    }

    /// What `datastorage verify` says of the database, and whether it is content.
    pub async fn verify(&self) -> (bool, String) {
        let mut command = Command::new(&self.datastorage.path);
        let output = command.args(["verify", "--database", &self.database]).output().await.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// The Service by which the API server reaches the webhook, with an address that this machine has.
fn serve_webhook(cluster: &Cluster) {
    let service: Value = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "authwebhook", "namespace": SYSTEM_NAMESPACE, "uid": "authwebhook"},
        "spec": {"type": "ClusterIP", "clusterIP": WEBHOOK, "ports": [{"port": 443, "protocol": "TCP"}]},
    });
    let key = (SYSTEM_NAMESPACE.to_owned(), "authwebhook".to_owned());
    let services = GroupResource::new("", "services");
    cluster.server.store.put(&services, &key, Expect::Absent, service).unwrap();
}

async fn kubeconfig(cluster: &Cluster, account: &str, file: &Path) -> Vec<(String, String)> {
    std::fs::write(file, cluster.serve_as(account).await.to_string()).unwrap();
    vec![("KUBECONFIG".to_owned(), file.display().to_string())]
}
