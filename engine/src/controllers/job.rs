//! Job: runs pods until enough of them succeeded or too many failed.

mod decide;
mod tally;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;

use self::decide::{Observed, Plan, decide};
use self::tally::Tally;
use super::cache::Key;
use super::context::{Context, in_growing_batches};
use super::events::Note;
use super::pods::{controller_key, from_template};
use super::queue::{Queue, Tasks};

const COMPONENT: &str = "job-controller";

/// What is counted, by the uid of the Job.
type Tallies = Mutex<HashMap<String, Tally>>;

/// Registers the handlers and starts the workers.
pub(crate) fn start(context: &Arc<Context>, tasks: &mut Tasks) {
    let queue = Queue::new();
    let tallies: Arc<Tallies> = Arc::default();
    context.jobs.on_change({
        let (queue, tallies) = (queue.clone(), tallies.clone());
        move |change| {
            if let (None, Some(gone)) = (&change.new, &change.old) {
                tallies
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&gone.uid().unwrap_or_default());
            }
            change.latest().into_iter().for_each(|job| queue.add(Key::of(&**job)));
        }
    });
    context.pods.on_change({
        let queue = queue.clone();
        move |change| {
            change
                .latest()
                .and_then(|pod| controller_key::<Job>(&**pod))
                .into_iter()
                .for_each(|key| queue.add(key))
        }
    });
    let context = context.clone();
    tasks.work("job", 4, queue, move |key| {
        let (context, tallies) = (context.clone(), tallies.clone());
        async move { sync(&context, &tallies, key).await }
    });
}

async fn sync(context: &Context, tallies: &Tallies, key: Key) -> Result<Option<Duration>, kube::Error> {
    let Some(job) = context.jobs.cache().get(&key) else { return Ok(None) };
    if job
        .spec
        .as_ref()
        .and_then(|spec| spec.managed_by.as_deref())
        .is_some_and(|by| by != "kubernetes.io/job-controller")
    {
        return Ok(None);
    }
    let uid = job.uid().unwrap_or_default();
    let known = tallies.lock().unwrap_or_else(PoisonError::into_inner).get(&uid).cloned();
    let Plan { status, tally, create, delete, events, expire, look_again } = decide(&Observed {
        job: job.clone(),
        pods: context.pods.cache().owned_by(&uid),
        tally: known,
        now: Timestamp::now(),
    });
    if expire {
        context.delete_with(&context.jobs, &*job, DeleteParams::foreground()).await?;
        return Ok(None);
    }
    if job.status.as_ref() != Some(&status) {
        let mut update = (*job).clone();
        update.status = Some(status);
        context.replace_status(&context.jobs, &update).await?;
    }
    tallies.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, tally);
    events.into_iter().for_each(|note| context.events.record(COMPONENT, &*job, note));
    let created = in_growing_batches(vec![(); create], |()| create_pod(context, &job));
    if let Err(error) = created.await {
        let note = Note::warning("FailedCreate", format!("Error creating: {error}"));
        context.events.record(COMPONENT, &*job, note);
        return Err(error);
    }
    in_growing_batches(delete, |pod| {
        let job = &job;
        async move {
            context.delete(&context.pods, &*pod).await?;
            let note = Note::normal("SuccessfulDelete", format!("Deleted pod: {}", pod.name_any()));
            context.events.record(COMPONENT, &**job, note);
            Ok(())
        }
    })
    .await?;
    Ok(look_again)
}

async fn create_pod(context: &Context, job: &Job) -> Result<(), kube::Error> {
    let pod = context.create(&context.pods, &pod(job)).await?;
    let note = Note::normal("SuccessfulCreate", format!("Created pod: {}", pod.name_any()));
    context.events.record(COMPONENT, job, note);
    Ok(())
}

/// A pod of the Job, with the labels its selector asks for.
fn pod(job: &Job) -> Pod {
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let mut pod = from_template(job, &template);
    let (uid, name) = (job.uid().unwrap_or_default(), job.name_any());
    let labels = pod.labels_mut();
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        labels.entry(key.to_owned()).or_insert_with(|| value.clone());
    }
    pod
}
