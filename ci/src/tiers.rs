//! The ladder: tier by tier, each when those it needs have passed, each within its time, each with its gate.

mod checks;
pub mod gate;
pub mod libtest;
mod suite;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use images::BuiltImage;
use tokio::process::Command;
use tokio::time::{Instant, timeout_at};

use crate::build::build;
use crate::compile::TestBinaries;
use crate::event::{Event, EventSink, Problem, Stage, StageEvent, TestId, TestState, TierEvent};
use crate::exit::{Failure, Reason};
use crate::plan::{Plan, PlannedTier};
use crate::process;
use crate::report::Counts;
use crate::run::Run;
use crate::site::{IMAGES, Site};
use crate::spec::{Tests, Work, with_images};
use gate::State;

/// The tiers of a run and what came out of them so far.
#[derive(Debug)]
pub struct Ladder<'a> {
    plan: &'a Plan,
    run: &'a Run,
    events: &'a EventSink,
    /// When everything has to be over.
    deadline: Instant,
    states: BTreeMap<String, State>,
    /// The tier under way.
    current: Option<&'a PlannedTier>,
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
            current: None,
            binaries: TestBinaries::default(),
            images: Vec::new(),
            results: BTreeMap::new(),
            failure: None,
        }
    }

    /// Climbs these tiers, in their order.
    pub async fn climb(&mut self, tiers: &'a [PlannedTier], site: Option<&Site>) {
        for tier in tiers {
            let name = tier.name.clone();
            let obstacle = gate::obstacle(tier, &self.states);
            let no_site = (tier.cluster && site.is_none()).then(|| "there is nothing deployed".to_owned());
            if let Some(reason) = obstacle.or(no_site) {
                self.states.insert(name.clone(), State::Blocked);
                self.tell(TierEvent::Blocked { tier: name, reason });
                continue;
            }
            self.current = Some(tier);
            self.tell(TierEvent::Started { tier: name.clone() });
            let started = Instant::now();
            let outcome = self.work(tier, site).await;
            let took = started.elapsed();
            self.current = None;
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

    /// The tier under way.
    pub fn under_way(&self) -> Option<&str> {
        self.current.map(|tier| tier.name.as_str())
    }

    /// What failed first.
    pub fn failure(&self) -> Option<Reason> {
        self.failure
    }

    async fn work(&mut self, tier: &PlannedTier, site: Option<&Site>) -> Result<(), Failure> {
        let deadline = self.deadline.min(Instant::now() + tier.deadline);
        match &tier.work {
            Work::Compile => self.compile(tier.deadline, deadline).await,
            Work::Tests(tests) => self.tests(tier, tests, site, deadline).await,
            Work::Compiles { tests } => {
                let compiled = self.binaries.ensure(&self.plan.code, tests, self.events);
                let compiled = timeout_at(deadline, compiled).await.map_err(|_| too_long(tier.deadline))?;
                compiled?;
                Ok(())
            }
            Work::Architecture => checks::architecture(&self.images),
            Work::Policy => checks::policy(self.plan.provenance.as_ref(), self.events),
            Work::Requirements => {
                checks::requirements(self.plan.requirements.as_ref(), &self.results, self.events)
            }
            Work::Command { command, environment } => {
                let environment = self.environment(environment, site);
                run_command(&self.plan.code.root, command, environment, deadline).await
            }
        }
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

    async fn tests(
        &mut self,
        tier: &PlannedTier,
        tests: &Tests,
        site: Option<&Site>,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let compiled = self.binaries.ensure(&self.plan.code, &tests.tests, self.events);
        let binaries = timeout_at(deadline, compiled).await.map_err(|_| too_long(tier.deadline))??;
        let settings = suite::Settings {
            tier: &tier.name,
            environment: self.environment(&tests.environment, site),
            threads: tests.threads,
            retries: tests.retries,
            skip: &tier.skip,
            deadline,
            logs: &self.run.file("logs").join(&tier.name),
            events: self.events,
        };
        let suites = binaries.iter().map(|binary| suite::run(&settings, binary));
        // Tests wait for more than the processor.
        let at_once = 4 * self.plan.cores;
        let all: Vec<suite::Ran> = futures::stream::iter(suites).buffer_unordered(at_once).collect().await;
        let mut counts = BTreeMap::new();
        let mut problem = Problem::default();
        for suite::Ran { results, trouble, output } in all {
            counts.extend(results);
            problem.causes.extend(trouble);
            if problem.output.is_none() {
                problem.output = output;
            }
        }
        let refusal = gate::refusal(&counts.values().copied().collect::<Counts>(), tier.threshold);
        self.results.extend(counts);
        problem.message = match refusal {
            Some(refusal) => refusal,
            None if problem.causes.is_empty() => return Ok(()),
            None => "a test binary did not end well".to_owned(),
        };
        problem.hint = Some(format!("what the tests printed is in `{}`", settings.logs.display()));
        Err(Failure { reason: Reason::Gate, problem })
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
