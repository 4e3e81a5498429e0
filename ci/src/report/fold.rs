//! Events into a report, one at a time. Pure: the same events give the same report, live and when told again.

use std::time::Duration;

use images::{BuildEvent, BuiltImage};
use jiff::Timestamp;
use kind::ClusterEvent;
use manifests::DeployEvent;
use manifests::event::Change;

use super::{
    ArchitectureRow, Attempt, ClusterReport, Compilation, ComponentReport, ImageReport, Report, Span,
    StageReport, State, TestReport, TierReport, Warning,
};
use crate::event::{
    Event, Outcome, PlannedTier, PushEvent, Record, RunEvent, Stage, StageEvent, TestId, TestState, TierEvent,
};

impl Report {
    /// Adds an event.
    pub fn add(&mut self, record: &Record) {
        let Record { at, event } = record;
        self.began.get_or_insert(*at);
        self.ended = Some(*at);
        match event {
            Event::Run(event) => self.add_run(event),
            Event::Stage(event) => self.add_stage(*at, event),
            Event::Build(event) => self.add_build(event),
            Event::Push(event) => self.add_push(event),
            Event::Cluster(event) => self.add_cluster(event),
            Event::Deploy(event) => self.add_deploy(*at, event),
            Event::Tier(event) => self.add_tier(*at, event),
        }
    }

