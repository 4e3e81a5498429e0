//! The ladder: tier by tier, each when those it needs have passed, each within its time, each with its gate.

mod checks;
pub mod gate;
pub mod libtest;
mod suite;
mod suites;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use images::BuiltImage;
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};

use crate::build::build;
use crate::compile::{TestBinaries, TestBinary};
use crate::event::{Event, EventSink, Problem, RunEvent, Stage, StageEvent, TestId, TestState, TierEvent};
use crate::exit::{Failure, Reason};
use crate::plan::{Plan, PlannedTier, Skipped};
use crate::process;
use crate::run::Run;
use crate::site::{IMAGES, Site};
use crate::spec::{Selector, Tests, Work, with_images};
use gate::State;
use suite::Settings;

/// The tiers of a run and what came out of them so far.
#[derive(Debug)]
pub struct Ladder<'a> {
    plan: &'a Plan,
    run: &'a Run,
    events: &'a EventSink,
    /// When everything has to be over.
    deadline: Instant,
    states: BTreeMap<String, State>,
    /// Names of the tiers under way.
    under_way: Vec<&'a str>,
    binaries: TestBinaries,
    images: Vec<BuiltImage>,
    results: BTreeMap<TestId, TestState>,
    /// The first thing that failed.
    failure: Option<Reason>,
}

