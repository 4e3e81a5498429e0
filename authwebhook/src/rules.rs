//! What may be written and what is stamped, by resource. Pure.

pub mod approval;
pub mod workflow_execution;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

/// Kubernetes keeps times in whole seconds.
fn whole_seconds(time: Timestamp) -> Timestamp {
    time.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Floor)).unwrap_or(time)
}