    fn add_run(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Started(started) => self.run = Some(started.clone()),
            RunEvent::Planned { stages, tiers, left_out } => {
                self.left_out = left_out.clone();
                for stage in stages {
                    self.stage(*stage);
                }
                for PlannedTier { name, title, needs, tests, cluster } in tiers {
                    let tier = self.tier(name);
                    tier.title = title.clone();
                    tier.needs = needs.clone();
                    tier.has_tests = *tests;
                    tier.on_cluster = *cluster;
                }
            }
            RunEvent::ClusterChosen { provider, reason } => {
                let cluster = self.cluster();
                cluster.provider = provider.clone();
                cluster.reason = reason.clone();
            }
            RunEvent::NodesKnown { architecture } => self.cluster().architecture = Some(architecture.clone()),
            RunEvent::Diagnosed(diagnosis) => self.diagnoses.push(diagnosis.clone()),
            RunEvent::Note { message } => self.notes.push(message.clone()),
            RunEvent::Warning { message, hint } => {
                self.warnings.push(Warning { message: message.clone(), hint: hint.clone() });
            }
            RunEvent::Coverage { requirements } => self.coverage = requirements.clone(),
            RunEvent::Finished { verdict } => {
                self.verdict = Some(*verdict);
                let states = self.stages.iter_mut().map(|stage| &mut stage.state);
                for state in states.chain(self.tiers.iter_mut().map(|tier| &mut tier.state)) {
                    if matches!(state, State::Waiting | State::Running) {
                        *state = State::NotRun;
                    }
                }
            }
        }
    }

    fn add_stage(&mut self, at: Timestamp, event: &StageEvent) {
        match event {
            StageEvent::Started { stage } => {
                let stage = self.stage(*stage);
                stage.state = State::Running;
                stage.span.began = Some(at);
            }
            StageEvent::Finished { stage, took } => {
                let stage = self.stage(*stage);
                stage.state = State::Passed;
                stage.span.took = Some(*took);
            }
            StageEvent::Failed { stage, took, problem } => {
                let stage = self.stage(*stage);
                stage.state = State::Failed;
                stage.span.took = Some(*took);
                stage.problem = Some(problem.clone());
                self.compilations.iter_mut().for_each(|compilation| compilation.running = false);
            }
            StageEvent::Reused { stage, reason } => {
                let stage = self.stage(*stage);
                stage.state = State::Reused;
                stage.reason = Some(reason.clone());
            }
        }
    }

    fn add_build(&mut self, event: &BuildEvent) {
        match event {
            BuildEvent::CompileStarted { platform, .. } => {
                let compilation = self.compilation(&platform.to_string());
                compilation.running = true;
                compilation.progress = None;
                compilation.latest = None;
            }
            BuildEvent::Progress { platform, done, total } => {
                self.compilation(&platform.to_string()).progress = Some((*done, *total));
            }
            BuildEvent::Compiled { platform, package, fresh } => {
                let compilation = self.compilation(&platform.to_string());
                if !fresh {
                    compilation.latest = Some(package.clone());
                    compilation.compiled += 1;
                }
            }
            BuildEvent::CompileFinished { platform, compiled: _, duration } => {
                let compilation = self.compilation(&platform.to_string());
                compilation.running = false;
                compilation.took += *duration;
            }
            BuildEvent::Preparing { platform, what } => {
                let compilation = self.compilation(&platform.to_string());
                compilation.running = true;
                compilation.latest = Some(what.clone());
            }
            BuildEvent::CompilerLine { .. } | BuildEvent::Assembling { .. } => {}
            BuildEvent::Built(image) => self.add_image(image),
        }
    }

    fn add_image(&mut self, image: &BuiltImage) {
        let BuiltImage { name, index, manifests, proof, cached, attestations: _, seconds: _ } = image;
        self.images.push(ImageReport {
            name: name.clone(),
            digest: index.digest.to_string(),
            platforms: manifests.iter().map(|manifest| manifest.platform.clone()).collect(),
            bytes: manifests.iter().map(|manifest| manifest.layer_bytes).sum(),
            cached: *cached,
            reference: None,
            sent: None,
        });
        self.architecture.extend(proof.iter().map(|row| ArchitectureRow {
            image: row.image.clone(),
            platform: row.platform.clone(),
            file: row.file.clone(),
            machine: row.machine.clone(),
            linkage: row.linkage.clone(),
            boot: row.boot.clone(),
        }));
    }

    fn add_push(&mut self, event: &PushEvent) {
        match event {
            PushEvent::RegistryReady { .. } => {}
            PushEvent::Pushed { image, reference, bytes, took: _ } => {
                if let Some(report) = self.images.iter_mut().find(|report| report.name == *image) {
                    report.reference = Some(reference.clone());
                    report.sent = Some(*bytes);
                }
            }
        }
    }

    fn add_cluster(&mut self, event: &ClusterEvent) {
        match event {
            ClusterEvent::Reusing { server, .. } => self.cluster().server = Some(server.clone()),
            ClusterEvent::Ready { server, took } => {
                let cluster = self.cluster();
                cluster.server = Some(server.clone());
                cluster.took = Some(*took);
            }
            ClusterEvent::CollectedLogs { path } => self.cluster().logs = Some(path.clone()),
            ClusterEvent::Stale { .. }
            | ClusterEvent::Ignored { .. }
            | ClusterEvent::Starting { .. }
            | ClusterEvent::Command { .. }
            | ClusterEvent::Stopping { .. }
            | ClusterEvent::Stopped { .. } => {}
        }
    }

    fn add_deploy(&mut self, at: Timestamp, event: &DeployEvent) {
        match event {
            DeployEvent::Applying { component, objects } => {
                let component = self.component(component);
                component.objects = *objects;
                component.span.began = Some(at);
            }
            DeployEvent::Applied { component, change, .. } => {
                if *change != Change::Unchanged {
                    self.component(component).changed += 1;
                }
            }
            DeployEvent::Retrying { component, object, reason } => {
                self.component(component).waiting = Some(format!("{object}: {reason}"));
            }
            DeployEvent::Waiting { component, object, message } => {
                self.component(component).waiting = Some(format!("{object}: {message}"));
            }
            DeployEvent::Ready { component, took } => {
                let component = self.component(component);
                component.ready = true;
                component.waiting = None;
                let since_applied = component.span.began.map(|began| at.duration_since(began).unsigned_abs());
                component.span.took = Some(since_applied.unwrap_or(*took));
            }
            DeployEvent::Pruned { .. } => {}
        }
    }

    fn add_tier(&mut self, at: Timestamp, event: &TierEvent) {
        match event {
            TierEvent::Started { tier } => {
                let tier = self.tier(tier);
                tier.state = State::Running;
                tier.span.began = Some(at);
            }
            TierEvent::Found { tier, suite, tests } => {
                let tier = self.tier(tier);
                for name in tests {
                    tier.test(&TestId { suite: suite.clone(), name: name.clone() });
                }
            }
            TierEvent::TestFinished { tier, test, outcome, took, output } => {
                let test = self.tier(tier).test(test);
                test.attempts.push(Attempt {
                    at,
                    outcome: outcome.clone(),
                    took: *took,
                    output: output.clone(),
                });
                test.state = state(&test.attempts);
            }
            TierEvent::Passed { tier, took } => {
                let tier = self.tier(tier);
                tier.state = State::Passed;
                tier.span.took = Some(*took);
            }
            TierEvent::Failed { tier, took, problem } => {
                let tier = self.tier(tier);
                tier.state = State::Failed;
                tier.span.took = Some(*took);
                tier.problem = Some(problem.clone());
            }
            TierEvent::Blocked { tier, reason } => {
                let tier = self.tier(tier);
                tier.state = State::Blocked;
                tier.reason = Some(reason.clone());
            }
            TierEvent::Skipped { tier, reason } => {
                let tier = self.tier(tier);
                tier.state = State::Skipped;
                tier.reason = Some(reason.clone());
            }
            TierEvent::NotRun { tier, reason } => {
                let tier = self.tier(tier);
                tier.state = State::NotRun;
                tier.reason = Some(reason.clone());
            }
        }
    }

    fn stage(&mut self, stage: Stage) -> &mut StageReport {
        let new = || StageReport {
            stage,
            state: State::Waiting,
            span: Span::default(),
            problem: None,
            reason: None,
        };
        found_or_new(&mut self.stages, |report| report.stage == stage, new)
    }

    fn tier(&mut self, name: &str) -> &mut TierReport {
        let new = || TierReport {
            name: name.to_string(),
            title: name.to_string(),
            needs: Vec::new(),
            has_tests: false,
            on_cluster: false,
            state: State::Waiting,
            span: Span::default(),
            reason: None,
            problem: None,
            tests: Default::default(),
        };
        found_or_new(&mut self.tiers, |tier| tier.name == name, new)
    }

    fn compilation(&mut self, platform: &str) -> &mut Compilation {
        let new = || Compilation {
            platform: platform.to_string(),
            running: false,
            progress: None,
            latest: None,
            compiled: 0,
            took: Duration::ZERO,
        };
        found_or_new(&mut self.compilations, |compilation| compilation.platform == platform, new)
    }

    fn component(&mut self, name: &str) -> &mut ComponentReport {
        let new = || ComponentReport {
            name: name.to_string(),
            objects: 0,
            changed: 0,
            waiting: None,
            ready: false,
            span: Span::default(),
        };
        found_or_new(&mut self.components, |component| component.name == name, new)
    }

    fn cluster(&mut self) -> &mut ClusterReport {
        self.cluster.get_or_insert_default()
    }
}

impl TierReport {
    fn test(&mut self, test: &TestId) -> &mut TestReport {
        self.has_tests = true;
        self.tests.entry(test.clone()).or_insert_with(|| TestReport {
            test: test.clone(),
            state: TestState::NotRun,
            attempts: Vec::new(),
        })
    }
}

/// Lists of a run are short and keep their order.
fn found_or_new<T>(list: &mut Vec<T>, wanted: impl Fn(&T) -> bool, new: impl FnOnce() -> T) -> &mut T {
    let position = list.iter().position(wanted).unwrap_or_else(|| {
        list.push(new());
        list.len() - 1
    });
    &mut list[position]
}

/// The last attempt decides; a pass after a failure is flaky.
fn state(attempts: &[Attempt]) -> TestState {
    match attempts.last().map(|attempt| &attempt.outcome) {
        None => TestState::NotRun,
        Some(Outcome::Failed) => TestState::Failed,
        Some(Outcome::Skipped { .. }) => TestState::Skipped,
        Some(Outcome::Passed) if attempts.iter().any(|attempt| attempt.outcome == Outcome::Failed) => {
            TestState::Flaky
        }
        Some(Outcome::Passed) => TestState::Passed,
    }
}
