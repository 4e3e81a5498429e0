//! Events on their way to a DataStorage that is not always there.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use api::audit::{AuditEventRequest, BATCH_PATH};
use authwebhook::audit::{BackOff, SenderOptions, start};
use authwebhook::metrics::Metrics;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::json;
use tokio::net::TcpListener;
use uuid::Uuid;

fn event(id: u128) -> AuditEventRequest {
    serde_json::from_value(json!({
        "event_id": Uuid::from_u128(id), "version": "1.0", "event_type": "webhook.notification.cancelled",
        "event_timestamp": "2026-01-10T12:00:00Z", "event_category": "webhook", "event_action": "cancelled",
        "event_outcome": "success", "correlation_id": "rr-1",
        "event_data": {"event_type": "webhook.notification.cancelled"},
    }))
    .unwrap()
}

/// Answers each request with the next of `answers`, then with 201; keeps the ids of what it accepted.
pub async fn datastorage(answers: Vec<u16>) -> (String, Arc<Mutex<Vec<u128>>>) {
    let accepted: Arc<Mutex<Vec<u128>>> = Arc::default();
    let answers = Arc::new(Mutex::new(answers.into_iter()));
    let store = {
        let accepted = accepted.clone();
        move |axum::Json(batch): axum::Json<Vec<AuditEventRequest>>| async move {
            let status = answers.lock().unwrap().next().unwrap_or(201);
            // An event that is never accepted, whoever sends it with others.
            let poisoned = batch.iter().any(|event| event.event_id == Some(Uuid::from_u128(13)));
            let status = if status == 201 && poisoned { 400 } else { status };
            if status == 201 {
                accepted
                    .lock()
                    .unwrap()
                    .extend(batch.iter().filter_map(|event| event.event_id).map(|id| id.as_u128()));
            }
            StatusCode::from_u16(status).unwrap()
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route(BATCH_PATH, post(store))).await });
    (url, accepted)
}

/// A process that ended before DataStorage answered has left its events on disk: the next one sends them, each once.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_leaves_unsent_the_next_one_sends() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let kept = || std::fs::read_dir(&journal).unwrap().count();
    let options = |url: &str| SenderOptions { journal: Some(journal.clone()), ..SenderOptions::new(url) };
    // Nobody listens there.
    let (sender, worker) = start(options("http://127.0.0.1:9"), Arc::new(Metrics::default())).unwrap();
    for id in [1, 2, 2, 13] {
        sender.send(event(id), None).await;
    }
    assert_eq!(kept(), 3, "they are on disk when they are handed in");
    worker.finish(Duration::ZERO).await;
    assert_eq!(kept(), 3);
    // Killed in the middle of the next one, before it answered.
    std::fs::write(journal.join("half.1"), "{").unwrap();

    let (url, accepted) = datastorage(vec![503]).await;
    let (sender, worker) = start(options(&url), Arc::new(Metrics::default())).unwrap();
    sender.send(event(3), None).await;
    worker.finish(Duration::from_secs(60)).await;
    let mut accepted = accepted.lock().unwrap().clone();
    accepted.sort_unstable();
    assert_eq!(accepted, [1, 2, 3]);
    assert_eq!(kept(), 0, "what is stored or refused for good is forgotten");
}

/// More at once than the queue takes: what found it full is sent while the process goes on, each once.
#[tokio::test(flavor = "multi_thread")]
async fn what_finds_the_queue_full_is_sent_when_there_is_room() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    let kept = || std::fs::read_dir(directory.path()).unwrap().count();
    // Away for long enough that the queue fills up behind the first request.
    let (url, accepted) = datastorage(vec![503; 8]).await;
    let options = SenderOptions {
        capacity: 2,
        back_off: BackOff { first: Duration::from_millis(20), longest: Duration::from_millis(100) },
        journal: Some(directory.path().to_owned()),
        ..SenderOptions::new(&url)
    };
    let (sender, worker) = start(options, Arc::new(Metrics::default())).unwrap();
    for id in 100..300 {
        sender.send(event(id), None).await;
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while kept() > 0 {
        assert!(Instant::now() < deadline, "{} events are still in the journal", kept());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut accepted = accepted.lock().unwrap().clone();
    accepted.sort_unstable();
    assert_eq!(accepted, (100..300).collect::<Vec<u128>>());
    worker.finish(Duration::ZERO).await;
}

async fn sent(answers: Vec<u16>, ids: &[u128]) -> Vec<u128> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (url, accepted) = datastorage(answers).await;
    let back_off = BackOff { first: Duration::from_millis(5), longest: Duration::from_secs(5) };
    let options = SenderOptions { back_off, ..SenderOptions::new(&url) };
    let (sender, worker) = start(options, Arc::new(Metrics::default())).unwrap();
    for id in ids {
        sender.send(event(*id), None).await;
    }
    let started = Instant::now();
    worker.finish(Duration::from_secs(60)).await;
    assert!(started.elapsed() < Duration::from_secs(60), "what is accepted is not waited for");
    let mut accepted = accepted.lock().unwrap().clone();
    accepted.sort_unstable();
    accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_a_while_is_sent_again_until_it_is_stored() {
    assert_eq!(sent(vec![503, 500, 401, 403, 429, 503], &[1, 2, 3]).await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_that_is_refused_takes_no_other_with_it() {
    assert_eq!(sent(vec![], &[1, 13, 2]).await, [1, 2]);
}
