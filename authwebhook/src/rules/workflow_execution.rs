//! Clearing the block that a failed execution puts on its target.

use api::workflow_execution::BlockClearance;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::whole_seconds;

/// A reason with fewer words explains nothing.
pub const MIN_REASON_WORDS: usize = 10;

/// What happens to a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does not touch the clearance.
    Unconcerned,
    /// A new or changed clearance: stored with these stamps, whatever the client claims, and reported.
    Stamp {
        /// The clearance as it will be stored.
        clearance: BlockClearance,
    },
    /// Only the stamps were edited: they go back to what they were.
    Restore {
        /// The clearance as it is stored.
        clearance: BlockClearance,
    },
    /// It is refused.
    Deny {
        /// Why, for the person who wrote.
        reason: String,
    },
}

/// Judges what user `username` makes of the clearance at `now`.
pub fn judge(
    old: Option<&BlockClearance>,
    new: Option<&BlockClearance>,
    username: &str,
    now: Timestamp,
) -> Verdict {
    let deny = |reason: String| Verdict::Deny { reason };
    if old == new {
        return Verdict::Unconcerned;
    }
    if username.trim().is_empty() {
        return deny(
            "authentication required: the request carries no user name to attribute the clearance to".into(),
        );
    }
    let Some(new) = new else {
        return deny(
            "a block clearance cannot be removed: it is part of the audit trail; to correct it, write another \
             clearReason"
                .into(),
        );
    };
    if let Some(old) = old
        && (&old.clear_reason, old.clear_method) == (&new.clear_reason, new.clear_method)
    {
        return Verdict::Restore { clearance: old.clone() };
    }
    match words(&new.clear_reason) {
        0 => deny("clearReason is required: say why the block can be cleared".into()),
        words if words < MIN_REASON_WORDS => deny(format!(
            "clearReason has {words} words, at least {MIN_REASON_WORDS} are required: say what failed, what was done \
             about it and why the next execution may proceed"
        )),
        _ => Verdict::Stamp {
            clearance: BlockClearance {
                cleared_at: Some(Time(whole_seconds(now))),
                cleared_by: username.to_owned(),
                ..new.clone()
            },
        },
    }
}

/// Words are separated by blanks and have a letter or a digit.
fn words(text: &str) -> usize {
    text.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).count()
}

#[cfg(test)]
mod tests {
    use api::workflow_execution::ClearMethod;

    use super::*;

    const REASON: &str = "the node pool was out of memory and has been enlarged by ops";

    fn now() -> Timestamp {
        "2026-01-10T12:00:00.9Z".parse().unwrap()
    }

    fn clearance(by: &str, at: Option<&str>, reason: &str) -> BlockClearance {
        BlockClearance {
            cleared_at: at.map(|at| Time(at.parse().unwrap())),
            cleared_by: by.to_owned(),
            clear_reason: reason.to_owned(),
            clear_method: ClearMethod::StatusField,
        }
    }

    fn stored() -> BlockClearance {
        clearance("alice", Some("2026-01-01T00:00:00Z"), REASON)
    }

    fn stamped(by: &str, reason: &str) -> Verdict {
        Verdict::Stamp { clearance: clearance(by, Some("2026-01-10T12:00:00Z"), reason) }
    }

    #[test]
    fn a_new_clearance_is_stamped_whatever_the_client_claims() {
        for (claimed_by, claimed_at) in
            [("", None), ("mallory", None), ("mallory", Some("2020-01-01T00:00:00Z")), ("bob", None)]
        {
            let new = clearance(claimed_by, claimed_at, REASON);
            assert_eq!(judge(None, Some(&new), "bob", now()), stamped("bob", REASON), "{claimed_by}");
        }
    }

    #[test]
    fn a_changed_clearance_is_stamped_again() {
        let other = "after review the memory limit was raised and the rollout was repeated";
        let new = clearance("alice", Some("2026-01-01T00:00:00Z"), other);
        assert_eq!(judge(Some(&stored()), Some(&new), "bob", now()), stamped("bob", other));
        let method = BlockClearance { clear_method: ClearMethod::Annotation, ..stored() };
        assert!(matches!(judge(Some(&stored()), Some(&method), "bob", now()), Verdict::Stamp { .. }));
    }

    #[test]
    fn an_unchanged_clearance_is_left_alone_whoever_writes() {
        for user in ["alice", "system:serviceaccount:kubernaut-system:workflowexecution-controller", ""] {
            assert_eq!(judge(Some(&stored()), Some(&stored()), user, now()), Verdict::Unconcerned);
            assert_eq!(judge(None, None, user, now()), Verdict::Unconcerned);
        }
    }

    #[test]
    fn stamps_alone_cannot_be_edited() {
        for (by, at) in [("mallory", Some("2026-01-01T00:00:00Z")), ("alice", None), ("", None)] {
            let new = clearance(by, at, REASON);
            let verdict = judge(Some(&stored()), Some(&new), "mallory", now());
            assert_eq!(verdict, Verdict::Restore { clearance: stored() }, "{by}");
        }
    }

    #[test]
    fn reasons_need_ten_words() {
        for (reason, complaint) in [
            ("", "is required"),
            ("   \t\n", "is required"),
            ("- - - - - - - - - -", "is required"),
            ("fixed", "has 1 words"),
            ("one two three four five six seven eight nine", "has 9 words"),
            ("one two three four five six seven eight nine -", "has 9 words"),
        ] {
            let Verdict::Deny { reason: text } =
                judge(None, Some(&clearance("", None, reason)), "bob", now())
            else {
                panic!("`{reason}` was accepted");
            };
            assert!(text.contains(complaint), "`{reason}`: {text}");
        }
        for reason in [
            "one two three four five six seven eight nine ten",
            "eins zwei drei vier fünf sechs sieben acht neun é",
        ] {
            let verdict = judge(None, Some(&clearance("", None, reason)), "bob", now());
            assert!(matches!(verdict, Verdict::Stamp { .. }), "{reason}");
        }
    }

    #[test]
    fn a_clearance_is_not_removed_and_never_anonymous() {
        let denied = |old: Option<&BlockClearance>, new: Option<&BlockClearance>, user: &str| {
            matches!(judge(old, new, user, now()), Verdict::Deny { .. })
        };
        assert!(denied(Some(&stored()), None, "alice"));
        assert!(denied(None, Some(&stored()), ""));
        assert!(denied(None, Some(&stored()), "  "));
    }
}
