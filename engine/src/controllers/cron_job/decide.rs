//! What a CronJob needs next, from the clock and the Jobs that are there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{Resource, ResourceExt};

use super::schedule::Schedule;
use crate::controllers::events::Note;
use crate::controllers::pods::{controller_reference, is_terminating};

/// When a Job was to be made.
const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// One moment of a CronJob.
pub(super) struct Observed {
    pub cron_job: Arc<CronJob>,
    /// Jobs whose controller it is.
    pub jobs: Vec<Arc<Job>>,
    pub now: Timestamp,
}

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Before anything is made.
    pub delete: Vec<Arc<Job>>,
    pub create: Option<Box<Job>>,
    pub status: CronJobStatus,
    pub events: Vec<Note>,
    /// When the next Job is due.
    pub look_again: Option<Duration>,
}

/// The decision; pure.
pub(super) fn decide(observed: &Observed) -> Plan {
    let Observed { cron_job, jobs, now } = observed;
    let Some(spec) = cron_job.spec.as_ref() else { return Plan::default() };
    let (active, finished): (Vec<Arc<Job>>, Vec<Arc<Job>>) =
        jobs.iter().cloned().partition(|job| ending(job).is_none());
    let mut plan = Plan { status: status(cron_job, &active, &finished), ..Plan::default() };
    if is_terminating(&**cron_job) {
        return plan;
    }
    plan.delete = surplus(spec, &finished);
    if spec.suspend == Some(true) {
        return plan;
    }
    let zone = spec.time_zone.as_deref().map_or(Ok(TimeZone::UTC), TimeZone::get);
    let (Some(schedule), Ok(zone)) = (Schedule::parse(&spec.schedule), zone) else {
        let text = format!("unparseable schedule: {:?} : {:?}", spec.schedule, spec.time_zone);
        plan.events.push(Note::warning("UnparseableSchedule", text));
        return plan;
    };
    let next = schedule.next(*now, &zone);
    plan.look_again = next.and_then(|next| Duration::try_from(next.duration_since(*now)).ok());
    let Some(due) = due(cron_job, spec, &schedule, &zone, *now) else { return plan };
    let policy = spec.concurrency_policy.as_deref();
    if policy == Some("Forbid") && !active.is_empty() {
        let text = "Not starting job because prior execution is running and concurrency policy is Forbid";
        plan.events.push(Note::normal("JobAlreadyActive", text));
        return plan;
    }
    if policy == Some("Replace") {
        plan.delete.extend(active);
        plan.status.active = None;
    }
    plan.status.last_schedule_time = Some(Time(due));
    plan.create = Some(Box::new(job(cron_job, spec, due)));
    plan
}

/// The newest time that has come and for which nothing was done yet.
fn due(
    cron_job: &CronJob,
    spec: &CronJobSpec,
    schedule: &Schedule,
    zone: &TimeZone,
    now: Timestamp,
) -> Option<Timestamp> {
    let last = cron_job.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    let mut from = last.or(cron_job.metadata.creation_timestamp.as_ref()).map_or(now, |time| time.0);
    let limit = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    if let Some(earliest) = limit.and_then(|limit| now.checked_sub(limit).ok()) {
        from = from.max(earliest);
    }
    let mut due = None;
    let mut step = 0;
    while let Some(next) = schedule.next(from, zone).filter(|next| *next <= now) {
        due = Some(next);
        step += 1;
        // After a long pause the times between do not matter: go closer in one leap.
        from = if step == 100 { next.max(now - SignedDuration::from_hours(24)) } else { next };
    }
    due
}

/// How a Job ended, and when, if it did.
fn ending(job: &Job) -> Option<(bool, Option<Timestamp>)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let end = conditions
        .iter()
        .find(|one| matches!(one.type_.as_str(), "Complete" | "Failed") && one.status == "True")?;
    let completed = job.status.as_ref()?.completion_time.as_ref();
    Some((end.type_ == "Complete", completed.or(end.last_transition_time.as_ref()).map(|time| time.0)))
}

fn status(cron_job: &CronJob, active: &[Arc<Job>], finished: &[Arc<Job>]) -> CronJobStatus {
    let before = cron_job.status.clone().unwrap_or_default();
    let mut references: Vec<_> =
        active.iter().map(|job| (job.creation_timestamp(), job.object_ref(&()))).collect();
    references.sort_by_key(|(created, reference)| (created.clone(), reference.name.clone()));
    let references: Vec<_> = references.into_iter().map(|(_, reference)| reference).collect();
    let succeeded = finished.iter().filter_map(|job| ending(job)).filter(|(complete, _)| *complete);
    let latest = succeeded.filter_map(|(_, time)| time).max();
    let known = before.last_successful_time.as_ref().map(|time| time.0);
    CronJobStatus {
        active: (!references.is_empty()).then_some(references),
        last_schedule_time: before.last_schedule_time,
        last_successful_time: latest.max(known).map(Time),
    }
}

/// Finished Jobs beyond the number to be kept, oldest first.
fn surplus(spec: &CronJobSpec, finished: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let beyond = |complete: bool, limit: i32| {
        let of_kind = |job: &&Arc<Job>| ending(job).is_some_and(|(how, _)| how == complete);
        let mut jobs: Vec<Arc<Job>> = finished.iter().filter(of_kind).cloned().collect();
        jobs.sort_by_key(|job| (job.creation_timestamp(), job.name_any()));
        jobs.truncate(jobs.len().saturating_sub(usize::try_from(limit).unwrap_or(0)));
        jobs.retain(|job| !is_terminating(&**job));
        jobs
    };
    let mut surplus = beyond(true, spec.successful_jobs_history_limit.unwrap_or(3));
    surplus.extend(beyond(false, spec.failed_jobs_history_limit.unwrap_or(1)));
    surplus
}

/// The Job for one time; its name follows from the time, so that a second attempt is the same.
fn job(cron_job: &CronJob, spec: &CronJobSpec, due: Timestamp) -> Job {
    let template = spec.job_template.metadata.clone().unwrap_or_default();
    let mut annotations: BTreeMap<String, String> = template.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED_AT.to_owned(), due.to_string());
    Job {
        metadata: ObjectMeta {
            name: Some(format!("{}-{}", cron_job.name_any(), due.as_second() / 60)),
            namespace: cron_job.namespace(),
            labels: template.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron_job)]),
            ..ObjectMeta::default()
        },
        spec: spec.job_template.spec.clone(),
        status: None,
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
