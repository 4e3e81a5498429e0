//! What is kept of a cluster before it is taken down after a failure: its own log, what every container printed, how every pod was, and
//! what happened to all of them.

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{self as core, Pod};
use kube::api::{Api, ListParams, LogParams};
use kube::{Client, ResourceExt};
use tokio::time::timeout;

use crate::event::{Event, EventSink, RunEvent};
use crate::plan;
use crate::run::Run;
use crate::site::Site;

/// Collecting must not outlast anybody's patience.
const WITHIN: Duration = Duration::from_secs(20);

/// Keeps what can be had. What cannot is said and stops nothing: the failure that led here is reported by others.
pub async fn collect(site: &Site, cluster: &plan::Cluster, run: &Run, events: &EventSink) {
    let warn = |message: String| events.emit(Event::Run(RunEvent::Warning { message, hint: None }));
    let look = async {
        let pods = Api::<Pod>::all(site.client.clone()).list(&ListParams::default()).await?.items;
        let events = Api::<core::Event>::all(site.client.clone()).list(&ListParams::default()).await?.items;
        Ok::<_, kube::Error>((pods, events))
    };
    match timeout(WITHIN, look).await {
        Ok(Ok((pods, happened))) => {
            let kept = run
                .write_json("logs/pods.json", &pods)
                .and_then(|_| run.write("logs/events.txt", story(happened)));
            if let Err(error) = kept {
                warn(error.to_string());
            }
            if timeout(WITHIN, containers(&site.client, &pods, run)).await.is_err() {
                warn("not every container's log could be collected in time".to_owned());
            }
        }
        Ok(Err(error)) => warn(format!("pods and events could not be collected: {error}")),
        Err(_) => warn("pods and events could not be collected in time".to_owned()),
    }
    cluster_log(cluster, run, events).await;
}

/// Keeps the cluster's own log.
pub async fn cluster_log(cluster: &plan::Cluster, run: &Run, events: &EventSink) {
    let observer = |event| events.emit(Event::Cluster(event));
    // A cluster that never came up has no log, and one of somebody else keeps it.
    let Ok(Ok(path)) = timeout(WITHIN, kind::logs(&cluster.directory, &observer)).await else { return };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let kept = match path.is_file() {
        true => std::fs::read(&path).ok().and_then(|text| run.write(&format!("logs/{name}"), text).ok()),
        false => Some(path),
    };
    if let Some(kept) = kept {
        let kept = kept.strip_prefix(&run.directory).unwrap_or(&kept);
        let message = format!("the cluster's logs are in `{}` of the run's folder", kept.display());
        events.emit(Event::Run(RunEvent::Note { message }));
    }
}

/// The cluster's events in the order they happened, a line each.
fn story(mut events: Vec<core::Event>) -> String {
    let time = |event: &core::Event| {
        let seen = event.last_timestamp.as_ref().map(|time| time.0);
        seen.or(event.event_time.as_ref().map(|time| time.0)).unwrap_or_default()
    };
    events.sort_by_key(time);
    let line = |event: &core::Event| {
        let about = &event.involved_object;
        let [kind, namespace, name] =
            [&about.kind, &about.namespace, &about.name].map(|part| part.as_deref().unwrap_or("-"));
        let [reason, message] = [&event.reason, &event.message].map(|part| part.as_deref().unwrap_or("-"));
        format!("{} {kind} {namespace}/{name} {reason}: {message}\n", time(event))
    };
    events.iter().map(line).collect()
}

async fn containers(client: &Client, pods: &[Pod], run: &Run) {
    let logs = pods.iter().flat_map(|pod| {
        let spec = pod.spec.iter();
        let names = spec.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
        names.map(move |container| (pod, container.name.clone()))
    });
    let each = logs.map(|(pod, container)| async move {
        let namespace = pod.namespace().unwrap_or_default();
        let api = Api::<Pod>::namespaced(client.clone(), &namespace);
        for previous in [false, true] {
            let wanted = LogParams { container: Some(container.clone()), previous, ..LogParams::default() };
            // A container that never started has nothing to say.
            let Ok(text) = api.logs(&pod.name_any(), &wanted).await else { continue };
            let when = if previous { ".previous" } else { "" };
            let name = format!("logs/pods/{namespace}.{}.{container}{when}.log", pod.name_any());
            if !text.is_empty() {
                // The next one may fit on the disk.
                let _ = run.write(&name, text);
            }
        }
    });
    join_all(each).await;
}
