//! What a Job needs next, from what is there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::tally::{Tally, count};
use crate::controllers::events::Note;
use crate::controllers::pods::{
    is_active, is_finished, is_ready, is_terminating, least_useful_first, phase, restarts, sooner, until,
};

/// Wait after the first failed pod; doubles with each further one.
const FIRST_BACKOFF: i64 = 10;
/// Longest wait.
const LAST_BACKOFF: i64 = 600;
/// Most pods created or deleted at once.
const BURST: usize = 500;

/// One moment of a Job and its pods.
pub(super) struct Observed {
    pub job: Arc<Job>,
    /// Pods whose controller it is.
    pub pods: Vec<Arc<Pod>>,
    /// Which of them the status already counts.
    pub tally: Option<Tally>,
    pub now: Timestamp,
}

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// To be written before anything else, so that a crash cannot repeat what it records.
    pub status: JobStatus,
    /// To be kept once the status is written.
    pub tally: Tally,
    pub create: usize,
    pub delete: Vec<Arc<Pod>>,
    pub events: Vec<Note>,
    /// The Job outlived its `ttlSecondsAfterFinished`.
    pub expire: bool,
    pub look_again: Option<Duration>,
}

/// How a Job ends.
struct End {
    complete: bool,
    reason: &'static str,
    message: String,
}

/// The decision; pure.
pub(super) fn decide(observed: &Observed) -> Plan {
    let Observed { job, pods, tally, now } = observed;
    let now = *now;
    let Some(spec) = job.spec.as_ref() else { return Plan::default() };
    let before = job.status.clone().unwrap_or_default();
    if let Some(finished) = finished_at(&before) {
        return expire(spec, before, tally.clone(), finished, now);
    }
    let mut plan = Plan { status: before.clone(), ..Plan::default() };
    if is_terminating(&**job) {
        plan.tally = tally.clone().unwrap_or_default();
        return plan;
    }
    let suspended = spec.suspend == Some(true);
    suspend_or_resume(&mut plan, suspended, now);
    if !suspended && plan.status.start_time.is_none() {
        plan.status.start_time = Some(Time(now));
    }
    let active: Vec<Arc<Pod>> = pods.iter().filter(|pod| is_active(pod)).cloned().collect();
    let terminating = pods.iter().filter(|pod| is_terminating(&***pod) && !is_finished(pod)).count();
    let uids = |wanted: fn(&Pod) -> bool| -> BTreeSet<String> {
        pods.iter().filter(|pod| wanted(pod)).filter_map(|pod| pod.uid()).collect()
    };
    let failed = if suspended { uids(has_failed) } else { uids(has_failed_or_was_deleted) };
    let totals = (before.succeeded.unwrap_or(0), before.failed.unwrap_or(0));
    let counted = count(tally.as_ref(), totals, &uids(has_succeeded), &failed);
    let unless_zero = |count: i32| (count != 0).then_some(count);
    plan.tally = counted.tally;
    plan.status.succeeded = unless_zero(counted.succeeded);
    plan.status.failed = unless_zero(counted.failed);
    plan.status.ready = Some(size(active.iter().filter(|pod| is_ready(pod)).count()));
    plan.status.terminating = Some(size(terminating));

    let ending = end_begun(&before).or_else(|| end(spec, &plan.status, &active, suspended, now));
    if let Some(end) = ending {
        finish(&mut plan, end, &active, terminating, now);
        return plan;
    }
    if let Some(seconds) = spec.active_deadline_seconds.filter(|_| !suspended) {
        let started = plan.status.start_time.as_ref().map_or(now, |time| time.0);
        plan.look_again = sooner(plan.look_again, until(started, seconds, now));
    }
    size_up(&mut plan, spec, active, pods, suspended, now);
    plan
}

