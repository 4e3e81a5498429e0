//! Asking DataStorage for events: filters, paging and the page that comes back.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{AuditEvent, EventCategory, EventOutcome, FieldError};
use crate::time_bound::TimeBound;

/// Events in a page when the query does not say.
pub const DEFAULT_LIMIT: u32 = 50;
/// Most events in a page.
pub const MAX_LIMIT: u32 = 1000;

/// Which events, and which page of them. Newest first: by timestamp, then by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Only events of this type.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(min_length = 1, max_length = 100)]
    pub event_type: Option<String>,
    /// Only events of this category.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<EventCategory>, inline)]
    pub event_category: Option<String>,
    /// Only events with this outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<EventOutcome>, inline)]
    pub event_outcome: Option<String>,
    /// Only events of this severity.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(min_length = 1, max_length = 20)]
    pub severity: Option<String>,
    /// Only events of this remediation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(min_length = 1, max_length = 255)]
    pub correlation_id: Option<String>,
    /// Not before: RFC 3339, a day, or a duration ago such as `24h` or `7d`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<TimeBound>, inline)]
    pub since: Option<String>,
    /// Not after: as `since`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<TimeBound>, inline)]
    pub until: Option<String>,
    /// Page size, 1 to 1000, 50 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000, default = 50)]
    pub limit: Option<u32>,
    /// Events to skip.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(maximum = 9007199254740991_u64)]
    pub offset: Option<u64>,
}

impl AuditQuery {
    /// Page size asked for.
    pub fn limit(&self) -> u32 {
        self.limit.unwrap_or(DEFAULT_LIMIT)
    }

    /// Events to skip.
    pub fn offset(&self) -> u64 {
        self.offset.unwrap_or(0)
    }

    /// What is wrong with the page asked for; `since` and `until` are judged where the clock is.
    pub fn validate(&self) -> Vec<FieldError> {
        if (1..=MAX_LIMIT).contains(&self.limit()) {
            return Vec::new();
        }
        vec![FieldError::new("limit", format!("must be between 1 and {MAX_LIMIT}, is {}", self.limit()))]
    }
}

/// A page of events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditQueryResponse {
    /// The events of this page.
    pub data: Vec<AuditEvent>,
    /// Where this page is among all.
    pub pagination: Pagination,
}

/// Where a page is among all matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Pagination {
    /// Page size asked for.
    pub limit: u32,
    /// Events skipped.
    pub offset: u64,
    /// All matches.
    pub total: u64,
    /// Whether a next page has any.
    pub has_more: bool,
}

impl Pagination {
    /// The page that begins at `offset` and holds `returned` of `total` matches.
    pub fn new(limit: u32, offset: u64, returned: u64, total: u64) -> Self {
        Self { limit, offset, total, has_more: offset.saturating_add(returned) < total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_more_until_the_last_match_is_returned() {
        assert!(Pagination::new(2, 0, 2, 3).has_more);
        assert!(!Pagination::new(2, 2, 1, 3).has_more);
        assert!(!Pagination::new(2, u64::MAX, 1, 3).has_more);
    }

    #[test]
    fn limits_outside_their_range_are_named() {
        for (limit, valid) in
            [(None, true), (Some(1), true), (Some(1000), true), (Some(0), false), (Some(1001), false)]
        {
            let errors = AuditQuery { limit, ..AuditQuery::default() }.validate();
            assert_eq!(errors.is_empty(), valid, "{limit:?}: {errors:?}");
        }
    }
}
