//! What has to be done from time to time: partitions for the months to come, and removing what has been kept long enough.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::options::RetentionOptions;
use crate::server::Service;

/// How often is looked whether partitions have to be made: months before they are needed.
const PREPARE: Duration = Duration::from_secs(3600);

/// Round after round; ends only when dropped. Several processes on one database do not disturb each other.
pub async fn run(service: Arc<Service>, retention: RetentionOptions) {
    let mut rounds = interval(PREPARE.min(retention.retention_interval.max(Duration::from_millis(100))));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut removed_at: Option<Instant> = None;
    loop {
        rounds.tick().await;
        if let Err(error) = service.repository.prepare_ahead(Timestamp::now()).await {
            service.metrics.upkeep_failed();
            warn!(%error, hint = error.hint(), "partitions for the months to come cannot be made");
        }
        let is_due = removed_at.is_none_or(|at| at.elapsed() >= retention.retention_interval);
        if is_due && remove(&service, &retention).await {
            removed_at = Some(Instant::now());
        }
    }
}

/// Removes what has been kept long enough; false when that failed and is to be tried again.
async fn remove(service: &Service, retention: &RetentionOptions) -> bool {
    let Some(policy) = retention.policy() else { return true };
    match service.repository.remove_expired(&policy, Timestamp::now()).await {
        Ok(removed) => {
            service.metrics.removed(removed.events);
            if removed.events > 0 {
                info!(
                    correlations = removed.correlations,
                    events = removed.events,
                    "events removed after their time"
                );
            }
            true
        }
        Err(error) => {
            service.metrics.upkeep_failed();
            warn!(%error, cause = ?std::error::Error::source(&error), "events are kept longer than they have to be");
            false
        }
    }
}
