//! Watches: the history of a collection from a revision on, as it is written, until the time is over.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use super::options::{self, WatchStart};
use super::{metadata, table};
use crate::api::negotiate::{self, Form};
use crate::api::selector::Selection;
use crate::api::{Answer, Api, Call};
use crate::api::{answer, collection};
use crate::schema::{Registry, Resource};
use crate::status::Status;
use crate::store::{Change, Event, GroupResource, Object};

/// How often a client that wants bookmarks gets one when nothing else happens.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// How long a watch lasts when the client does not say, in seconds: not all that started together end together.
const LASTS: std::ops::Range<u64> = 1800..3600;

/// The annotation of the bookmark that follows the objects there were at the start.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Answers `watch`.
pub fn watch(api: &Arc<Api>, call: Call) -> Result<Answer, Status> {
    let form = negotiate::form(&call.headers)?;
    let start = options::watch_start(&call.info)?;
    let selection = options::selection(&call.resource, &call.info)?;
    options::not_too_new(start.revision, api.store.revision())?;
    let seconds = call.info.param("timeoutSeconds").parse().ok().filter(|seconds| *seconds > 0);
    let seconds = seconds.unwrap_or_else(|| rand::random_range(LASTS));
    let collection = collection(&call.resource);
    let now = Instant::now();
    let mut watch = Watch {
        changes: api.store.subscribe(&collection),
        served: api.served(),
        position: 0,
        ready: VecDeque::new(),
        bookmarks: call.info.flag("allowWatchBookmarks").then(|| now + BOOKMARK_EVERY),
        ends: now + Duration::from_secs(seconds),
        ended: false,
        frames: Frames { call, form, headed: false },
        api: api.clone(),
        collection,
        selection,
    };
    watch.begin(start);
    let frames = stream::unfold(watch, |mut watch| async {
        watch.next().await.map(|frames| (Ok::<_, Infallible>(frames), watch))
    });
    Ok(answer::of_type(StatusCode::OK, answer::JSON, Body::from_stream(frames)))
}

/// One running watch.
struct Watch {
    api: Arc<Api>,
    collection: GroupResource,
    selection: Selection,
    frames: Frames,
    changes: Receiver<u64>,
    served: Receiver<Registry>,
    /// Everything up to this revision is sent or in `ready`.
    position: u64,
    ready: VecDeque<Bytes>,
    /// When the next bookmark is due, if the client wants them.
    bookmarks: Option<Instant>,
    ends: Instant,
    ended: bool,
}

impl Watch {
    /// Sets the position, and prepares what comes before the first change.
    fn begin(&mut self, start: WatchStart) {
        let WatchStart { revision, existing, marked } = start;
        if !existing {
            self.position = revision.unwrap_or_else(|| self.api.store.revision());
            return;
        }
        let snapshot = self.api.store.snapshot(&self.collection);
        self.position = snapshot.revision;
        let mut text = Vec::new();
        for object in snapshot.objects.values().filter(|object| self.selection.matches(object)) {
            self.frames.object(&mut text, "ADDED", object);
        }
        if marked {
            self.frames.bookmark(&mut text, self.position, true);
        }
        if !text.is_empty() {
            self.ready.push_back(text.into());
        }
    }

    /// The next frames, or `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            if self.ended {
                return None;
            }
            // Seen before the history is read: a write in between wakes the next turn.
            self.changes.borrow_and_update();
            let mut text = Vec::new();
            match self.api.store.events_after(&self.collection, self.position) {
                Ok((events, now)) => {
                    for event in &events {
                        self.frames.event(&mut text, event, &self.selection);
                    }
                    self.position = now;
                }
                Err(expired) => {
                    let message = format!("too old resource version: {} ({})", self.position, expired.oldest);
                    self.frames.error(&mut text, &Status::gone_expired(message));
                    self.ended = true;
                }
            }
            if !self.ended && text.is_empty() {
                self.wait(&mut text).await;
            }
            if !text.is_empty() {
                self.ready.push_back(text.into());
            }
        }
    }

    /// Waits for a change, or for the time of a bookmark or of the end.
    async fn wait(&mut self, text: &mut Vec<u8>) {
        let bookmark = self.bookmarks.unwrap_or(self.ends);
        tokio::select! {
            // The sender lives as long as the store, which `self` keeps.
            _ = self.changes.changed() => {}
            () = self.api.closing.cancelled() => self.ended = true,
            // A definition came, changed or went: when it was the one of this resource, there is nothing left to watch.
            _ = self.served.changed() => {
                let Resource { group, version, plural, .. } = &*self.frames.call.resource;
                self.ended = self.served.borrow_and_update().resource(group, version, plural).is_none();
            }
            () = sleep_until(self.ends) => {
                self.ended = true;
                if self.bookmarks.is_some() {
                    self.frames.bookmark(text, self.position, false);
                }
            }
            () = sleep_until(bookmark) => {
                self.frames.bookmark(text, self.position, false);
                self.bookmarks = Some(Instant::now() + BOOKMARK_EVERY);
            }
        }
    }
}

