//! Events in batches, and events one by one.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use crate::app::sent;
use crate::database::Database;
use crate::service::{BATCH, Process, batch, client};

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

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_a_second_in_batches_and_single_writes_within_ten_milliseconds() {
    let cores = std::thread::available_parallelism().unwrap().get();
    // Whoever starts the database server and the service passes its core on to them.
    let (database, process, keys) = std::thread::spawn(|| {
        stay_on([0]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let database = runtime.block_on(Database::synced());
        let keys = tempfile::tempdir().unwrap();
        let process = Process::start(&database.url, keys.path());
        (database, process, keys)
    })
    .join()
    .unwrap();
    let http = client();
    let post = |path: &str, body: String| {
        let request = http.post(process.url(path)).header("content-type", "application/json");
        request.body(body).send()
    };

    let stored = Arc::new(AtomicU64::new(0));
    let before = process.resident() / 1024;
    let started = Instant::now();
    let clients = (0..CLIENTS).map(|client| {
        let (stored, post) = (stored.clone(), &post);
        async move {
            for nth in 0.. {
                if started.elapsed() > Duration::from_secs(SECONDS) {
                    return;
                }
                let answer = post("/api/v1/audit/events/batch", batch(client, nth, BATCH)).await.unwrap();
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
        process.resident() / 1024
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
