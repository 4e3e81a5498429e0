//! Leader election by a Lease: of many replicas one acts, and another takes over when it is gone.
//!
//! Two that act at the same time would do no harm, because every write is bound to what was observed; they would only work in vain.
//! So a leader whose pod no longer exists need not be waited for.

mod claim;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};

use crate::chain;
use claim::{Claim, Sighting};

/// Between two attempts to take a Lease, as part of its duration.
const ATTEMPTS: u32 = 10;

/// What an election is about.
#[derive(Clone, Debug)]
pub struct Options {
    /// Namespace of the Lease, and of the replicas' pods.
    pub namespace: String,
    /// Name of the Lease.
    pub name: String,
    /// Which replica this is.
    pub identity: String,
    /// How long a silent leader is waited for.
    pub duration: Duration,
}

/// This replica's part in the election.
pub struct Election {
    leases: Api<Lease>,
    pods: Api<Pod>,
    options: Options,
}

impl Election {
    /// Nothing is asked for yet.
    pub fn new(client: &Client, options: Options) -> Self {
        let namespace = options.namespace.as_str();
        Self {
            leases: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            options,
        }
    }

    /// Waits until this replica leads.
    pub async fn win(&self) {
        let mut sighting = None;
        loop {
            match self.attempt(&mut sighting).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(error = %chain(&error), "failed to ask for the Lease"),
            }
            tokio::time::sleep(self.pause()).await;
        }
    }

    /// Keeps the Lease. Returns when it is lost: taken by another, or not renewed for two thirds of its duration.
    pub async fn keep(&self) {
        let mut renewed = Instant::now();
        let mut sighting = None;
        while renewed.elapsed() < self.options.duration * 2 / 3 {
            tokio::time::sleep(self.pause()).await;
            match tokio::time::timeout(self.options.duration / 3, self.attempt(&mut sighting)).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::warn!(error = %chain(&error), "failed to renew the Lease"),
                Err(_) => tracing::warn!("renewing the Lease takes too long"),
            }
        }
    }

    /// Gives the Lease back, so that another need not wait for it.
    pub async fn release(&self) {
        let outcome = async {
            let Some(mut lease) = self.leases.get_opt(&self.options.name).await? else { return Ok(()) };
            if holder(&lease) != self.options.identity {
                return Ok(());
            }
            let spec = lease.spec.get_or_insert_default();
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            self.leases.replace(&self.options.name, &PostParams::default(), &lease).await.map(drop)
        };
        if let Err(error) = outcome.await {
            tracing::warn!(error = %chain(&error), "failed to give the Lease back; it expires by itself");
        }
    }

    /// Takes or renews the Lease if that is due. Whether this replica leads.
    async fn attempt(&self, sighting: &mut Option<Sighting>) -> Result<bool, kube::Error> {
        let lease = self.leases.get_opt(&self.options.name).await?;
        let claim = claim::decide(lease.as_ref(), &self.options.identity, sighting, Instant::now());
        let outcome = match claim {
            Claim::Create => {
                let metadata = ObjectMeta { name: Some(self.options.name.clone()), ..ObjectMeta::default() };
                let lease = self.claimed(Lease { metadata, spec: None });
                self.leases.create(&PostParams::default(), &lease).await
            }
            Claim::Take => self.replace(lease.unwrap_or_default()).await,
            Claim::Wait if self.is_gone(lease.as_ref()).await => {
                self.replace(lease.unwrap_or_default()).await
            }
            Claim::Wait => return Ok(false),
        };
        match outcome {
            Ok(_) => Ok(true),
            // Another one was quicker.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn replace(&self, lease: Lease) -> Result<Lease, kube::Error> {
        self.leases.replace(&self.options.name, &PostParams::default(), &self.claimed(lease)).await
    }

    /// `lease`, held by this replica from now on.
    fn claimed(&self, mut lease: Lease) -> Lease {
        let now = Some(MicroTime(Timestamp::now()));
        let before = lease.spec.take().unwrap_or_default();
        let same = before.holder_identity.as_deref() == Some(&self.options.identity);
        let transitions = before.lease_transitions.unwrap_or(0);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.options.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.options.duration.as_secs()).unwrap_or(i32::MAX)),
            acquire_time: if same { before.acquire_time } else { now.clone() },
            renew_time: now,
            lease_transitions: Some(if same { transitions } else { transitions.saturating_add(1) }),
            ..before
        });
        lease
    }

    /// Whether the leader was a pod that no longer exists. Who cannot tell says no.
    async fn is_gone(&self, lease: Option<&Lease>) -> bool {
        let name = lease.map(holder).unwrap_or_default();
        if !claim::is_pod(name) {
            return false;
        }
        matches!(self.pods.get_metadata_opt(name).await, Ok(None))
    }

    fn pause(&self) -> Duration {
        self.options.duration / ATTEMPTS
    }
}

/// Who holds `lease`; nobody if empty.
fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

/// The name of this replica: its pod's, else one that no pod can have.
pub fn identity(pod: Option<&str>) -> String {
    pod.map_or_else(|| format!("process_{}", uuid::Uuid::new_v4().simple()), str::to_owned)
}
