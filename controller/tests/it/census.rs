//! Counts the children that each execution ever had.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use api::names;
use futures::{StreamExt, future};
use k8s_openapi::api::batch::v1::Job;
use kube::ResourceExt;
use kube::runtime::{WatchStreamExt, watcher};

use crate::cluster::Cluster;

/// Uids of every child that each execution ever had.
pub type Census = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// Watches every child there is.
pub fn census(cluster: &Cluster) -> (Census, impl Future<Output = ()> + use<>) {
    let census = Census::default();
    let remember = census.clone();
    let changes =
        watcher(cluster.children::<Job>(), watcher::Config::default()).default_backoff().applied_objects();
    let watching = changes.filter_map(|job| future::ready(job.ok())).for_each(move |job| {
        let execution = job.annotations()[names::ANNOTATION_EXECUTION].clone();
        let mut census = remember.lock().unwrap();
        let uids = census.entry(execution).or_default();
        let uid = job.uid().unwrap();
        if !uids.contains(&uid) {
            uids.push(uid);
        }
        future::ready(())
    });
    (census, watching)
}