impl<'a> Ladder<'a> {
    /// Nothing has happened yet.
    pub fn new(plan: &'a Plan, run: &'a Run, events: &'a EventSink) -> Ladder<'a> {
        Ladder {
            plan,
            run,
            events,
            deadline: Instant::now() + plan.deadline,
            states: BTreeMap::new(),
            under_way: Vec::new(),
            binaries: TestBinaries::default(),
            images: Vec::new(),
            results: BTreeMap::new(),
            failure: None,
        }
    }

    /// Climbs these tiers in their order; tiers of tests that follow one another and need the same run side by side.
    pub async fn climb(&mut self, tiers: &'a [PlannedTier], site: Option<&Site>) {
        for group in tiers.chunk_by(PlannedTier::runs_beside) {
            let mut running = FuturesUnordered::new();
            for tier in group {
                if let Some(tests) = self.begin(tier, site).await {
                    running.push(tests);
                }
            }
            while let Some((tier, started, results, outcome)) = running.next().await {
                self.results.extend(results);
                self.end(tier, started, outcome);
            }
        }
    }

    /// Begins a tier, if it may. What is no test is done at once; tests are handed back, compiled, to be run.
    async fn begin(
        &mut self,
        tier: &'a PlannedTier,
        site: Option<&Site>,
    ) -> Option<
        impl Future<Output = (&'a PlannedTier, Instant, suites::Results, Result<(), Failure>)> + use<'a>,
    > {
        let name = tier.name.clone();
        if let Some(Skipped { reason, hint }) = tier.skipped.clone() {
            self.states.insert(name.clone(), State::Skipped);
            let message = format!("the tier `{name}` was skipped: {reason}");
            self.tell(TierEvent::Skipped { tier: name, reason });
            self.events.emit(Event::Run(RunEvent::Warning { message, hint: Some(hint) }));
            return None;
        }
        let obstacle = gate::obstacle(tier, &self.states);
        let no_site = (tier.cluster && site.is_none()).then(|| "there is nothing deployed".to_owned());
        if let Some(reason) = obstacle.or(no_site) {
            self.states.insert(name.clone(), State::Blocked);
            self.tell(TierEvent::Blocked { tier: name, reason });
            return None;
        }
        self.under_way.push(&tier.name);
        self.tell(TierEvent::Started { tier: name });
        let started = Instant::now();
        let deadline = self.deadline.min(started + tier.deadline);
        let outcome = match &tier.work {
            Work::Tests(tests) => match self.compiled(&tests.tests, tier.deadline, deadline).await {
                Ok(binaries) => {
                    let settings = self.settings(tier, tests, site, deadline);
                    // Tests wait for more than the processor.
                    let at_once = 4 * self.plan.cores;
                    let threshold = tier.threshold;
                    return Some(async move {
                        let (results, outcome) = suites::run(&settings, &binaries, threshold, at_once).await;
                        (tier, started, results, outcome)
                    });
                }
                Err(failure) => Err(failure),
            },
            Work::Compile => self.compile(tier.deadline, deadline).await,
            Work::Compiles { tests } => self.compiled(tests, tier.deadline, deadline).await.map(drop),
            Work::Architecture => checks::architecture(&self.images),
            Work::Policy => checks::policy(self.plan.provenance.as_ref(), self.events),
            Work::Requirements => {
                checks::requirements(self.plan.requirements.as_ref(), &self.results, self.events)
            }
            Work::Command { command, environment } => {
                let environment = self.environment(environment, site);
                run_command(&self.plan.code.root, command, environment, deadline).await
            }
        };
        self.end(tier, started, outcome);
        None
    }

    fn end(&mut self, tier: &PlannedTier, started: Instant, outcome: Result<(), Failure>) {
        let (name, took) = (tier.name.clone(), started.elapsed());
        self.under_way.retain(|under_way| *under_way != name);
        match outcome {
            Ok(()) => {
                self.states.insert(name.clone(), State::Passed);
                self.tell(TierEvent::Passed { tier: name, took });
            }
            Err(Failure { reason, problem }) => {
                self.states.insert(name.clone(), State::Failed);
                self.failure.get_or_insert(reason);
                self.tell(TierEvent::Failed { tier: name, took, problem });
            }
        }
    }

    /// The images that were built.
    pub fn images(&self) -> &[BuiltImage] {
        &self.images
    }

    /// Something other than a tier failed.
    pub fn failed(&mut self, reason: Reason) {
        self.failure.get_or_insert(reason);
    }

    /// Says of the tiers that did not end why not.
    pub fn abandon(&mut self, reason: &str) {
        for tier in &self.plan.tiers {
            if !self.states.contains_key(&tier.name) {
                self.states.insert(tier.name.clone(), State::NotRun);
                self.tell(TierEvent::NotRun { tier: tier.name.clone(), reason: reason.to_owned() });
            }
        }
    }

    /// Names of the tiers under way.
    pub fn under_way(&self) -> &[&'a str] {
        &self.under_way
    }

    /// What failed first.
    pub fn failure(&self) -> Option<Reason> {
        self.failure
    }

    /// The stage `build`: test binaries, then the images, whose binaries are made of the same crates.
    async fn compile(&mut self, most: Duration, deadline: Instant) -> Result<(), Failure> {
        let events = self.events;
        let build = async {
            if !self.plan.code.tests.is_empty() {
                self.binaries.ensure(&self.plan.code, &self.plan.code.tests, self.events).await?;
            }
            let Some(plan) = &self.plan.images else { return Ok(()) };
            self.images = build(plan, self.events).await?;
            self.run.write_json(IMAGES, &self.images)?;
            Ok(())
        };
        let build = async { timeout_at(deadline, build).await.map_err(|_| too_long(most))? };
        stage(events, Stage::Build, build).await
    }

    async fn compiled(
        &mut self,
        selectors: &[Selector],
        most: Duration,
        deadline: Instant,
    ) -> Result<Vec<TestBinary>, Failure> {
        let compiled = self.binaries.ensure(&self.plan.code, selectors, self.events);
        let compiled = timeout_at(deadline, compiled).await.map_err(|_| too_long(most))?;
        Ok(compiled?)
    }

    fn settings(
        &self,
        tier: &'a PlannedTier,
        tests: &Tests,
        site: Option<&Site>,
        deadline: Instant,
    ) -> Settings<'a> {
        Settings {
            tier: &tier.name,
            environment: self.environment(&tests.environment, site),
            threads: tests.threads,
            retries: tests.retries,
            skip: &tier.skip,
            deadline,
            logs: self.run.file("logs").join(&tier.name),
            events: self.events,
        }
    }

    fn environment(
        &self,
        declared: &BTreeMap<String, String>,
        site: Option<&Site>,
    ) -> BTreeMap<String, String> {
        let none = BTreeMap::new();
        let references = site.map_or(&none, |site| &site.references);
        let declared = declared.iter().map(|(name, value)| (name.clone(), with_images(value, references)));
        let kubeconfig = site
            .map(|site| ("KUBECONFIG".to_owned(), site.cluster.kubeconfig.to_string_lossy().into_owned()));
        declared.chain(kubeconfig).collect()
    }

    fn tell(&self, event: TierEvent) {
        self.events.emit(Event::Tier(event));
    }
}

/// Does the work of a stage and tells about it.
pub async fn stage<T>(
    events: &EventSink,
    stage: Stage,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let started = Instant::now();
    events.emit(Event::Stage(StageEvent::Started { stage }));
    let outcome = work.await;
    let took = started.elapsed();
    events.emit(Event::Stage(match &outcome {
        Ok(_) => StageEvent::Finished { stage, took },
        Err(failure) => StageEvent::Failed { stage, took, problem: failure.problem.clone() },
    }));
    outcome
}

async fn run_command(
    root: &Path,
    words: &[String],
    environment: BTreeMap<String, String>,
    deadline: Instant,
) -> Result<(), Failure> {
    let line = words.join(" ");
    let (program, arguments) = words
        .split_first()
        .ok_or_else(|| Failure::says(Reason::Declaration, "run a command: it has no words", None))?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root).envs(environment);
    let (end, out, err) = process::output(command, deadline)
        .await
        .map_err(|error| Failure::says(Reason::Gate, format!("run `{line}`: {error}"), None))?;
    if end.is_success() {
        return Ok(());
    }
    let output = Some(format!("{out}{err}").trim().to_owned());
    let problem = Problem { message: format!("`{line}` {end}"), output, ..Problem::default() };
    Err(Failure { reason: Reason::Gate, problem })
}

fn too_long(most: Duration) -> Failure {
    let message = format!("it was not done within its deadline of {} s", most.as_secs());
    Failure::says(Reason::Gate, message, Some("raise the tier's `deadline`, or the pipeline's".to_owned()))
}
