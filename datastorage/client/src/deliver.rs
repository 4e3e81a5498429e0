//! Delivery of a batch: whole while that may help, event by event when one of them spoils it for the others.

use std::time::Duration;

use api::audit::AuditEventRequest;

use crate::{Client, StoreError};

/// How long to wait between attempts: `first`, then twice as long each time, at most `longest`.
#[derive(Clone, Copy, Debug)]
pub struct BackOff {
    /// After the first failure.
    pub first: Duration,
    /// After many.
    pub longest: Duration,
}

/// What follows when something is known about events on their way.
pub trait Settle<T> {
    /// The trace to name in a request about `events`, as a `traceparent` header.
    fn traceparent(&self, events: &[T]) -> Option<String>;
    /// DataStorage has stored these, and took so long.
    fn stored(&mut self, events: Vec<T>, took: Duration);
    /// DataStorage will never store this one.
    fn refused(&mut self, event: T, error: &StoreError);
    /// An attempt failed; these are sent again after `pause`.
    fn waits(&mut self, events: &[T], error: &StoreError, pause: Duration);
}

/// Sends `batch` until each of its events is settled, however long that takes.
pub async fn deliver<T: AsRef<AuditEventRequest>>(
    client: &Client,
    mut batch: Vec<T>,
    back_off: BackOff,
    settle: &mut impl Settle<T>,
) {
    let mut pause = back_off.first;
    // One bad event makes DataStorage refuse the whole batch: the others must not suffer for it.
    let mut singly = false;
    while !batch.is_empty() {
        let count = if singly { 1 } else { batch.len() };
        let events: Vec<&AuditEventRequest> = batch[..count].iter().map(AsRef::as_ref).collect();
        match client.store(&events, settle.traceparent(&batch[..count])).await {
            Ok(took) => {
                settle.stored(batch.drain(..count).collect(), took);
                pause = back_off.first;
            }
            Err(error) if error.is_final() && count > 1 => singly = true,
            Err(error) if error.is_final() => settle.refused(batch.remove(0), &error),
            Err(error) => {
                settle.waits(&batch, &error, pause);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(back_off.longest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use api::audit::{EventCategory, EventOutcome};
    use axum::Router;
    use axum::extract::State;
    use axum::http::StatusCode;
    use axum::routing::post;

    use super::*;

    fn event(action: &str) -> AuditEventRequest {
        AuditEventRequest {
            event_id: None,
            version: "1.0".to_owned(),
            event_type: "t".to_owned(),
            event_timestamp: "2026-01-10T12:00:00Z".parse().unwrap(),
            event_category: EventCategory::Webhook,
            event_action: action.to_owned(),
            event_outcome: EventOutcome::Success,
            correlation_id: "rr".to_owned(),
            event_data: serde_json::Map::new(),
            actor_type: None,
            actor_id: None,
            resource_type: None,
            resource_id: None,
            parent_event_id: None,
            namespace: None,
            cluster_name: None,
            severity: None,
            duration_ms: None,
        }
    }

    fn actions<'a>(events: impl IntoIterator<Item = &'a AuditEventRequest>) -> String {
        events.into_iter().map(|event| event.event_action.as_str()).collect::<Vec<_>>().join("+")
    }

    /// What was told, line by line.
    #[derive(Default)]
    struct Told(Vec<String>);

    impl Settle<AuditEventRequest> for Told {
        fn traceparent(&self, events: &[AuditEventRequest]) -> Option<String> {
            Some(actions(events))
        }
        fn stored(&mut self, events: Vec<AuditEventRequest>, _: Duration) {
            self.0.push(format!("stored {}", actions(&events)));
        }
        fn refused(&mut self, event: AuditEventRequest, error: &StoreError) {
            let StoreError::Answer { status, detail, .. } = error else { panic!("{error}") };
            self.0.push(format!("refused {} with {status}: {detail}", event.event_action));
        }
        fn waits(&mut self, events: &[AuditEventRequest], _: &StoreError, pause: Duration) {
            self.0.push(format!("{} wait {} ms", actions(events), pause.as_millis()));
        }
    }

    /// Answers with these, one after the other, and keeps the traces of the requests.
    async fn answering(answers: &[u16]) -> (String, Arc<Mutex<Vec<String>>>) {
        let answers = Arc::new(Mutex::new(answers.to_vec()));
        let traces = Arc::new(Mutex::new(Vec::new()));
        let seen = traces.clone();
        let answer = |State(answers): State<Arc<Mutex<Vec<u16>>>>, headers: axum::http::HeaderMap| async move {
            seen.lock().unwrap().push(headers["traceparent"].to_str().unwrap().to_owned());
            (StatusCode::from_u16(answers.lock().unwrap().remove(0)).unwrap(), "because")
        };
        let router = Router::new().route(api::audit::BATCH_PATH, post(answer)).with_state(answers);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (url, traces)
    }

    async fn check(answers: &[u16], events: &[&str], told: &[&str], requests: &[&str]) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (url, traces) = answering(answers).await;
        let client = Client::new(&url, Duration::from_secs(10)).unwrap();
        let back_off = BackOff { first: Duration::from_millis(1), longest: Duration::from_millis(2) };
        let mut settle = Told::default();
        deliver(&client, events.iter().map(|action| event(action)).collect(), back_off, &mut settle).await;
        assert_eq!(settle.0, told);
        assert_eq!(*traces.lock().unwrap(), requests);
    }

    #[tokio::test]
    async fn a_batch_is_sent_again_until_it_is_stored() {
        let told = ["a+b wait 1 ms", "a+b wait 2 ms", "a+b wait 2 ms", "stored a+b"];
        check(&[503, 500, 403, 201], &["a", "b"], &told, &["a+b"; 4]).await;
    }

    #[tokio::test]
    async fn a_refused_event_takes_no_other_with_it() {
        let told = ["stored a", "refused b with 422: because", "c wait 1 ms", "stored c"];
        check(&[422, 201, 422, 503, 201], &["a", "b", "c"], &told, &["a+b+c", "a", "b", "c", "c"]).await;
    }
}
