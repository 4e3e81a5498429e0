//! Which logs there are: the latest instance of each container and the one before.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::ResourceExt;

use super::Log;
use crate::controllers::cache::Key;
use crate::kubelet::LogRequest;
use crate::status::Status;

/// The logs of all pods of the node.
#[derive(Debug, Default)]
pub(crate) struct Logs(Mutex<HashMap<Key, Entry>>);

#[derive(Debug)]
struct Entry {
    /// Of the pod: a later one may have its name.
    uid: Option<String>,
    logs: Arc<PodLogs>,
}

/// The logs of one pod.
#[derive(Debug, Default)]
pub(crate) struct PodLogs(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    latest: BTreeMap<String, Arc<Log>>,
    previous: BTreeMap<String, Arc<Log>>,
    /// Why a container waits, for the answer to who asks for a log that is not there.
    waiting: BTreeMap<String, String>,
}

impl Logs {
    /// The logs of a pod, from now on those of this one of its name.
    pub(crate) fn of(&self, pod: &Pod) -> Arc<PodLogs> {
        let logs = Arc::<PodLogs>::default();
        self.all().insert(Key::of(pod), Entry { uid: pod.uid(), logs: Arc::clone(&logs) });
        logs
    }

    /// Forgets a pod, unless there is a later one of its name.
    pub(crate) fn forget(&self, pod: &Pod) {
        let mut all = self.all();
        if all.get(&Key::of(pod)).is_some_and(|entry| entry.uid == pod.uid()) {
            all.remove(&Key::of(pod));
        }
    }

    /// The log that is meant, or what upstream says when there is none.
    pub(crate) fn find(&self, request: &LogRequest) -> Result<Arc<Log>, Status> {
        let LogRequest { namespace, pod, container, previous, .. } = request;
        let key = Key::new(namespace, pod);
        let known = self.all().get(&key).map(|entry| Arc::clone(&entry.logs));
        let known = known.unwrap_or_default();
        let known = known.known();
        let place = format!("container {container:?} in pod {pod:?}");
        if *previous {
            let missing = || format!("previous terminated {place} not found");
            return known.previous.get(container).cloned().ok_or_else(|| Status::bad_request(missing()));
        }
        let found = known.latest.get(container).cloned();
        found.ok_or_else(|| {
            let reason = known.waiting.get(container).map_or("ContainerCreating", String::as_str);
            let why = match reason {
                "ErrImagePull" | "ImagePullBackOff" => "trying and failing to pull image",
                "ErrImageNeverPull" | "InvalidImageName" => "image can't be pulled",
                other => other,
            };
            Status::bad_request(format!("{place} is waiting to start: {why}"))
        })
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PodLogs {
    /// A new instance of a container writes here. The log of the one before the previous is removed.
    pub(crate) fn begin(&self, container: &str, log: Arc<Log>) {
        let mut known = self.known();
        if let Some(ended) = known.latest.insert(container.to_owned(), log)
            && let Some(old) = known.previous.insert(container.to_owned(), ended)
        {
            old.remove();
        }
    }

    /// Remembers why containers wait.
    pub(crate) fn note_status(&self, status: &PodStatus) {
        let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
        self.known().waiting = all
            .filter_map(|container| {
                let waiting = container.state.as_ref()?.waiting.as_ref()?;
                Some((container.name.clone(), waiting.reason.clone()?))
            })
            .collect();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": "p", "uid": uid}})).unwrap()
    }

    fn find(logs: &Logs, previous: bool) -> Result<Arc<Log>, String> {
        let request = LogRequest {
            namespace: "ns".to_owned(),
            pod: "p".to_owned(),
            container: "c".to_owned(),
            previous,
            ..LogRequest::default()
        };
        logs.find(&request).map_err(|status| status.message().to_owned())
    }

    #[test]
    fn the_latest_and_the_previous_log_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let log = |name: &str| Log::create(directory.path().join(name), 1000).unwrap();
        let logs = Logs::default();
        let of_pod = logs.of(&pod("u"));
        let waiting = "container \"c\" in pod \"p\" is waiting to start: ContainerCreating";
        assert_eq!(find(&logs, false).unwrap_err(), waiting);
        let all = ["0", "1", "2"].map(log);
        for log in &all {
            of_pod.begin("c", Arc::clone(log));
        }
        assert!(Arc::ptr_eq(&find(&logs, false).unwrap(), &all[2]));
        assert!(Arc::ptr_eq(&find(&logs, true).unwrap(), &all[1]));
        assert!(!directory.path().join("0").exists());
    }

    #[test]
    fn who_asks_too_early_learns_what_the_container_waits_for() {
        let logs = Logs::default();
        let of_pod = logs.of(&pod("u"));
        for (reason, expected) in [
            ("ImagePullBackOff", "trying and failing to pull image"),
            ("CreateContainerConfigError", "CreateContainerConfigError"),
        ] {
            let status = json!({"containerStatuses": [{
                "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": reason}},
            }]});
            of_pod.note_status(&serde_json::from_value(status).unwrap());
            let expected = format!("container \"c\" in pod \"p\" is waiting to start: {expected}");
            assert_eq!(find(&logs, false).unwrap_err(), expected);
        }
        assert_eq!(
            find(&logs, true).unwrap_err(),
            "previous terminated container \"c\" in pod \"p\" not found"
        );
    }

    #[test]
    fn a_later_pod_of_the_same_name_is_not_forgotten_with_the_earlier_one() {
        let directory = tempfile::tempdir().unwrap();
        let logs = Logs::default();
        logs.of(&pod("old"));
        logs.of(&pod("new")).begin("c", Log::create(directory.path().join("0"), 1000).unwrap());
        logs.forget(&pod("old"));
        assert!(find(&logs, false).is_ok());
        logs.forget(&pod("new"));
        assert!(find(&logs, false).is_err());
    }
}
