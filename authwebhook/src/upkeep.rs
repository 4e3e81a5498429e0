//! Keeping things current, round after round: the certificate, the listener that uses it, the registration that trusts it.
//! In this order: nobody is sent here before somebody answers.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tracing::{info, warn};

use crate::certificate::{self, Profile, Usable};
use crate::health::{Check, Readiness};
use crate::metrics::Metrics;
use crate::registration;
use crate::server::{ServingCertificate, check_handshake};

/// What is kept current.
#[derive(Clone)]
pub struct Upkeep {
    /// To the API server.
    pub client: Client,
    /// What the certificate is for.
    pub profile: Profile,
    /// Name of the Secret.
    pub secret: String,
    /// Name of the MutatingWebhookConfiguration.
    pub configuration: String,
    /// Where our own listener can be reached from here.
    pub listener: SocketAddr,
    /// What the listener uses.
    pub serving: Arc<ServingCertificate>,
    /// What probes are told.
    pub readiness: Arc<Readiness>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
}

impl Upkeep {
    /// Round after round: every `interval`, or sooner while something is wrong. Ends only when dropped.
    pub async fn run(self, interval: Duration) {
        let first_pause = interval.min(Duration::from_millis(250));
        let mut pause = first_pause;
        let mut was_ready = false;
        loop {
            let outcome = self.round().await;
            match &outcome {
                Ok(()) if !was_ready => info!(configuration = self.configuration, "registered and answering"),
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
    pub async fn round(&self) -> Result<(), String> {
        let usable = self.certificate().await?;
        self.handshake(&usable).await?;
        let ca = &usable.material.ca_certificate;
        let registered =
            registration::ensure(self.client.clone(), &self.configuration, &self.profile, ca).await;
        self.record(Check::Registration, registered)
    }

    async fn certificate(&self) -> Result<Usable, String> {
        match certificate::ensure(self.client.clone(), &self.secret, &self.profile).await {
            Ok(usable) => {
                self.serving.set(usable.certified_key.clone());
                self.metrics.certificate(usable.not_after);
                self.readiness.set(Check::Certificate, Ok(()));
                Ok(usable)
            }
            Err(error) => {
                let reason = causes(&error);
                self.readiness.set(Check::Certificate, Err(reason.clone()));
                Err(reason)
            }
        }
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
