//! Records of delivered notifications.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::validation::{FieldError, optional_text, required_text};

/// Path for recording a delivery.
pub const NOTIFICATIONS_PATH: &str = "/api/v1/audit/notifications";

/// The sender's clock may be ahead by this much.
const MAX_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// How a notification went out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotificationChannel {
    /// Mail.
    Email,
    /// A Slack channel or person.
    Slack,
    /// PagerDuty.
    PagerDuty,
    /// A text message.
    Sms,
    /// An HTTP callback.
    Webhook,
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotificationStatus {
    /// Not delivered yet.
    Pending,
    /// Delivered.
    Sent,
    /// Not delivered.
    Failed,
    /// Somebody reacted.
    Acknowledged,
    /// Nobody reacted in time.
    Escalated,
}

/// A delivery, or an attempt at one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotificationAudit {
    /// The remediation it is about.
    #[schema(min_length = 1, max_length = 255)]
    pub remediation_id: String,
    /// Unique among all records.
    #[schema(min_length = 1, max_length = 255)]
    pub notification_id: String,
    /// Whom it is for.
    #[schema(min_length = 1, max_length = 255)]
    pub recipient: String,
    /// How it went out.
    pub channel: NotificationChannel,
    /// What it said, in short.
    #[schema(min_length = 1, max_length = 2000)]
    pub message_summary: String,
    /// What became of it.
    pub status: NotificationStatus,
    /// When. At most 5 minutes ahead of the storing clock.
    #[schema(value_type = String, format = DateTime)]
    pub sent_at: Timestamp,
    /// What the provider answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    pub delivery_status: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2000)]
    pub error_message: Option<String>,
    /// How often it was escalated.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 100)]
    pub escalation_level: i64,
}

impl NotificationAudit {
    /// Every reason not to accept the record at `now`.
    pub fn validate(&self, now: Timestamp) -> Vec<FieldError> {
        let Self {
            remediation_id,
            notification_id,
            recipient,
            channel: _,
            message_summary,
            status: _,
            sent_at,
            delivery_status,
            error_message,
            escalation_level,
        } = self;
        let texts = [
            required_text("remediation_id", remediation_id, 255),
            required_text("notification_id", notification_id, 255),
            required_text("recipient", recipient, 255),
            required_text("message_summary", message_summary, 2000),
            optional_text("delivery_status", delivery_status, 2000),
            optional_text("error_message", error_message, 2000),
        ];
        let ahead = (sent_at.duration_since(now) > MAX_AHEAD)
            .then(|| FieldError::new("sent_at", "is more than 5 minutes in the future"));
        let level = (!(0..=100).contains(escalation_level))
            .then(|| FieldError::new("escalation_level", "must be between 0 and 100"));
        texts.into_iter().flatten().chain(ahead).chain(level).collect()
    }
}

/// A record as stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotificationAuditRecord {
    /// Number of the record.
    pub id: i64,
    /// What was recorded.
    #[serde(flatten)]
    pub notification: NotificationAudit,
    /// When it was stored.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was changed last.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}
