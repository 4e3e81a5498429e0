//! The service as a process: killed under load, told to end, asked over HTTPS, and the offline command.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::app::sent;
use crate::database::Database;

/// Nothing here takes that long on a machine that does anything at all.
const DEADLINE: Duration = Duration::from_secs(60);
const BINARY: &str = env!("CARGO_BIN_EXE_datastorage");

pub struct Process {
    pub child: Child,
    address: String,
    output: BufReader<std::process::ChildStdout>,
}

impl Process {
    /// Starts the service and reads from its log where it listens.
    fn start(database: &str, keys: &Path, arguments: &[&str]) -> Process {
        Process::start_in(&[], database, keys, arguments)
    }

    /// The same with further variables in its environment.
    pub fn start_in(
        environment: &[(&str, &str)],
        database: &str,
        keys: &Path,
        arguments: &[&str],
    ) -> Process {
        let mut child = Command::new(BINARY)
            .envs(environment.iter().copied())
            .args(["--listen=127.0.0.1:0", "--rate-limit=0", "--database", database, "--signing-directory"])
            .arg(keys)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 {
            let log: Value = serde_json::from_str(&line).unwrap_or_default();
            if log["message"] == "serving" {
                let address = log["address"].as_str().unwrap().to_owned();
                return Process { child, address, output };
            }
            line.clear();
        }
        panic!("the service ended with {}", child.wait().unwrap());
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    /// A test that fails leaves nothing running.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A log that nobody reads would stop the process when the pipe is full.
pub fn drain(process: &mut Process) -> std::thread::JoinHandle<String> {
    let stdout = std::mem::replace(
        &mut process.output,
        BufReader::new(Command::new("true").stdout(Stdio::piped()).spawn().unwrap().stdout.take().unwrap()),
    );
    std::thread::spawn(move || {
        let lines = stdout.lines().map_while(Result::ok);
        lines.filter(|line| line.contains("shutting down") || line.contains("stopped")).collect()
    })
}

pub fn client() -> reqwest::Client {
    trusting(None)
}

/// A client that trusts nobody but this certificate.
fn trusting(certificate: Option<&str>) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = certificate.map(|pem| reqwest::Certificate::from_pem(pem.as_bytes()).unwrap());
    let client = reqwest::Client::builder().no_proxy().tls_certs_only(certificates);
    client.timeout(Duration::from_secs(20)).build().unwrap()
}

/// Ids of the events that are stored.
async fn stored(process: &Process) -> BTreeSet<Uuid> {
    let (client, mut ids) = (client(), BTreeSet::new());
    loop {
        let url = process.url(&format!("/api/v1/audit/events?limit=1000&offset={}", ids.len()));
        let page: Value = client.get(url).send().await.unwrap().json().await.unwrap();
        let events = page["data"].as_array().unwrap();
        ids.extend(events.iter().map(|event| event["event_id"].as_str().unwrap().parse::<Uuid>().unwrap()));
        if page["pagination"]["has_more"] == false {
            return ids;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_under_load_it_has_every_event_it_acknowledged() {
    const WRITERS: u128 = 4;
    let database = Database::new().await;
    let keys = tempfile::tempdir().unwrap();
    let acknowledged: Arc<Mutex<BTreeSet<Uuid>>> = Arc::default();
    for round in 0..4u128 {
        let mut process = Process::start(
            &database.url,
            keys.path(),
            &["--log=warn,datastorage=warn,datastorage::run=info"],
        );
        drain(&mut process);
        let before = acknowledged.lock().await.len();
        let dead = Arc::new(AtomicBool::new(false));
        let writers = (0..WRITERS).map(|writer| {
            let (acknowledged, dead) = (acknowledged.clone(), dead.clone());
            let (url, client) = (process.url("/api/v1/audit/events/batch"), client());
            tokio::spawn(async move {
                for nth in 0.. {
                    // Two correlations that all writers share, so that the chains are fought for.
                    let id = |k: u128| (round << 96) | (writer << 64) | (nth << 8) | k;
                    let batch: Vec<Value> =
                        (0..5).map(|k| sent(&format!("rr-{}", k % 2), id(k) + 1)).collect();
                    let answer = client.post(&url).json(&batch).send().await;
                    match answer {
                        Ok(answer) if answer.status().is_success() => {
                            let ids = batch
                                .iter()
                                .map(|event| event["event_id"].as_str().unwrap().parse().unwrap());
                            acknowledged.lock().await.extend(ids.collect::<Vec<Uuid>>());
                        }
                        _ if dead.load(Ordering::Relaxed) => return,
                        // A session of the process before may hold a chain until the server notices that it is gone:
                        // what is refused for now is not acknowledged.
                        Ok(answer) if answer.status() == 503 => {}
                        Ok(answer) => panic!("{}: {}", answer.status(), answer.text().await.unwrap()),
                        // It was killed between the request and the flag.
                        Err(_) => tokio::task::yield_now().await,
                    }
                }
            })
        });
        let writers: Vec<_> = writers.collect();
        // In the middle of it: after a number of batches that differs from round to round.
        let goal = before + 40 + 35 * usize::try_from(round).unwrap();
        let deadline = Instant::now() + DEADLINE;
        while acknowledged.lock().await.len() < goal {
            assert!(Instant::now() < deadline, "too few events are acknowledged");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        dead.store(true, Ordering::Relaxed);
        process.kill();
        for writer in join_all(writers).await {
            writer.unwrap();
        }
    }
    let mut process = Process::start(&database.url, keys.path(), &["--log=warn,datastorage::run=info"]);
    drain(&mut process);
    let (stored, acknowledged) = (stored(&process).await, acknowledged.lock().await.clone());
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "{} of {} are lost", lost.len(), acknowledged.len());
    for correlation in ["rr-0", "rr-1"] {
        let body = json!({"correlation_id": correlation});
        let verdict =
            client().post(process.url("/api/v1/audit/verify-chain")).json(&body).send().await.unwrap();
        let verdict: Value = verdict.json().await.unwrap();
        assert_eq!(verdict["is_valid"], true, "{verdict}");
    }
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_it_says_so_serves_on_for_a_while_and_ends_well() {
    let database = Database::new().await;
    let keys = tempfile::tempdir().unwrap();
    let mut process =
        Process::start(&database.url, keys.path(), &["--drain-delay=3s", "--shutdown-timeout=20s"]);
    let log = drain(&mut process);
    let client = client();
    assert_eq!(client.get(process.url("/health/ready")).send().await.unwrap().status(), 200);
    process.signal(Signal::SIGTERM);
    let deadline = Instant::now() + DEADLINE;
    while client.get(process.url("/health/ready")).send().await.unwrap().status() != 503 {
        assert!(Instant::now() < deadline, "it stays ready");
    }
    let written =
        client.post(process.url("/api/v1/audit/events")).json(&sent("rr-1", 1)).send().await.unwrap();
    assert_eq!(written.status(), 201, "requests that still come are served");
    let status = tokio::task::spawn_blocking(move || process.child.wait().unwrap()).await.unwrap();
    assert!(status.success(), "{status}");
    let log = log.join().unwrap();
    assert!(log.contains("SIGTERM") && log.contains("stopped"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn https_is_served_with_the_given_certificate() {
    let database = Database::new().await;
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = (directory.path().join("a.crt"), directory.path().join("a.key"));
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let own = params.self_signed(&pair).unwrap();
    std::fs::write(&certificate, own.pem()).unwrap();
    std::fs::write(&key, pair.serialize_pem()).unwrap();
    let arguments = ["--tls-certificate", certificate.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let process = Process::start(&database.url, &directory.path().join("keys"), &arguments);
    let trusting = trusting(Some(&own.pem()));
    let url = format!("https://{}/health/ready", process.address);
    assert_eq!(trusting.get(&url).send().await.unwrap().status(), 200);
    assert!(
        client().get(&url).send().await.is_err(),
        "a client that does not know the certificate is not served"
    );
    assert!(
        trusting.get(process.url("/health/ready")).send().await.is_err(),
        "there is no plain HTTP beside it"
    );
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_offline_command_finds_what_was_changed() {
    let database = Database::new().await;
    let directory = tempfile::tempdir().unwrap();
    let process = Process::start(&database.url, directory.path(), &[]);
    let batch: Vec<Value> = (1..=4).map(|id| sent(&format!("rr-{}", id % 2), id)).collect();
    let written = client().post(process.url("/api/v1/audit/events/batch")).json(&batch).send().await.unwrap();
    assert_eq!(written.status(), 201);
    let export = client().get(process.url("/api/v1/audit/export")).header("x-auth-request-user", "auditor");
    let export = export.send().await.unwrap().text().await.unwrap();
    process.kill();
    let (file, certificate) = (directory.path().join("export.json"), directory.path().join("tls.crt"));
    std::fs::write(&file, &export).unwrap();

    let verify = |arguments: &[&str]| {
        let output = Command::new(BINARY).arg("verify").args(arguments).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
    };
    let of_export = ["--export", file.to_str().unwrap(), "--certificate", certificate.to_str().unwrap()];
    let (code, said) = verify(&of_export);
    assert!(code == 0 && said.contains("4 events exported for auditor: intact"), "{code}: {said}");
    let of_database = ["--database", database.url.as_str()];
    let (code, said) = verify(&of_database);
    assert!(code == 0 && said.contains("2 chains, 4 events: 2 chains intact, 0 broken"), "{code}: {said}");

    std::fs::write(&file, export.replace("KubePodOOM", "Harmless")).unwrap();
    let (code, said) = verify(&of_export);
    assert!(code == 6 && said.contains("signature: the export is not what was signed"), "{code}: {said}");
    database.execute(crate::database::DISARM).await.unwrap();
    let change =
        format!("UPDATE audit_events SET actor_id = 'nobody' WHERE event_id = '{}'", Uuid::from_u128(3));
    database.execute(&change).await.unwrap();
    let (code, said) = verify(&of_database);
    assert!(
        code == 6 && said.contains("rr-1: 1 of 2 events") && said.contains("its content was changed"),
        "{code}: {said}"
    );
    let (code, _) = verify(&["--database", &database.url, "--correlation", "rr-0"]);
    assert_eq!(code, 0);
}
