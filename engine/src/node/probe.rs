//! Probes: whether a container has started, lives and is ready, as its own endpoints and commands say.
//!
//! There is no jitter. A readiness or startup probe that finds its port closed is repeated soon during the first period: the
//! program is still starting, it does not notice, and nobody waits a whole period for it.

pub(crate) mod check;
mod grpc;
mod http;
mod tally;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::check::{Check, Failure, Target};
use self::tally::Tally;

/// The first pause while a program is not listening yet; it doubles.
const SOON: Duration = Duration::from_millis(20);
/// The longest such pause.
const STILL_SOON: Duration = Duration::from_millis(250);

/// What a probe is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whether it has started.
    Startup,
    /// Whether it must be restarted.
    Liveness,
    /// Whether it takes requests.
    Readiness,
}

impl Kind {
    /// `Startup`, `Liveness`, `Readiness`
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Startup => "Startup",
            Kind::Liveness => "Liveness",
            Kind::Readiness => "Readiness",
        }
    }

    /// A container's probe of this kind.
    pub(crate) fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Kind::Startup => container.startup_probe.as_ref(),
            Kind::Liveness => container.liveness_probe.as_ref(),
            Kind::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// What a probe has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Which probe.
    pub kind: Kind,
    /// Why the last attempt failed, if it did.
    pub failure: Option<String>,
    /// What the thresholds make of it, when that has changed.
    pub verdict: Option<bool>,
}

/// Probes a container that has just started, for as long as it is polled.
pub(crate) async fn run(container: &Container, target: Arc<Target>, tell: &(dyn Fn(Finding) + Sync)) {
    let started = Instant::now();
    if let Some(probe) = Kind::Startup.of(container) {
        let passed = attend(Kind::Startup, probe, &target, started, tell).await;
        if !passed {
            return;
        }
    }
    let both = [Kind::Liveness, Kind::Readiness].map(|kind| {
        let target = &target;
        async move {
            if let Some(probe) = kind.of(container) {
                attend(kind, probe, target, started, tell).await;
            }
        }
    });
    futures::future::join_all(both).await;
}

/// Carries out one probe until there is nothing more to find out: whether it passed then.
async fn attend(
    kind: Kind,
    probe: &Probe,
    target: &Target,
    started: Instant,
    tell: &(dyn Fn(Finding) + Sync),
) -> bool {
    let seconds = |value: Option<i32>, default: u64| {
        Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
    };
    let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
    let limit = seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1));
    let delay = seconds(probe.initial_delay_seconds, 0);
    let check = Check::of_probe(probe);
    let mut tally = Tally::new(kind, probe);
    let mut soon = SOON;
    let mut next = started + delay;
    let patience = next + period;
    loop {
        sleep_until(next).await;
        let outcome = match timeout(limit, check.attempt(target)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Failure::timeout(&check, target, limit)),
        };
        let now = Instant::now();
        if let Err(Failure { refused: true, .. }) = &outcome
            && kind != Kind::Liveness
            && now < patience
        {
            sleep(soon).await;
            soon = (soon * 2).min(STILL_SOON);
            continue;
        }
        let verdict = tally.note(outcome.is_ok());
        let failure = outcome.err().map(|failure| failure.message);
        if failure.is_some() || verdict.is_some() {
            tell(Finding { kind, failure, verdict });
        }
        match (kind, verdict) {
            (Kind::Startup, Some(passed)) => return passed,
            // It will be restarted; until then there is nothing to ask.
            (Kind::Liveness, Some(false)) => return false,
            _ => {}
        }
        next = (next + period).max(now);
    }
}

#[cfg(test)]
mod tests;
