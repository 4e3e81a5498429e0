//! Events in batches, and events one by one.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;

use crate::app::sent;
use crate::database::Database;

const BATCH: u128 = 500;
const CLIENTS: u128 = 4;
const SECONDS: u64 = 10;
const SINGLES: usize = 2000;
/// What has to be reached.
const EVENTS_PER_SECOND: f64 = 10_000.0;
const P99: Duration = Duration::from_millis(10);

/// Lets this thread, and what it starts from now on, run on these cores only.
fn stay_on(cores: impl IntoIterator<Item = usize>) {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(core).unwrap();
    }
    sched_setaffinity(Pid::from_raw(0), &set).unwrap();
}

struct Process(Child, String);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(database: &str, keys: &std::path::Path) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_datastorage"));
    command.args(["--listen=127.0.0.1:0", "--rate-limit=0", "--log=warn,datastorage::run=info"]);
    command.args(["--database", database, "--signing-directory"]).arg(keys);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let log: Value = serde_json::from_str(&line).unwrap();
    let address = log["address"].as_str().unwrap().to_owned();
    Process(child, address)
}

/// Resident memory in MiB.
fn resident(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn batch(client: u128, nth: u128) -> String {
    let id = |k: u128| (client << 96) | (nth << 32) | (k + 1);
    let correlation = |k: u128| format!("rr-{client}-{nth}-{}", k / 5);
    let events: Vec<Value> = (0..BATCH).map(|k| sent(&correlation(k), id(k))).collect();
    Value::Array(events).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_a_second_in_batches_and_single_writes_within_ten_milliseconds() {
    let cores = std::thread::available_parallelism().unwrap().get();
    // Whoever starts the database server and the service passes its core on to them.
    let (database, process, keys) = std::thread::spawn(|| {
        stay_on([0]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let database = runtime.block_on(Database::new());
        let keys = tempfile::tempdir().unwrap();
        let process = start(&database.url, keys.path());
        (database, process, keys)
    })
    .join()
    .unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let post = |path: &str, body: String| {
        let request =
            http.post(format!("http://{}{path}", process.1)).header("content-type", "application/json");
        request.body(body).send()
    };

    let stored = Arc::new(AtomicU64::new(0));
    let before = resident(&process);
    let started = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let (stored, post) = (stored.clone(), &post);
        async move {
            for nth in 0.. {
                if started.elapsed() > Duration::from_secs(SECONDS) {
                    return;
                }
                let answer = post("/api/v1/audit/events/batch", batch(client, nth)).await.unwrap();
                assert_eq!(answer.status(), 201);
                stored.fetch_add(BATCH as u64, Ordering::Relaxed);
            }
        }
    });
    join_all(clients).await;
    let rate = stored.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();

    let mut took = Vec::with_capacity(SINGLES);
    for nth in 0..SINGLES as u128 {
        let body = sent(&format!("single-{nth}"), (CLIENTS << 96) | (nth + 1)).to_string();
        let started = Instant::now();
        assert_eq!(post("/api/v1/audit/events", body).await.unwrap().status(), 201);
        took.push(started.elapsed());
    }
    took.sort_unstable();
    let (p50, p99) = (took[SINGLES / 2], took[SINGLES * 99 / 100]);
    writeln!(
        std::io::stdout(),
        "{rate:.0} events/s in batches of {BATCH} by {CLIENTS} clients; single writes p50 {p50:?}, p99 {p99:?}; memory {before} MiB, then {} MiB; \
         service and PostgreSQL on core 0 of {cores}",
        resident(&process)
    )
    .unwrap();
    drop((database, keys));
    let program = std::env::current_exe().unwrap();
    if program.components().any(|part| part.as_os_str() == "release") {
        assert!(rate >= EVENTS_PER_SECOND, "{rate:.0} events/s");
        assert!(p99 < P99, "{p99:?}");
    } else {
        writeln!(std::io::stdout(), "not judged: {} is not optimised", program.display()).unwrap();
    }
}
