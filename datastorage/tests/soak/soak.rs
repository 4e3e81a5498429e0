//! Writers, readers and a scraper for a while; memory and open files are looked at every second.

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;

use crate::database::Database;
use crate::service::{Process, batch, client};

const WRITERS: u128 = 3;
const EVENTS: u128 = 50;
/// Of each writer and reader: a steady load, not the most there can be.
const PACE: Duration = Duration::from_millis(100);
/// The share of the time in which pools fill and the allocator finds its size.
const WARM_UP: f64 = 0.25;
/// Most that memory may have grown between the first and the last fifth of the rest, whatever the duration.
const GROWTH_BELOW: u64 = 8 * 1024;
/// Most that open files and connections may have grown.
const OPEN_FILES: usize = 16;

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat_under_load() {
    let seconds = std::env::var("SOAK_SECONDS").map_or(60, |written| written.parse::<u64>().unwrap());
    assert!(seconds >= 20, "in {seconds} s nothing can be seen");
    let database = Database::new().await;
    let keys = tempfile::tempdir().unwrap();
    let process = Process::start(&database.url, keys.path());
    let (http, over, written, read) =
        (client(), AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));

    let writers = (0..WRITERS).map(|writer| {
        let (http, process, over, written) = (&http, &process, &over, &written);
        async move {
            let mut pace = tokio::time::interval(PACE);
            for nth in 0.. {
                pace.tick().await;
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let request = http.post(process.url("/api/v1/audit/events/batch"));
                let request = request.header("content-type", "application/json");
                let answer = request.body(batch(writer, nth, EVENTS)).send().await.unwrap();
                assert_eq!(answer.status(), 201);
                written.fetch_add(EVENTS as u64, Ordering::Relaxed);
            }
        }
    });
    let reader = async {
        let mut pace = tokio::time::interval(PACE);
        for nth in 0.. {
            pace.tick().await;
            if over.load(Ordering::Relaxed) {
                return;
            }
            let correlation = format!("rr-0-{nth}-0");
            let verify = json!({"correlation_id": correlation}).to_string();
            let asked = [
                http.get(process.url("/api/v1/audit/events?limit=100")),
                http.get(process.url(&format!("/api/v1/audit/events?correlation_id={correlation}"))),
                http.post(process.url("/api/v1/audit/verify-chain"))
                    .header("content-type", "application/json")
                    .body(verify),
                http.get(process.url("/metrics")),
                // Refusals are work as well.
                http.post(process.url("/api/v1/audit/events"))
                    .header("content-type", "application/json")
                    .body("{"),
            ];
            for request in asked {
                let answer = request.send().await.unwrap();
                assert!(
                    !answer.status().is_server_error(),
                    "{}: {}",
                    answer.url().clone(),
                    answer.text().await.unwrap()
                );
                answer.bytes().await.unwrap();
                read.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let watch = async {
        let (began, whole) = (Instant::now(), Duration::from_secs(seconds));
        let mut samples = Vec::new();
        let mut pace = tokio::time::interval(Duration::from_secs(1));
        while began.elapsed() < whole {
            pace.tick().await;
            if began.elapsed() > whole.mul_f64(WARM_UP) {
                samples.push((process.resident(), process.open_files()));
            }
        }
        over.store(true, Ordering::Relaxed);
        samples
    };
    let (_, (), samples) = tokio::join!(join_all(writers), reader, watch);

    let (memory, files): (Vec<u64>, Vec<usize>) = samples.into_iter().unzip();
    let fifth = memory.len() / 5;
    let (first, last) = (median(&memory[..fifth]), median(&memory[memory.len() - fifth..]));
    writeln!(
        std::io::stdout(),
        "{seconds} s: {} events written, {} requests read; memory {first} KiB after warm-up, {last} KiB at the end, {} KiB at most; {} open \
         files, then {}",
        written.load(Ordering::Relaxed),
        read.load(Ordering::Relaxed),
        memory.iter().max().unwrap(),
        files[0],
        files[files.len() - 1],
    )
    .unwrap();
    assert!(written.load(Ordering::Relaxed) > 0 && read.load(Ordering::Relaxed) > 0);
    assert!(last < first + GROWTH_BELOW, "memory grew from {first} KiB to {last} KiB");
    assert!(files[files.len() - 1] < files[0] + OPEN_FILES, "open files grew: {files:?}");
}
