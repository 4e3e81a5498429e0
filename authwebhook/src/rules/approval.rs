//! Deciding about a remediation. A decision is final, and whose it is is not for the client to say.

use api::remediation_approval_request::{ApprovalDecision, RemediationApprovalRequestStatus};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::whole_seconds;

/// What happens to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does not touch the decision.
    Unconcerned,
    /// A decision: stored with these stamps, whatever the client claims, and reported.
    Stamp {
        /// What was decided.
        decision: ApprovalDecision,
        /// Who decided.
        by: String,
        /// When.
        at: Time,
    },
    /// Only the stamps were edited: they go back to what they were.
    Restore {
        /// Who decided, as stored; absent before a decision.
        by: Option<String>,
        /// When, as stored.
        at: Option<Time>,
    },
    /// It is refused.
    Deny {
        /// Why, for the person who wrote.
        reason: String,
    },
}

/// Judges what user `username` makes of the decision at `now`.
pub fn judge(
    old: &RemediationApprovalRequestStatus,
    new: &RemediationApprovalRequestStatus,
    username: &str,
    now: Timestamp,
) -> Verdict {
    let deny = |reason: String| Verdict::Deny { reason };
    if old == new {
        return Verdict::Unconcerned;
    }
    if username.trim().is_empty() {
        return deny(
            "authentication required: the request carries no user name to attribute the decision to".into(),
        );
    }
    let restore = || Verdict::Restore { by: old.decided_by.clone(), at: old.decided_at.clone() };
    match (old.decision, new.decision) {
        (None, Some(decision)) => {
            Verdict::Stamp { decision, by: username.to_owned(), at: Time(whole_seconds(now)) }
        }
        (None, None) => restore(),
        (Some(decided), Some(decision)) if decided == decision => {
            if old.decision_message == new.decision_message {
                return restore();
            }
            deny("the message of a decision cannot be changed: it is part of the audit trail".into())
        }
        (Some(decided), _) => deny(format!(
            "the request is decided already ({decided:?}): a decision is final; create another request to decide again"
        )),
    }
}

#[cfg(test)]
mod tests {
    use ApprovalDecision::{Approved, Expired, Rejected};

    use super::*;

    fn now() -> Timestamp {
        "2026-01-10T12:00:00.9Z".parse().unwrap()
    }

    fn status(
        decision: Option<ApprovalDecision>,
        by: Option<&str>,
        at: Option<&str>,
    ) -> RemediationApprovalRequestStatus {
        RemediationApprovalRequestStatus {
            decision,
            decided_by: by.map(str::to_owned),
            decided_at: at.map(|at| Time(at.parse().unwrap())),
            decision_message: None,
        }
    }

    fn stored() -> RemediationApprovalRequestStatus {
        status(Some(Approved), Some("alice"), Some("2026-01-01T00:00:00Z"))
    }

    #[test]
    fn a_decision_is_stamped_whatever_the_client_claims() {
        for decision in [Approved, Rejected, Expired] {
            for (by, at) in [(None, None), (Some("mallory"), Some("2020-01-01T00:00:00Z"))] {
                let verdict = judge(&status(None, None, None), &status(Some(decision), by, at), "bob", now());
                let at = Time("2026-01-10T12:00:00Z".parse().unwrap());
                assert_eq!(verdict, Verdict::Stamp { decision, by: "bob".into(), at }, "{decision:?} {by:?}");
            }
        }
    }

    #[test]
    fn a_decision_is_final() {
        for (new, complaint) in [
            (status(Some(Rejected), Some("alice"), None), "decided already (Approved)"),
            (status(None, None, None), "decided already (Approved)"),
            (
                RemediationApprovalRequestStatus { decision_message: Some("because".into()), ..stored() },
                "message",
            ),
        ] {
            let Verdict::Deny { reason } = judge(&stored(), &new, "alice", now()) else { panic!("{new:?}") };
            assert!(reason.contains(complaint), "{reason}");
        }
    }

    #[test]
    fn stamps_alone_cannot_be_edited_nor_made_before_a_decision() {
        let edited = status(Some(Approved), Some("mallory"), None);
        let expected = Verdict::Restore { by: stored().decided_by, at: stored().decided_at };
        assert_eq!(judge(&stored(), &edited, "mallory", now()), expected);
        let early = status(None, Some("mallory"), Some("2020-01-01T00:00:00Z"));
        let nothing = Verdict::Restore { by: None, at: None };
        assert_eq!(judge(&status(None, None, None), &early, "mallory", now()), nothing);
    }

    #[test]
    fn what_is_not_touched_passes_and_nobody_decides_anonymously() {
        assert_eq!(judge(&stored(), &stored(), "", now()), Verdict::Unconcerned);
        let decided = status(Some(Approved), None, None);
        assert!(matches!(judge(&status(None, None, None), &decided, " ", now()), Verdict::Deny { .. }));
    }
}
