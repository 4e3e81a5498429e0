//! From declaration to verdict: pipelines, plan, tiers, gates, events and reports.
//!
//! [`run`] is the story. Each stage leaves its files in the run's folder, so that it can be looked at with other people's tools, and so
//! that another run can begin after it.

pub mod declaration;
pub mod facts;
pub mod plan;
pub mod spec;

pub mod bench;
pub mod build;
pub mod compile;
pub mod evidence;
pub mod registry;
pub mod requirements;
pub mod site;
pub mod tiers;

pub mod event;
pub mod exit;
pub mod interrupt;
pub mod process;
pub mod pulled;
pub mod report;
pub mod run;
pub mod workflows;

use std::time::Duration;

use images::BuiltImage;
use tokio::time::{Instant, sleep_until};

use event::{Event, EventSink, PlannedTier, RunEvent, Stage, StageEvent, Verdict};
use exit::{Failure, Reason};
use interrupt::Interrupt;
use plan::Plan;
use run::Run;
use site::Site;
use tiers::{Ladder, stage};

/// Goes through a plan: build → (push ∥ cluster up → deploy) ∥ the tiers that need no cluster → the tiers on the cluster → down.
///
/// To be awaited on the main thread: what it starts ends when that thread ends.
pub async fn run(
    plan: &Plan,
    run: &Run,
    events: &EventSink,
    interrupt: &mut Interrupt,
) -> Result<(), Reason> {
    let mut ladder = Ladder::new(plan, run, events);
    let too_late = Instant::now() + plan.deadline;
    let ended = match announce(plan, run, events) {
        Err(failure) => {
            events.emit(Event::Run(RunEvent::Warning { message: failure.problem.message, hint: None }));
            Err(failure.reason)
        }
        Ok(()) => tokio::select! {
            () = go(plan, run, events, &mut ladder) => ladder.failure().map_or(Ok(()), Err),
            () = interrupt.comes() => {
                ladder.abandon("the run was interrupted");
                Err(Reason::Interrupted)
            }
            () = sleep_until(too_late) => {
                let what = match ladder.under_way() {
                    [] => String::new(),
                    tiers => format!(" in `{}`", tiers.join("`, `")),
                };
                let message = format!("the pipeline's {} s were over{what}", plan.deadline.as_secs());
                events.emit(Event::Run(RunEvent::Warning { message, hint: None }));
                ladder.abandon("the pipeline's time was over");
                Err(Reason::Gate)
            }
        },
    };
    let verdict = match ended {
        Ok(()) => Verdict::Passed,
        Err(Reason::Interrupted) => Verdict::Interrupted,
        Err(_) => Verdict::Failed,
    };
    // Somebody who asks a second time does not want to wait.
    tokio::select! {
        () = leave(plan, events) => {}
        () = interrupt.comes() => {}
    }
    events.emit(Event::Run(RunEvent::Finished { verdict }));
    ended
}

/// Says what will be done, and keeps it.
fn announce(plan: &Plan, run: &Run, events: &EventSink) -> Result<(), Failure> {
    run.write_json("plan.json", plan)?;
    events.emit(Event::Run(RunEvent::Planned {
        stages: plan.stages.clone(),
        tiers: plan.tiers.iter().map(announced).collect(),
        left_out: plan.left_out.clone(),
    }));
    if let Some(cluster) = &plan.cluster {
        let (provider, reason) = (cluster.provider.to_string(), cluster.reason.clone());
        events.emit(Event::Run(RunEvent::ClusterChosen { provider, reason }));
    }
    Ok(())
}

fn announced(tier: &plan::PlannedTier) -> PlannedTier {
    PlannedTier {
        name: tier.name.clone(),
        title: tier.title.clone(),
        needs: tier.needs.clone(),
        tests: tier.work.has_tests(),
        cluster: tier.cluster,
    }
}

