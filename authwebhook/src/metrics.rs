//! Prometheus metrics: verdicts, audit events, the certificate's end.

use std::sync::atomic::AtomicI64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::review::Outcome;

/// Content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is measured.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reviews: Family<ReviewLabels, Counter>,
    review_duration: Histogram,
    audit_events: Family<AuditLabels, Counter>,
    certificate_not_after: Gauge<i64, AtomicI64>,
    upkeep_failures: Counter,
}

/// What became of an audit event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum AuditStatus {
    /// DataStorage acknowledged it.
    Written,
    /// An attempt failed; it is sent again.
    Retried,
    /// It is only in the log.
    Dropped,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    webhook: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuditLabels {
    status: AuditStatus,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("authwebhook");
        let reviews = Family::default();
        let review_duration = Histogram::new([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 1.0]);
        let audit_events = Family::default();
        let certificate_not_after = Gauge::default();
        let upkeep_failures = Counter::default();
        registry.register("reviews", "Admission reviews by outcome", reviews.clone());
        registry.register("review_duration_seconds", "Time to answer a review", review_duration.clone());
        registry.register("audit_events", "Audit events by what became of them", audit_events.clone());
        registry.register(
            "certificate_not_after_seconds",
            "When the serving certificate ends, in seconds since 1970",
            certificate_not_after.clone(),
        );
        registry.register(
            "upkeep_failures",
            "Failed attempts to keep certificate and registration current",
            upkeep_failures.clone(),
        );
        Self { registry, reviews, review_duration, audit_events, certificate_not_after, upkeep_failures }
    }
}

impl Metrics {
    /// A review of `webhook` was answered after `elapsed`.
    pub fn reviewed(&self, webhook: &'static str, outcome: Outcome, elapsed: Duration) {
        let outcome = match outcome {
            Outcome::Unconcerned => "unconcerned",
            Outcome::Recorded => "recorded",
            Outcome::Stamped => "stamped",
            Outcome::Restored => "restored",
            Outcome::Denied => "denied",
            Outcome::Malformed => "malformed",
        };
        self.reviews.get_or_create(&ReviewLabels { webhook, outcome }).inc();
        self.review_duration.observe(elapsed.as_secs_f64());
    }

    /// `count` audit events ended so.
    pub fn audit(&self, status: AuditStatus, count: usize) {
        self.audit_events.get_or_create(&AuditLabels { status }).inc_by(count as u64);
    }

    /// The certificate now served with ends then.
    pub fn certificate(&self, not_after: jiff::Timestamp) {
        self.certificate_not_after.set(not_after.as_second());
    }

    /// An attempt to keep things current failed.
    pub fn upkeep_failed(&self) {
        self.upkeep_failures.inc();
    }

    /// The text form that Prometheus reads.
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