/// Writes frames in the form the client accepts.
struct Frames {
    call: Call,
    form: Form,
    /// The column definitions were sent: only the first table has them.
    headed: bool,
}

impl Frames {
    /// What a write means for this selection: an object can enter and leave it.
    fn event(&mut self, text: &mut Vec<u8>, event: &Event, selection: &Selection) {
        let Event { revision, change, object, previous } = event;
        let was = previous.as_ref().filter(|previous| selection.matches(previous));
        let is = *change != Change::Deleted && selection.matches(object);
        match (was, is) {
            (Some(_), true) => self.object(text, "MODIFIED", object),
            (None, true) => self.object(text, "ADDED", object),
            (Some(_), false) if *change == Change::Deleted => self.object(text, "DELETED", object),
            (Some(previous), false) => {
                // Its last state that was selected, at the revision at which it no longer is.
                let mut last = super::value(previous, &self.call.resource);
                last["metadata"]["resourceVersion"] = json!(revision.to_string());
                self.value(text, "DELETED", &last);
            }
            (None, false) => {}
        }
    }

    fn object(&mut self, text: &mut Vec<u8>, kind: &str, object: &Object) {
        match self.form {
            Form::Object => frame(text, kind, &super::text(object, &self.call.resource)),
            _ => self.value(text, kind, &super::value(object, &self.call.resource)),
        }
    }

    fn value(&mut self, text: &mut Vec<u8>, kind: &str, value: &Value) {
        let shown = match self.form {
            Form::Object => Ok(value.to_string()),
            Form::Metadata => Ok(metadata::of_object(value).to_string()),
            Form::Table => table::of_object(&self.call, value).map(|mut table| {
                if std::mem::replace(&mut self.headed, true) {
                    table["columnDefinitions"] = Value::Null;
                }
                table.to_string()
            }),
        };
        match shown {
            Ok(shown) => frame(text, kind, shown.as_bytes()),
            Err(status) => self.error(text, &status),
        }
    }

    /// A revision from which the client can go on, without an object.
    fn bookmark(&mut self, text: &mut Vec<u8>, revision: u64, initial: bool) {
        let mut list_meta = json!({"resourceVersion": revision.to_string()});
        if initial {
            list_meta["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let resource = &self.call.resource;
        let (kind, api_version) = match self.form {
            Form::Object => (resource.kind.as_str(), resource.api_version()),
            Form::Metadata => ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()),
            Form::Table => ("Table", "meta.k8s.io/v1".to_owned()),
        };
        let mut object = json!({"kind": kind, "apiVersion": api_version, "metadata": list_meta});
        if self.form == Form::Table {
            object["columnDefinitions"] = Value::Null;
            object["rows"] = json!([]);
        }
        frame(text, "BOOKMARK", object.to_string().as_bytes());
    }

    fn error(&self, text: &mut Vec<u8>, status: &Status) {
        frame(text, "ERROR", status.to_json().to_string().as_bytes());
    }
}

fn frame(text: &mut Vec<u8>, kind: &str, object: &[u8]) {
    text.extend_from_slice(b"{\"type\":\"");
    text.extend_from_slice(kind.as_bytes());
    text.extend_from_slice(b"\",\"object\":");
    text.extend_from_slice(object);
    text.extend_from_slice(b"}\n");
}
