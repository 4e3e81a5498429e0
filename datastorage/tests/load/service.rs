//! The service as a process that is measured.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::app::sent;

/// Events in a batch.
pub const BATCH: u128 = 500;

/// A running service. Dropping it kills it.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    /// Starts it on a database.
    pub fn start(database: &str, keys: &Path) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_datastorage"));
        command.args(["--listen=127.0.0.1:0", "--rate-limit=0", "--log=error,datastorage::run=info"]);
        command.args(["--database", database, "--signing-directory"]).arg(keys);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let log: Value = serde_json::from_str(&line).unwrap();
        let address = log["address"].as_str().unwrap().to_owned();
        // A log that nobody reads would stop it when the pipe is full.
        std::thread::spawn(move || output.lines().map_while(Result::ok).for_each(drop));
        Process { child, address }
    }

    /// URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Resident memory in KiB.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Open files and connections.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }
}

/// A client that asks it.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

/// A client's nth batch, of correlations that nobody else writes to.
pub fn batch(client: u128, nth: u128, events: u128) -> String {
    let id = |k: u128| (client << 96) | (nth << 32) | (k + 1);
    let correlation = |k: u128| format!("rr-{client}-{nth}-{}", k / 5);
    let events: Vec<Value> = (0..events).map(|k| sent(&correlation(k), id(k))).collect();
    Value::Array(events).to_string()
}
