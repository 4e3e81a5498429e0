//! CronJob: makes Jobs by the clock.

mod decide;
mod schedule;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use kube::api::DeleteParams;
use kube::{Resource, ResourceExt};

use self::decide::{Observed, Plan, decide};
use super::cache::Key;
use super::context::Context;
use super::events::Note;
use super::pods::controller_key;
use super::queue::{Queue, Tasks};

const COMPONENT: &str = "cronjob-controller";

/// Registers the handlers and starts the workers.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let queue = Queue::new();
    context.cron_jobs.on_change({
        let queue = queue.clone();
        move |change| change.new.iter().for_each(|cron_job| queue.add(Key::of(&**cron_job)))
    });
    context.jobs.on_change({
        let queue = queue.clone();
        move |change| {
            let owner = change.latest().and_then(|job: &Arc<Job>| controller_key::<CronJob>(&**job));
            owner.into_iter().for_each(|key| queue.add(key));
        }
    });
    let context = context.clone();
    tasks.work("cronjob", 2, queue, move |key| {
        let context = context.clone();
        async move { sync(&context, key).await }
    });
}

async fn sync(context: &Context, key: Key) -> Result<Option<Duration>, kube::Error> {
    let Some(cron_job) = context.cron_jobs.cache().get(&key) else { return Ok(None) };
    let Plan { delete, create, mut status, events, look_again } = decide(&Observed {
        jobs: context.jobs.cache().owned_by(&cron_job.uid().unwrap_or_default()),
        cron_job: cron_job.clone(),
        now: Timestamp::now(),
    });
    events.into_iter().for_each(|note| context.events.record(COMPONENT, &*cron_job, note));
    for job in delete {
        context.delete_with(&context.jobs, &*job, DeleteParams::background()).await?;
        let note = Note::normal("SuccessfulDelete", format!("Deleted job {}", job.name_any()));
        context.events.record(COMPONENT, &*cron_job, note);
    }
    if let Some(job) = create {
        match context.create(&context.jobs, &*job).await {
            Ok(created) => {
                status.active.get_or_insert_default().push(created.object_ref(&()));
                let note = Note::normal("SuccessfulCreate", format!("Created job {}", job.name_any()));
                context.events.record(COMPONENT, &*cron_job, note);
            }
            // Made by an earlier attempt, whose status was not written; the watch will bring it.
            Err(kube::Error::Api(answer)) if answer.is_already_exists() => {}
            Err(error) => {
                let note = Note::warning("FailedCreate", format!("Error creating job: {error}"));
                context.events.record(COMPONENT, &*cron_job, note);
                return Err(error);
            }
        }
    }
    if cron_job.status.as_ref() != Some(&status) {
        let mut update = (*cron_job).clone();
        update.status = Some(status);
        context.replace_status(&context.cron_jobs, &update).await?;
    }
    Ok(look_again)
}