fn size(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn has_succeeded(pod: &Pod) -> bool {
    phase(pod) == "Succeeded"
}

fn has_failed(pod: &Pod) -> bool {
    phase(pod) == "Failed"
}

/// A pod somebody deletes while it runs will not reach its goal: as upstream, it counts as failed at once.
fn has_failed_or_was_deleted(pod: &Pod) -> bool {
    has_failed(pod) || (is_terminating(pod) && !is_finished(pod))
}

fn condition<'a>(status: &'a JobStatus, type_: &str) -> Option<&'a JobCondition> {
    status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == type_ && condition.status == "True")
}

fn set(status: &mut JobStatus, type_: &str, value: bool, reason: &str, message: &str, now: Timestamp) {
    let value = if value { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    if conditions.iter().any(|condition| condition.type_ == type_ && condition.status == value) {
        return;
    }
    conditions.retain(|condition| condition.type_ != type_);
    conditions.push(JobCondition {
        type_: type_.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}

/// When the Job was finished, if it is.
pub(super) fn finished_at(status: &JobStatus) -> Option<Timestamp> {
    let condition = condition(status, "Complete").or_else(|| condition(status, "Failed"))?;
    Some(condition.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0))
}

fn expire(
    spec: &JobSpec,
    status: JobStatus,
    tally: Option<Tally>,
    finished: Timestamp,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan { status, tally: tally.unwrap_or_default(), ..Plan::default() };
    if let Some(seconds) = spec.ttl_seconds_after_finished {
        plan.look_again = until(finished, i64::from(seconds), now);
        plan.expire = plan.look_again.is_none();
    }
    plan
}

fn suspend_or_resume(plan: &mut Plan, suspended: bool, now: Timestamp) {
    let was = condition(&plan.status, "Suspended").is_some();
    if suspended && !was {
        plan.status.start_time = None;
        set(&mut plan.status, "Suspended", true, "JobSuspended", "Job suspended", now);
        plan.events.push(Note::normal("Suspended", "Job suspended"));
    } else if !suspended && was {
        plan.status.start_time = Some(Time(now));
        set(&mut plan.status, "Suspended", false, "JobResumed", "Job resumed", now);
        plan.events.push(Note::normal("Resumed", "Job resumed"));
    }
}

/// An end that an earlier pass decided on and that waits for the last pod to go.
fn end_begun(status: &JobStatus) -> Option<End> {
    let end = |complete: bool, condition: &JobCondition| End {
        complete,
        reason: match condition.reason.as_deref() {
            Some("DeadlineExceeded") => "DeadlineExceeded",
            Some("CompletionsReached") => "CompletionsReached",
            _ => "BackoffLimitExceeded",
        },
        message: condition.message.clone().unwrap_or_default(),
    };
    let failing = condition(status, "FailureTarget").map(|condition| end(false, condition));
    failing.or_else(|| condition(status, "SuccessCriteriaMet").map(|condition| end(true, condition)))
}

fn end(
    spec: &JobSpec,
    status: &JobStatus,
    active: &[Arc<Pod>],
    suspended: bool,
    now: Timestamp,
) -> Option<End> {
    let failed = |reason, message: &str| Some(End { complete: false, reason, message: message.to_owned() });
    let limit = spec.backoff_limit.unwrap_or(6);
    if status.failed.unwrap_or(0) > limit || restarted_too_often(spec, active, limit) {
        return failed("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    if let (Some(seconds), Some(started), false) =
        (spec.active_deadline_seconds, &status.start_time, suspended)
        && until(started.0, seconds, now).is_none()
    {
        return failed("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    let succeeded = status.succeeded.unwrap_or(0);
    let reached = match spec.completions {
        Some(completions) => succeeded >= completions,
        // A work queue: one success means that the queue is empty; those still at work finish their item.
        None => succeeded > 0 && active.is_empty(),
    };
    reached.then(|| End {
        complete: true,
        reason: "CompletionsReached",
        message: "Reached expected number of succeeded pods".to_owned(),
    })
}

/// With `restartPolicy: OnFailure` the containers restart in their pods; those restarts use up the limit.
fn restarted_too_often(spec: &JobSpec, active: &[Arc<Pod>], limit: i32) -> bool {
    let policy = spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let total: i32 = active.iter().map(|pod| restarts(pod)).sum();
    if limit == 0 { total > 0 } else { total >= limit }
}

/// Announces the end, removes what still runs, and says it is over when nothing is left.
fn finish(plan: &mut Plan, end: End, active: &[Arc<Pod>], terminating: usize, now: Timestamp) {
    let End { complete, reason, message } = end;
    let announcement = if complete { "SuccessCriteriaMet" } else { "FailureTarget" };
    set(&mut plan.status, announcement, true, reason, &message, now);
    plan.delete = active.to_vec();
    plan.status.active = (!active.is_empty()).then(|| size(active.len()));
    if !active.is_empty() || terminating > 0 {
        return;
    }
    plan.status.ready = Some(0);
    if complete {
        set(&mut plan.status, "Complete", true, reason, &message, now);
        plan.status.completion_time = Some(Time(now));
        plan.events.push(Note::normal("Completed", "Job completed"));
    } else {
        set(&mut plan.status, "Failed", true, reason, &message, now);
        plan.events.push(Note::warning(reason, message));
    }
}

/// Creates missing pods, after the back-off, and removes surplus ones.
fn size_up(
    plan: &mut Plan,
    spec: &JobSpec,
    mut active: Vec<Arc<Pod>>,
    pods: &[Arc<Pod>],
    suspended: bool,
    now: Timestamp,
) {
    let count = |number: i32| usize::try_from(number).unwrap_or(0);
    let parallelism = count(spec.parallelism.unwrap_or(1));
    let succeeded = count(plan.status.succeeded.unwrap_or(0));
    let wanted = match spec.completions {
        _ if suspended => 0,
        Some(completions) => parallelism.min(count(completions).saturating_sub(succeeded)),
        None if succeeded > 0 => active.len(),
        None => parallelism,
    };
    let surplus = active.len().saturating_sub(wanted).min(BURST);
    let missing = wanted.saturating_sub(active.len()).min(BURST);
    let wait = backoff(pods, now).filter(|_| missing > 0);
    plan.look_again = sooner(plan.look_again, wait);
    plan.create = if wait.is_none() { missing } else { 0 };
    // Counted as if done: the next pass, after the writes, starts from the same numbers.
    plan.status.active = Some(size(active.len() + plan.create - surplus)).filter(|active| *active != 0);
    active.sort_by_cached_key(|pod| least_useful_first(pod));
    plan.delete = active.into_iter().take(surplus).collect();
}

/// Time left before a replacement may be created: failures since the last success double the wait.
fn backoff(pods: &[Arc<Pod>], now: Timestamp) -> Option<Duration> {
    let last_success = pods.iter().filter(|pod| has_succeeded(pod)).filter_map(|pod| ended_at(pod)).max();
    let failures: Vec<Timestamp> = pods
        .iter()
        .filter(|pod| has_failed_or_was_deleted(pod))
        .filter_map(|pod| ended_at(pod))
        .filter(|ended| last_success.is_none_or(|success| *ended > success))
        .collect();
    let last = failures.iter().max()?;
    let doublings = u32::try_from(failures.len() - 1).unwrap_or(u32::MAX).min(10);
    until(*last, (FIRST_BACKOFF << doublings).min(LAST_BACKOFF), now)
}

/// When the last container of a finished pod ended; for a deleted one, when that was asked for.
fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let ends = statuses.into_iter().flatten().filter_map(|container| {
        container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|time| time.0)
    });
    let deleted = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0);
    let started = || pod.status.as_ref()?.start_time.as_ref().map(|time| time.0);
    ends.max().or(deleted).or_else(started).or_else(|| pod.creation_timestamp().map(|time| time.0))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
