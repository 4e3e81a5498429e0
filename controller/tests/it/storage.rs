//! DataStorage, as far as the controller sees it: it takes batches, stores each id once, and has moods.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use api::audit::{AuditEventRequest, BATCH_PATH, validate_event};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use uuid::Uuid;

use crate::cluster::DEADLINE;

/// How DataStorage is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Stores what it gets.
    Well,
    /// Answers 503.
    Overloaded,
    /// Answers 401.
    Distrustful,
    /// Stores what it gets, and answers 503 all the same.
    Forgetful,
    /// Refuses batches in which an event has this text.
    Averse(String),
}

#[derive(Default)]
struct Shelf {
    events: BTreeMap<Uuid, AuditEventRequest>,
    /// Deliveries of an id with another content than the first.
    contradictions: Vec<AuditEventRequest>,
    traces: Vec<String>,
}

/// See the module; cheap to clone. It listens until the process ends.
#[derive(Clone)]
pub struct Storage {
    /// Where it is.
    pub url: String,
    shelf: Arc<Mutex<Shelf>>,
    mood: watch::Sender<Mood>,
    stored: watch::Sender<usize>,
}

impl Storage {
    /// One that is well.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let storage = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            shelf: Arc::default(),
            mood: watch::Sender::new(Mood::Well),
            stored: watch::Sender::new(0),
        };
        let router = Router::new().route(BATCH_PATH, post(take)).with_state(storage.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        storage
    }

    /// From now on it is like this.
    pub fn becomes(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Types of the events stored for a remediation, in the order of what happened.
    pub fn trail(&self, correlation: &str) -> Vec<String> {
        let shelf = self.shelf.lock().unwrap();
        let mut events: Vec<&AuditEventRequest> =
            shelf.events.values().filter(|event| event.correlation_id == correlation).collect();
        events.sort_by_key(|event| event.event_timestamp);
        events.iter().map(|event| event.event_type.clone()).collect()
    }

    /// Waits until so many events are stored in all.
    pub async fn until_stored(&self, events: usize) {
        let mut stored = self.stored.subscribe();
        let waited = tokio::time::timeout(DEADLINE, stored.wait_for(|now| *now >= events)).await;
        assert!(waited.is_ok(), "{} of {events} events are stored", self.count());
    }

    /// How many events are stored.
    pub fn count(&self) -> usize {
        self.shelf.lock().unwrap().events.len()
    }

    /// The `traceparent` of every request.
    pub fn traces(&self) -> Vec<String> {
        self.shelf.lock().unwrap().traces.clone()
    }

    /// Fails if an event was ever sent with two contents.
    pub fn assert_consistent(&self) {
        let shelf = self.shelf.lock().unwrap();
        assert!(
            shelf.contradictions.is_empty(),
            "sent again with other content: {:#?}",
            shelf.contradictions
        );
    }
}

async fn take(
    State(storage): State<Storage>,
    headers: HeaderMap,
    Json(batch): Json<Vec<AuditEventRequest>>,
) -> (StatusCode, Json<Value>) {
    let mood = storage.mood.borrow().clone();
    let refuse = |status: StatusCode| {
        (status, Json(json!({"title": "no", "status": status.as_u16(), "detail": "not now"})))
    };
    match &mood {
        Mood::Overloaded => return refuse(StatusCode::SERVICE_UNAVAILABLE),
        Mood::Distrustful => return refuse(StatusCode::UNAUTHORIZED),
        Mood::Averse(text) if serde_json::to_string(&batch).unwrap().contains(text) => {
            return refuse(StatusCode::BAD_REQUEST);
        }
        Mood::Well | Mood::Forgetful | Mood::Averse(_) => {}
    }
    let mut shelf = storage.shelf.lock().unwrap();
    let trace = headers.get("traceparent").and_then(|value| value.to_str().ok()).unwrap_or_default();
    shelf.traces.push(trace.to_owned());
    let mut ids = Vec::new();
    for event in batch {
        let faults = validate_event(&event, Timestamp::now());
        assert!(faults.is_empty(), "{faults:?}: {event:?}");
        let id = event.event_id.unwrap();
        ids.push(id);
        match shelf.events.get(&id) {
            Some(first) if *first != event => shelf.contradictions.push(event),
            Some(_) => {}
            None => drop(shelf.events.insert(id, event)),
        }
    }
    storage.stored.send_replace(shelf.events.len());
    drop(shelf);
    match mood {
        Mood::Forgetful => refuse(StatusCode::SERVICE_UNAVAILABLE),
        _ => (StatusCode::CREATED, Json(json!({"event_ids": ids, "message": "stored"}))),
    }
}
