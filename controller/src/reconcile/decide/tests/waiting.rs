//! Pending: what holds the target, and that every wait ends.

use super::*;

#[test]
fn pending_waits_for_each_thing_that_holds_the_target_and_proceeds_after_it() {
    let other = |owner, state| Some(Child { owner, ..child(state) });
    let holder = Owner::Another("ops/other".into());
    for (what, held, siblings, actions, requeue) in [
        ("a free target", None, vec![], vec!["create job"], None),
        (
            "another execution's child",
            other(holder.clone(), ChildState::Started),
            vec![],
            vec!["write Pending TargetResourceBusy", "TargetBusy"],
            None,
        ),
        (
            "another execution's finished child: the lock is held through the cooldown",
            other(holder, ChildState::Succeeded { at: None }),
            vec![],
            vec!["write Pending TargetResourceBusy", "TargetBusy"],
            None,
        ),
        (
            "an object of somebody else",
            other(Owner::Unknown, ChildState::Created),
            vec![],
            vec!["write Pending TargetResourceBusy", "TargetBusy"],
            Some(30),
        ),
        (
            "a finished child whose execution is gone",
            other(Owner::Gone, ChildState::Succeeded { at: None }),
            vec![],
            vec!["delete u-job"],
            None,
        ),
        (
            "a running child whose execution is gone",
            other(Owner::Gone, ChildState::Started),
            vec![],
            vec!["write Pending TargetResourceBusy", "TargetBusy"],
            Some(30),
        ),
        (
            "a sibling that runs, though its child is not seen: it may be of another kind",
            None,
            vec![Sibling { phase: Phase::Running, completed: None, ..sibling() }],
            vec!["write Pending TargetResourceBusy", "TargetBusy"],
            None,
        ),
        (
            "cooldowns: the longest remaining counts, not the first",
            None,
            vec![
                Sibling { completed: Some(at(-290)), ..sibling() },
                Sibling { completed: Some(at(-60)), ..sibling() },
            ],
            vec!["write Pending RecentlyRemediated", "CooldownActive"],
            Some(240),
        ),
        (
            "a cooldown that has ended",
            None,
            vec![Sibling { completed: Some(at(-300)), ..sibling() }],
            vec!["create job"],
            None,
        ),
        (
            "a sibling that never started needs no cooldown",
            None,
            vec![Sibling { phase: Phase::Failed, started: false, completed: Some(at(-1)), ..sibling() }],
            vec!["create job"],
            None,
        ),
        (
            "a back-off",
            None,
            vec![Sibling {
                phase: Phase::Failed,
                started: false,
                completed: Some(at(-10)),
                consecutive_failures: 1,
                next_allowed: Some(at(50)),
                ..sibling()
            }],
            vec!["write Pending BackoffActive", "CooldownActive"],
            Some(50),
        ),
        (
            "a back-off that a later success has overtaken",
            None,
            vec![
                Sibling {
                    phase: Phase::Failed,
                    next_allowed: Some(at(50)),
                    completed: Some(at(-900)),
                    ..sibling()
                },
                Sibling { completed: Some(at(-600)), ..sibling() },
            ],
            vec!["create job"],
            None,
        ),
        (
            "an uncleared failure, however old",
            None,
            vec![Sibling { phase: Phase::Failed, blocks: true, completed: Some(at(-90_000)), ..sibling() }],
            vec!["write Pending PreviousExecutionFailed", "TargetBlocked"],
            None,
        ),
    ] {
        let decision = decided(&Observed { child: held, siblings, ..observed(json!({})) });
        assert_eq!(names(&decision), actions, "{what}");
        assert_eq!(decision.requeue, requeue.map(SignedDuration::from_secs), "{what}");
    }
}

/// 2.8.1 and lesson OBSERVED_GENERATION_DEADLOCK: writing Pending must not stop the execution from being looked at again.
#[test]
fn a_cooldown_ends_although_the_wait_was_written() {
    let mut waiting = observed(json!({}));
    waiting.siblings = vec![Sibling { completed: Some(at(-60)), ..sibling() }];
    let first = decided(&waiting);
    waiting.execution.status = written(&first).cloned();
    let again = decide(&waiting, &SETTINGS, at(100));
    assert_eq!(
        (names(&again), again.requeue),
        (vec![], Some(SignedDuration::from_secs(140))),
        "still waits, silently"
    );
    assert_eq!(names(&decide(&waiting, &SETTINGS, at(240))), ["create job"]);
}

/// 2.8.5: a cooldown may end before the child of the execution before is gone.
#[test]
fn an_execution_whose_predecessor_still_leaves_waits_for_it_and_does_not_fail() {
    let left = |deleting| Child {
        owner: Owner::Another("ops/other".into()),
        deleting,
        ..child(ChildState::Succeeded { at: Some(at(-301)) })
    };
    let mut next = observed(json!({}));
    next.siblings = vec![Sibling { completed: Some(at(-301)), ..sibling() }];
    for deleting in [false, true] {
        next.child = Some(left(deleting));
        let decision = decided(&next);
        assert_eq!(
            names(&decision),
            ["write Pending TargetResourceBusy", "TargetBusy"],
            "deleting: {deleting}"
        );
        assert_eq!(written(&decision).unwrap().failure_details, None);
    }
    next.child = None;
    assert_eq!(names(&decided(&next)), ["create job"]);
}
