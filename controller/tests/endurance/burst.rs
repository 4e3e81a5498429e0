//! 1,000 executions at once: all are Running in less than ten seconds, with less than 40 MiB resident.

use std::time::{Duration, Instant};

use api::workflow_execution::WorkflowExecution;
use futures::stream::{self, StreamExt, TryStreamExt};
use kube::api::{ListParams, PostParams};
use kube::runtime::watcher;
use serde_json::json;

use crate::cluster::{Cluster, execution};
use crate::process::Process;
use crate::service::get;
use crate::storage::Storage;

const EXECUTIONS: usize = 1000;
const RUNNING_WITHIN: Duration = Duration::from_secs(10);
const RESIDENT_BELOW: u64 = 40 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_executions_run_within_ten_seconds_in_forty_mebibytes() {
    let (cluster, storage) = (Cluster::start().await, Storage::start().await);
    let process = Process::start(&cluster, &storage, &[]).await;
    process.until_ready().await;
    let idle = memory(&process, "VmRSS");

    let watching = tokio::spawn(until_running(cluster.executions(), EXECUTIONS));
    let begun = Instant::now();
    let api = cluster.executions();
    let create = |number: usize| {
        let api = api.clone();
        async move { api.create(&PostParams::default(), &execution(&format!("we-{number}"), json!({}))).await }
    };
    let created =
        stream::iter(0..EXECUTIONS).map(create).buffer_unordered(64).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(created.len(), EXECUTIONS);
    let asked = begun.elapsed();
    watching.await.unwrap();
    let running = begun.elapsed();
    storage.until_stored(EXECUTIONS * 2).await;
    let audited = begun.elapsed();
    let (resident, peak) = (memory(&process, "VmRSS"), memory(&process, "VmHWM"));
    let (_, metrics) = get(process.metrics, "/metrics").await.unwrap();
    println!("program: {}", std::env::current_exe().unwrap().display());
    println!(
        "created {EXECUTIONS} in {asked:.1?}; all Running after {running:.1?}; all audited after {audited:.1?}"
    );
    println!(
        "processor: {} s the controller, {} s everything else",
        cpu(process.id()),
        cpu(std::process::id())
    );
    println!("resident: {idle} KiB idle, {resident} KiB after, {peak} KiB at most");
    for line in metrics.lines().filter(|line| line.contains("_sum") || line.contains("reconciliations_total"))
    {
        println!("{line}");
    }
    let list = cluster.executions().list(&ListParams::default()).await.unwrap();
    assert!(list.items.iter().all(|execution| execution.status.is_some()));
    assert!(running < RUNNING_WITHIN, "{running:?}");
    assert!(peak < RESIDENT_BELOW, "{peak} KiB");
}

/// A line of its `/proc/<pid>/status` in KiB, such as `VmRSS`.
fn memory(process: &Process, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

/// Processor time of a process so far, in seconds.
fn cpu(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name, in parentheses, may have spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

/// Watches until so many executions have been Running.
async fn until_running(api: kube::Api<WorkflowExecution>, executions: usize) {
    let mut running = std::collections::HashSet::new();
    let mut changes = Box::pin(watcher(api, watcher::Config::default()));
    while let Some(change) = changes.try_next().await.unwrap() {
        let (watcher::Event::Apply(object) | watcher::Event::InitApply(object)) = change else { continue };
        if object.status.as_ref().is_some_and(|status| status.start_time.is_some()) {
            running.insert(object.metadata.name);
        }
        if running.len() == executions {
            return;
        }
    }
}
