//! Counts finished pods of a Job, each exactly once, without a finalizer on the pods.
//!
//! The counts in a Job's status only grow. Which pods they contain is remembered by uid for as long as the process lives and the pods
//! exist. After a restart the pods that are there are taken to be in the counts, except as many as the counts are short of: a pod
//! is never counted twice.

use std::collections::BTreeSet;

/// The uids of existing pods that are in the status' counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    succeeded: BTreeSet<String>,
    failed: BTreeSet<String>,
}

/// New totals and what they contain.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub succeeded: i32,
    pub failed: i32,
    /// To be kept once the totals are in the status.
    pub tally: Tally,
}

/// Adds the uids not yet counted to the totals of the status.
pub(super) fn count(
    tally: Option<&Tally>,
    totals: (i32, i32),
    succeeded: &BTreeSet<String>,
    failed: &BTreeSet<String>,
) -> Counted {
    let count = |known: Option<&BTreeSet<String>>, total: i32, present: &BTreeSet<String>| match known {
        Some(known) => total + size(present.difference(known).count()),
        None => total.max(size(present.len())),
    };
    Counted {
        succeeded: count(tally.map(|tally| &tally.succeeded), totals.0, succeeded),
        failed: count(tally.map(|tally| &tally.failed), totals.1, failed),
        tally: Tally { succeeded: succeeded.clone(), failed: failed.clone() },
    }
}

fn size(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &str) -> BTreeSet<String> {
        names.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn each_pod_counts_once_even_after_it_is_gone() {
        let first = count(None, (0, 0), &set(""), &set("a"));
        assert_eq!((first.succeeded, first.failed), (0, 1));
        let same = count(Some(&first.tally), (0, 1), &set(""), &set("a"));
        assert_eq!(same.failed, 1);
        let gone = count(Some(&same.tally), (0, 1), &set(""), &set(""));
        assert_eq!(gone.failed, 1);
        let next = count(Some(&gone.tally), (0, 1), &set("c"), &set("b"));
        assert_eq!((next.succeeded, next.failed), (1, 2));
    }

    #[test]
    fn after_a_restart_nothing_is_counted_twice() {
        assert_eq!(count(None, (1, 2), &set("a"), &set("b c")).failed, 2);
        assert_eq!(count(None, (0, 0), &set("a"), &set("")).succeeded, 1);
        assert_eq!(count(None, (3, 0), &set("a"), &set("")).succeeded, 3);
    }

    #[test]
    fn pod_that_failed_by_deletion_and_then_succeeded_is_not_counted_as_both() {
        let first = count(None, (0, 0), &set(""), &set("a"));
        let second = count(Some(&first.tally), (0, 1), &set(""), &set("a"));
        assert_eq!((second.succeeded, second.failed), (0, 1));
    }
}
