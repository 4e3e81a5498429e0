//! Records core/v1 Events with upstream's reasons; the same event again raises the count of the first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use serde_json::json;

/// Distinct events whose repetitions are counted; beyond it the oldest knowledge is dropped and a repetition is a new event.
const REMEMBERED: usize = 1024;

/// How grave an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Severity {
    /// Information.
    Normal,
    /// Something a person should look at.
    Warning,
}

/// What happened, apart from to whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Note {
    /// How grave.
    pub severity: Severity,
    /// One CamelCase word; tools match on it.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

impl Note {
    /// A `Normal` event.
    pub(crate) fn normal(reason: &'static str, message: impl Into<String>) -> Note {
        Note { severity: Severity::Normal, reason, message: message.into() }
    }

    /// A `Warning` event.
    pub(crate) fn warning(reason: &'static str, message: impl Into<String>) -> Note {
        Note { severity: Severity::Warning, reason, message: message.into() }
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Recorder {
    client: kube::Client,
    seen: Arc<Mutex<HashMap<(String, Note), Seen>>>,
}

#[derive(Clone)]
struct Seen {
    name: String,
    count: i32,
    last: Timestamp,
}

impl Recorder {
    /// A recorder that writes through `client`.
    pub(crate) fn new(client: kube::Client) -> Recorder {
        Recorder { client, seen: Arc::default() }
    }

    /// Records without waiting and without failing: an event is worth no controller's time.
    pub(crate) fn record<K>(&self, component: &'static str, about: &K, note: Note)
    where
        K: Resource<DynamicType = ()>,
    {
        self.record_about(component, about.object_ref(&()), note);
    }

    /// As `record`, about what `regarding` names, which may be a part of an object.
    pub(crate) fn record_about(&self, component: &'static str, regarding: ObjectReference, note: Note) {
        let this = self.clone();
        // The order in which tasks run is not the order in which things happened.
        let now = Timestamp::now();
        tokio::spawn(async move {
            if let Err(error) = this.write(component, regarding, note.clone(), now).await {
                tracing::debug!(%error, reason = note.reason, "event was not recorded");
            }
        });
    }

    async fn write(
        &self,
        component: &str,
        regarding: ObjectReference,
        note: Note,
        now: Timestamp,
    ) -> Result<(), kube::Error> {
        let namespace = regarding.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let events: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let key = (regarding.uid.clone().unwrap_or_default(), note.clone());
        if let Some(seen) = self.repeated(&key, now) {
            let patch = json!({"count": seen.count, "lastTimestamp": Time(now)});
            match events.patch(&seen.name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                other => return other.map(drop),
            }
        }
        let name = format!("{}.{:016x}", regarding.name.as_deref().unwrap_or("unknown"), now.as_nanosecond());
        let event = event(&name, &namespace, component, regarding, note, now);
        let created = events.create(&PostParams::default(), &event).await?;
        self.remember(key, Seen { name: created.name_any(), count: 1, last: now });
        Ok(())
    }

    fn repeated(&self, key: &(String, Note), now: Timestamp) -> Option<Seen> {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = all.get_mut(key)?;
        seen.count += 1;
        seen.last = now;
        Some(seen.clone())
    }

    fn remember(&self, key: (String, Note), seen: Seen) {
        let mut all = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            let mut times: Vec<Timestamp> = all.values().map(|seen| seen.last).collect();
            times.sort_unstable();
            let middle = times[times.len() / 2];
            all.retain(|_, seen| seen.last > middle);
        }
        all.insert(key, seen);
    }
}

fn event(
    name: &str,
    namespace: &str,
    component: &str,
    regarding: ObjectReference,
    note: Note,
    now: Timestamp,
) -> Event {
    Event {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ObjectMeta::default()
        },
        involved_object: regarding,
        reason: Some(note.reason.to_owned()),
        message: Some(note.message),
        type_: Some(if note.severity == Severity::Normal { "Normal" } else { "Warning" }.to_owned()),
        source: Some(EventSource { component: Some(component.to_owned()), host: None }),
        reporting_component: Some(component.to_owned()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    }
}