async fn go<'a>(plan: &'a Plan, run: &'a Run, events: &'a EventSink, ladder: &mut Ladder<'a>) {
    let [build, beside, on_cluster] = plan.phases();
    ladder.climb(build, None).await;
    let Some(cluster) = plan.cluster.as_ref().filter(|_| ladder.failure().is_none()) else {
        ladder.climb(beside, None).await;
        ladder.climb(on_cluster, None).await;
        return;
    };
    // Tests mostly compute and a cluster mostly waits, so they do not get into each other's way.
    let built = ladder.images().to_vec();
    let (standing, ()) = tokio::join!(stand(plan, cluster, run, events, &built), ladder.climb(beside, None));
    let Standing { site, failure } = standing;
    if let Some(reason) = failure {
        ladder.failed(reason);
    }
    ladder.climb(on_cluster, site.as_ref().filter(|_| failure.is_none())).await;
    match site {
        Some(site) => {
            if ladder.failure().is_some() {
                evidence::collect(&site, cluster, run, events).await;
            }
            if site::stays(cluster) {
                events.emit(Event::Run(RunEvent::Note { message: site::how_to_leave(cluster) }));
            } else if let Err(failure) =
                stage(events, Stage::Down, site::take_down(&cluster.directory, events)).await
            {
                ladder.failed(failure.reason);
            }
            site.close().await;
        }
        None => evidence::cluster_log(cluster, run, events).await,
    }
}

/// How far the product came.
struct Standing {
    /// The cluster, also when the product could not be deployed to it: that is where the reason is.
    site: Option<Site>,
    failure: Option<Reason>,
}

/// A cluster, and the product on it.
async fn stand(
    plan: &Plan,
    cluster: &plan::Cluster,
    run: &Run,
    events: &EventSink,
    built: &[BuiltImage],
) -> Standing {
    match stand_up(plan, cluster, run, events, built).await {
        Err(failure) => Standing { site: None, failure: Some(failure.reason) },
        Ok(site) => {
            let deployed = deploy(plan, &site, run, events).await;
            Standing { site: Some(site), failure: deployed.err().map(|failure| failure.reason) }
        }
    }
}

/// A cluster that can pull the images: they are pushed while it comes up.
async fn stand_up(
    plan: &Plan,
    cluster: &plan::Cluster,
    run: &Run,
    events: &EventSink,
    built: &[BuiltImage],
) -> Result<Site, Failure> {
    if plan.from == Some(Stage::Deploy) {
        let reason = format!("--from deploy: the cluster `{}` that an earlier run left up", cluster.name);
        events.emit(Event::Stage(StageEvent::Reused { stage: Stage::Cluster, reason }));
        return stage(events, Stage::Cluster, site::continue_with(plan, cluster, run, events)).await;
    }
    let prepare = async {
        let images = match plan.images {
            Some(_) => built.to_vec(),
            None => site::images_before(run)?,
        };
        Ok((images, site::open_registry(plan, cluster).await?))
    };
    let (images, registry) = prepare.await.inspect_err(|failure: &Failure| {
        let (stage, took, problem) = (Stage::Push, Duration::ZERO, failure.problem.clone());
        events.emit(Event::Stage(StageEvent::Failed { stage, took, problem }));
    })?;
    let push = site::push_images(plan, &images, registry.as_ref(), events);
    let up = site::bring_up(cluster, registry.as_ref(), &images, events);
    let (references, (up, client)) =
        tokio::try_join!(stage(events, Stage::Push, push), stage(events, Stage::Cluster, up))?;
    site::keep(run, &references, &up)?;
    Ok(Site::new(up, client, references, registry))
}

/// Every component with the final images, applied once, and ready.
pub async fn deploy(plan: &Plan, site: &Site, run: &Run, events: &EventSink) -> Result<(), Failure> {
    let Some(deploy) = &plan.deploy else { return Ok(()) };
    let work = async {
        let rendered = site::render(deploy, &site.references, run)?;
        site::deploy(&site.client, &rendered, run, events).await
    };
    stage(events, Stage::Deploy, work).await
}

/// Leaves nothing behind that was not asked for, however the run ended.
async fn leave(plan: &Plan, events: &EventSink) {
    let Some(cluster) = plan.cluster.as_ref().filter(|cluster| !site::stays(cluster)) else { return };
    if let Err(failure) = site::take_down(&cluster.directory, events).await {
        let (message, hint) = (failure.problem.message, failure.problem.hint);
        events.emit(Event::Run(RunEvent::Warning { message, hint }));
    }
}
