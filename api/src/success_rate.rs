//! How often workflows succeed, counted from the audit trail (ADR-033).

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::time_bound::Ago;

/// Executions that are needed before a rate means something, unless the query says otherwise.
pub const DEFAULT_MIN_SAMPLES: u64 = 5;
/// How far back to look unless the query says otherwise.
pub const DEFAULT_TIME_RANGE: &str = "7d";

/// Which executions to count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SuccessRateQuery {
    /// Only remediations whose signal has this alert name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(min_length = 1, max_length = 255)]
    pub incident_type: Option<String>,
    /// Only this workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(min_length = 1, max_length = 255)]
    pub workflow_id: Option<String>,
    /// Only this version of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(min_length = 1, max_length = 50)]
    pub workflow_version: Option<String>,
    /// How far back: a duration such as `24h`, `7d` or `30d`; `7d` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<Ago>, inline)]
    pub time_range: Option<String>,
    /// Executions needed before the rate means something; 5 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(maximum = 9007199254740991_u64)]
    pub min_samples: Option<u64>,
}

/// How often they succeeded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SuccessRate {
    /// As asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident_type: Option<String>,
    /// As asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_id: Option<String>,
    /// As asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow_version: Option<String>,
    /// How far back was looked.
    pub time_range: String,
    /// Executions that ended.
    pub total_executions: u64,
    /// Those that ended well.
    pub successful_executions: u64,
    /// The others.
    pub failed_executions: u64,
    /// Percentage; 0 when there were none.
    pub success_rate: f64,
    /// How much the rate means.
    pub confidence: Confidence,
    /// Whether there were enough executions.
    pub min_samples_met: bool,
}

/// How much a rate means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// 100 executions or more.
    High,
    /// 20 or more.
    Medium,
    /// Enough, as the query says.
    Low,
    /// Fewer.
    InsufficientData,
}

impl SuccessRate {
    /// The answer to `query` after `successful` of `total` executions ended well.
    pub fn new(query: SuccessRateQuery, total: u64, successful: u64) -> Self {
        let SuccessRateQuery { incident_type, workflow_id, workflow_version, time_range, min_samples } =
            query;
        let min_samples_met = total >= min_samples.unwrap_or(DEFAULT_MIN_SAMPLES);
        let confidence = match total {
            _ if !min_samples_met => Confidence::InsufficientData,
            100.. => Confidence::High,
            20.. => Confidence::Medium,
            _ => Confidence::Low,
        };
        Self {
            incident_type,
            workflow_id,
            workflow_version,
            time_range: time_range.unwrap_or_else(|| DEFAULT_TIME_RANGE.to_owned()),
            total_executions: total,
            successful_executions: successful,
            failed_executions: total.saturating_sub(successful),
            success_rate: if total == 0 { 0.0 } else { successful as f64 * 100.0 / total as f64 },
            confidence,
            min_samples_met,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_says_how_much_it_means() {
        for (total, successful, rate, confidence) in [
            (0, 0, 0.0, Confidence::InsufficientData),
            (4, 4, 100.0, Confidence::InsufficientData),
            (5, 4, 80.0, Confidence::Low),
            (20, 5, 25.0, Confidence::Medium),
            (200, 150, 75.0, Confidence::High),
        ] {
            let answer = SuccessRate::new(SuccessRateQuery::default(), total, successful);
            assert_eq!(
                (answer.success_rate, answer.confidence),
                (rate, confidence),
                "{successful} of {total}"
            );
            assert_eq!(answer.failed_executions, total - successful);
        }
    }
}
