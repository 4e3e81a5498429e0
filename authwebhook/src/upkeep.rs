//! Keeping things current, round after round: the certificate, the listener that uses it, the registration that trusts it.
//! In this order: nobody is sent here before somebody answers.
//!
//! A certificate of another CA is served only after the registration has trusted that CA for a while, and the old CA is trusted
//! until long after the last replica can have shown a certificate of it. So no call fails while certificates change.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::certificate::{self, Bundle, Profile, SecretError, Source, Usable};
use crate::health::{Check, Readiness};
use crate::metrics::Metrics;
use crate::registration::{self, Names};
use crate::server::{ServingCertificate, check_handshake};

/// The old CA is trusted for this many overlaps after the new one: every replica has changed over by then.
const OVERLAPS_KEPT: u32 = 10;

/// What is kept current.
pub struct Upkeep {
    /// To the API server.
    pub client: Client,
    /// What the certificate is for.
    pub profile: Profile,
    /// Who makes it.
    pub source: Source,
    /// Name of the Secret.
    pub secret: String,
    /// Names of the webhook configurations.
    pub configurations: Names,
    /// How long a CA has to be trusted before a certificate of it is served.
    pub overlap: Duration,
    /// Where our own listener can be reached from here.
    pub listener: SocketAddr,
    /// What the listener uses.
    pub serving: Arc<ServingCertificate>,
    /// What probes are told.
    pub readiness: Arc<Readiness>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// What is remembered from round to round.
    pub memory: Memory,
}

/// What is remembered from round to round.
#[derive(Debug, Default)]
pub struct Memory {
    served: Option<Usable>,
    /// The newest CA that the registration was seen to trust, and since when.
    trusted: Option<(Bundle, Instant)>,
}

impl Memory {
    /// For how long the registration has been seen to trust `ca`.
    fn trusted_for(&self, ca: &Bundle) -> Option<Duration> {
        let (trusted, since) = self.trusted.as_ref()?;
        (trusted == ca).then(|| since.elapsed())
    }
}

impl Upkeep {
    /// Round after round: every `interval`, or sooner while something is wrong. Ends only when dropped.
    pub async fn run(mut self, interval: Duration) {
        let first_pause = interval.min(Duration::from_millis(250));
        let mut pause = first_pause;
        let mut was_ready = false;
        loop {
            let outcome = self.round().await;
            match &outcome {
                Ok(()) if !was_ready => {
                    let Names { mutating, validating } = &self.configurations;
                    info!(mutating, validating, "registered and answering");
                }
                Ok(()) => {}
                Err(reason) => {
                    self.metrics.upkeep_failed();
                    warn!(reason, "not current");
                }
            }
            was_ready = outcome.is_ok();
            pause = if was_ready { interval } else { (pause * 2).clamp(first_pause, interval) };
            tokio::time::sleep(pause).await;
            if was_ready {
                pause = first_pause;
            }
        }
    }

    /// One round. The checks after the first that fails keep what they last saw, except that a registration that could
    /// not be compared is not known to be current.
    pub async fn round(&mut self) -> Result<(), String> {
        let usable = self.certificate().await?;
        let served = match &self.memory.served {
            Some(served) if served.not_after > Timestamp::now() => served.clone(),
            // The first one, or nothing better than an ended one: there is nothing to wait for.
            _ => self.serve(&usable),
        };
        self.handshake(&served).await?;

        let ca = Bundle::parse(usable.material.ca_certificate.as_bytes());
        let trusted_for = self.memory.trusted_for(&ca);
        let keep = trusted_for.is_none_or(|trusted| trusted < self.overlap * OVERLAPS_KEPT);
        let registered =
            registration::ensure(self.client.clone(), &self.configurations, &self.profile, &ca, keep).await;
        self.record(Check::Registration, registered)?;
        if trusted_for.is_none() {
            self.memory.trusted = Some((ca, Instant::now()));
        }
        let changed = usable.certified_key.cert != served.certified_key.cert;
        if changed && trusted_for.is_some_and(|trusted| trusted >= self.overlap) {
            let served = self.serve(&usable);
            return self.handshake(&served).await;
        }
        Ok(())
    }

    /// The certificate in the Secret.
    async fn certificate(&self) -> Result<Usable, String> {
        let found = certificate::ensure(self.client.clone(), &self.secret, &self.profile, self.source).await;
        let outcome = found.as_ref().map(drop).map_err(|error| causes(error));
        // What is served is as good as before when only the API server does not answer.
        let unknown = matches!(found, Err(SecretError::Api { .. } | SecretError::Contended { .. }));
        let good = self.memory.served.as_ref().is_some_and(|served| served.not_after > Timestamp::now());
        if !(unknown && good) {
            self.readiness.set(Check::Certificate, outcome.clone());
        }
        outcome.and(found.map_err(|error| causes(&error)))
    }

    fn serve(&mut self, usable: &Usable) -> Usable {
        self.serving.set(usable.certified_key.clone());
        self.metrics.certificate(usable.not_after);
        info!(not_after = %usable.not_after, "serving with a new certificate");
        self.memory.served = Some(usable.clone());
        usable.clone()
    }

    async fn handshake(&self, usable: &Usable) -> Result<(), String> {
        let answered = check_handshake(self.listener, &self.profile.server_name(), usable).await;
        self.record(Check::Listener, answered)
    }

    fn record<E: Error>(&self, check: Check, outcome: Result<(), E>) -> Result<(), String> {
        let outcome = outcome.map_err(|error| causes(&error));
        self.readiness.set(check, outcome.clone());
        outcome
    }
}

/// The error and its causes in one line.
pub(crate) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // The client prints the API server's answer field by field, and its source prints it again.
        let (said, next) = match error.downcast_ref() {
            Some(kube::Error::Api(status)) => (status.message.clone(), None),
            _ => (error.to_string(), error.source()),
        };
        if !text.ends_with(&said) {
            text = format!("{text}: {said}");
        }
        cause = next;
    }
    text
}
