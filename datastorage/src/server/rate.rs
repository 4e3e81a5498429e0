//! How often one client may ask: a token bucket for each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use api::problem::Problem;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Service;
use super::answer::Failure;
use super::listen::Peer;

/// A burst may be this many seconds' worth of requests.
const BURST_SECONDS: f64 = 2.0;
/// Addresses that are remembered; a full bucket is as good as none.
const MAX_CLIENTS: usize = 10_000;

/// The buckets.
#[derive(Debug)]
pub(super) struct Limiter {
    per_second: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Limiter {
    /// `per_second` requests of each client; 0 means as many as they like.
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second), buckets: Mutex::default() }
    }

    /// Whether `client` may ask once more at `now`.
    fn admits(&self, client: IpAddr, now: Instant) -> bool {
        if self.per_second == 0.0 {
            return true;
        }
        let burst = self.per_second * BURST_SECONDS;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let refilled = |bucket: &Bucket| {
            let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
            (bucket.tokens + elapsed * self.per_second).min(burst)
        };
        if buckets.len() >= MAX_CLIENTS && !buckets.contains_key(&client) {
            buckets.retain(|_, bucket| refilled(bucket) < burst);
        }
        let bucket = buckets.entry(client).or_insert(Bucket { tokens: burst, filled: now });
        let tokens = refilled(bucket);
        let admitted = tokens >= 1.0;
        *bucket = Bucket { tokens: if admitted { tokens - 1.0 } else { tokens }, filled: now };
        admitted
    }
}

/// Turns away a client that asks too often. Probes and metrics are always answered.
pub(super) async fn check(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let client = request
        .extensions()
        .get::<ConnectInfo<Peer>>()
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(Peer(address))| *address);
    if !request.uri().path().starts_with("/api/") || service.limiter.admits(client, Instant::now()) {
        return next.run(request).await;
    }
    service.metrics.rate_limited();
    let limit = service.limits.rate_limit;
    let detail = format!("{client} asks more often than {limit} times a second; wait, or send batches");
    let problem = Problem::new(429, "too-many-requests", "Too many requests", detail);
    Failure::from(problem.with("retry", true)).into_response()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn client(last: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
    }

    #[test]
    fn a_client_has_a_burst_and_then_its_rate() {
        let (limiter, start) = (Limiter::new(10), Instant::now());
        let admitted = |at: Instant| (0..100).filter(|_| limiter.admits(client(1), at)).count();
        assert_eq!(admitted(start), 20);
        assert_eq!(admitted(start + Duration::from_secs(1)), 10);
        assert_eq!(admitted(start + Duration::from_secs(60)), 20);
    }

    #[test]
    fn clients_do_not_suffer_for_each_other() {
        let (limiter, start) = (Limiter::new(1), Instant::now());
        while limiter.admits(client(1), start) {}
        assert!(limiter.admits(client(2), start));
    }

    #[test]
    fn without_a_limit_nobody_is_remembered() {
        let limiter = Limiter::new(0);
        assert!((0..10_000).all(|_| limiter.admits(client(1), Instant::now())));
        assert!(limiter.buckets.lock().unwrap().is_empty());
    }

    #[test]
    fn addresses_that_were_quiet_are_forgotten() {
        let (limiter, start) = (Limiter::new(1), Instant::now());
        for nth in 0..MAX_CLIENTS as u32 {
            limiter.admits(IpAddr::V4(Ipv4Addr::from_bits(nth)), start);
        }
        limiter.admits(client(1), start + Duration::from_secs(10));
        assert_eq!(limiter.buckets.lock().unwrap().len(), 1);
    }
}
