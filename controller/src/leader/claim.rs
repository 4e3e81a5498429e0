//! Whether a Lease may be taken. Clocks of other machines are not believed: a Lease has expired when it was not seen to change
//! for as long as it says it lasts.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;

use super::holder;

/// What to do about a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// There is none yet.
    Create,
    /// It is ours already, nobody's, or has expired.
    Take,
    /// It is another's.
    Wait,
}

/// A version of the Lease, and since when it is known.
#[derive(Clone, Debug)]
pub struct Sighting {
    version: String,
    since: Instant,
}

/// Decides at `now`, and remembers in `sighting` what was seen.
pub fn decide(lease: Option<&Lease>, identity: &str, sighting: &mut Option<Sighting>, now: Instant) -> Claim {
    let Some(lease) = lease else { return Claim::Create };
    let version = lease.metadata.resource_version.clone().unwrap_or_default();
    let since = match sighting {
        Some(seen) if seen.version == version => seen.since,
        _ => sighting.insert(Sighting { version, since: now }).since,
    };
    let holder = holder(lease);
    if holder.is_empty() || holder == identity {
        return Claim::Take;
    }
    let lasts = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or(0);
    let lasts = Duration::from_secs(u64::from(lasts.unsigned_abs()));
    if now.duration_since(since) > lasts { Claim::Take } else { Claim::Wait }
}

/// Whether `identity` may be the name of a pod. Others have an underscore, which names of objects cannot have.
pub fn is_pod(identity: &str) -> bool {
    !identity.is_empty() && !identity.contains('_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::leader;

    fn lease(holder: &str, version: &str) -> Lease {
        serde_json::from_value(json!({
            "metadata": {"name": "lock", "resourceVersion": version},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15, "renewTime": "2001-01-01T00:00:00.000000Z"},
        }))
        .unwrap()
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_or_silent_for_its_duration() {
        let start = Instant::now();
        let mut sighting = None;
        let mut at = |seconds, lease: Option<&Lease>| {
            decide(lease, "me", &mut sighting, start + Duration::from_secs(seconds))
        };
        assert_eq!(at(0, None), Claim::Create);
        assert_eq!(at(0, Some(&lease("", "1"))), Claim::Take, "given back");
        assert_eq!(at(0, Some(&lease("me", "2"))), Claim::Take, "ours, after a restart of the container");
        assert_eq!(
            at(0, Some(&lease("other", "3"))),
            Claim::Wait,
            "whatever the time it says: clocks differ"
        );
        assert_eq!(at(15, Some(&lease("other", "3"))), Claim::Wait);
        assert_eq!(at(16, Some(&lease("other", "4"))), Claim::Wait, "it was renewed");
        assert_eq!(at(32, Some(&lease("other", "4"))), Claim::Take, "silent");
    }

    #[test]
    fn an_identity_without_a_pod_is_never_taken_for_one() {
        assert!(is_pod("workflowexecution-controller-5d9-abcde") && !is_pod(""));
        assert!(!is_pod(&leader::identity(None)));
        assert_ne!(leader::identity(None), leader::identity(None));
    }
}
