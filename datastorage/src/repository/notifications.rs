//! Records of delivered notifications.

use api::audit::{NotificationAudit, NotificationAuditRecord};
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use super::either::transaction;
use super::holds::now;
use super::{DatabaseError, Repository};

/// A record was not stored.
#[derive(Debug, Error)]
pub enum NotificationError {
    /// The id is taken.
    #[error("notification `{0}` is already recorded")]
    Recorded(String),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl From<sqlx::Error> for NotificationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(DatabaseError(error))
    }
}

impl Repository {
    /// Records a delivery, once.
    pub async fn record_notification(
        &self,
        notification: NotificationAudit,
    ) -> Result<NotificationAuditRecord, NotificationError> {
        let now = now();
        let sent_at = notification.sent_at.as_microsecond();
        let id: Option<i64> = transaction!(self, |connection| {
            let NotificationAudit {
                remediation_id,
                notification_id,
                recipient,
                channel,
                message_summary,
                status,
                sent_at: _,
                delivery_status,
                error_message,
                escalation_level,
            } = &notification;
            sqlx::query_scalar(
                "INSERT INTO notification_audit (notification_id, remediation_id, recipient, channel, message_summary, \
                 status, sent_at, delivery_status, error_message, escalation_level, created_at, updated_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11) ON CONFLICT DO NOTHING RETURNING id",
            )
            .bind(notification_id)
            .bind(remediation_id)
            .bind(recipient)
            .bind(name(channel))
            .bind(message_summary)
            .bind(name(status))
            .bind(sent_at)
            .bind(delivery_status)
            .bind(error_message)
            .bind(escalation_level)
            .bind(now.as_microsecond())
            .fetch_optional(connection)
            .await?
        });
        match id {
            Some(id) => Ok(NotificationAuditRecord { id, notification, created_at: now, updated_at: now }),
            None => Err(NotificationError::Recorded(notification.notification_id)),
        }
    }
}

/// The wire name of an enum's value.
fn name(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        _ => String::new(),
    }
}
