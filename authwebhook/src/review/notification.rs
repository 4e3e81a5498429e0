//! Deleting a NotificationRequest: always allowed, and recorded with who did it.

use api::notification_request::NotificationRequest;
use jiff::Timestamp;

use super::{Answer, Outcome, Request, UserInfo, allowed, malformed, refused};
use crate::audit::cancelled_event;

/// A notification that somebody deletes.
#[derive(Clone, Debug)]
pub struct Cancelled {
    /// As it was.
    pub notification: NotificationRequest,
    /// Who deletes it.
    pub by: UserInfo,
    /// When.
    pub at: Timestamp,
}

/// Answers a review of a NotificationRequest's deletion at `now`.
pub fn answer(request: Request, now: Timestamp) -> Answer {
    let Request { uid, user_info, object: _, old_object, dry_run } = request;
    if user_info.username.trim().is_empty() {
        let reason =
            "authentication required: the request carries no user name to attribute the cancellation to";
        return refused(uid, Outcome::Denied, 403, "Forbidden", reason.to_owned());
    }
    let notification = match serde_json::from_value::<NotificationRequest>(old_object) {
        Ok(notification) => notification,
        Err(error) => return malformed(uid, format!("oldObject is not a NotificationRequest: {error}")),
    };
    // A dry run deletes nothing; one that is being deleted already was recorded when that began.
    if dry_run == Some(true) || notification.metadata.deletion_timestamp.is_some() {
        return allowed(uid, Outcome::Unconcerned, Vec::new(), None);
    }
    let event = cancelled_event(&Cancelled { notification, by: user_info, at: now });
    allowed(uid, Outcome::Recorded, Vec::new(), Some(event))
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn delete(metadata: Value, username: &str) -> Answer {
        let mut old = json!({
            "apiVersion": "kubernaut.ai/v1alpha1", "kind": "NotificationRequest",
            "metadata": {"name": "n-1", "namespace": "default", "uid": "u-3"},
            "spec": {"remediationRequestRef": {"name": "rr-1"}, "type": "status-update", "priority": "high",
                "subject": "it works again", "recipients": [{"slack": "#ops"}]},
            "status": {"phase": "Sending"},
        });
        old["metadata"].as_object_mut().unwrap().extend(metadata.as_object().cloned().unwrap());
        let user = json!({"username": username, "uid": "bob-1", "groups": ["ops"]});
        let request = json!({"uid": "r-1", "userInfo": user, "object": null, "oldObject": old});
        answer(serde_json::from_value(request).unwrap(), "2026-01-10T12:00:00.5Z".parse().unwrap())
    }

    #[test]
    fn a_deletion_is_allowed_and_recorded_once() {
        let answer = delete(json!({}), "bob");
        assert!(answer.response.allowed && answer.response.patch.is_none());
        assert!(answer.event.is_some());
        let again = delete(json!({"deletionTimestamp": "2026-01-10T12:00:00Z"}), "bob");
        assert!(again.response.allowed && again.event.is_none());
    }

    #[test]
    fn nobody_deletes_anonymously_and_what_cannot_be_read_is_refused() {
        assert_eq!(delete(json!({}), "").outcome, Outcome::Denied);
        let request = json!({"uid": "r-1", "userInfo": {"username": "bob"}, "oldObject": {}});
        let answer = answer(serde_json::from_value(request).unwrap(), Timestamp::UNIX_EPOCH);
        assert_eq!(answer.outcome, Outcome::Malformed);
    }
}
