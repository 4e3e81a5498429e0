//! Runs for the tests of all reporters: one that passes, and one in which everything happens that can.

use std::time::Duration;

use images::document::Descriptor;
use images::proof::{Boot, Linkage, ProofRow, Verdict as Proof};
use images::{BuildEvent, BuiltImage, BuiltManifest, Digest, Platform};
use jiff::{SignedDuration, Timestamp};
use kind::ClusterEvent;
use manifests::diagnose::Cause;
use manifests::event::Change;
use manifests::{DeployEvent, Diagnosis, ObjectId};

use super::Report;
use crate::event::{
    Event, LeftOut, Outcome, PlannedTier, Problem, PushEvent, Record, RunEvent, Stage, StageEvent, Started,
    TestId, TestState, TierEvent, Verdict,
};
use crate::requirements::{Covered, CoveringTest};

/// The report of some events.
pub(super) fn fold(records: &[Record]) -> Report {
    let mut report = Report::default();
    records.iter().for_each(|record| report.add(record));
    report
}

/// Events and a clock that only moves when told to.
struct Run {
    now: Timestamp,
    records: Vec<Record>,
}

impl Run {
    fn begin() -> Run {
        let now = Timestamp::from_second(1_767_973_267).unwrap();
        let mut run = Run { now, records: Vec::new() };
        run.at(
            0,
            RunEvent::Started(Started {
                run: "2026-01-09T15-41-07".into(),
                pipeline: "e2e".into(),
                command: "cargo xtask e2e".into(),
                directory: "target/slipway/2026-01-09T15-41-07".into(),
                commit: Some("1a2b3c4d5e6f+changes".into()),
                platform: "linux/amd64".into(),
                cores: 2,
            }),
        );
        run
    }

    /// Something happens so many milliseconds after what was before.
    fn at(&mut self, milliseconds: i64, event: impl Into<Event>) {
        self.now += SignedDuration::from_millis(milliseconds);
        self.records.push(Record { at: self.now, event: event.into() });
    }
}

macro_rules! into_event {
    ($($about:ident($event:ident)),*) => {$(
        impl From<$event> for Event {
            fn from(event: $event) -> Event {
                Event::$about(event)
            }
        }
    )*};
}
into_event!(
    Run(RunEvent),
    Stage(StageEvent),
    Build(BuildEvent),
    Push(PushEvent),
    Cluster(ClusterEvent),
    Deploy(DeployEvent),
    Tier(TierEvent)
);

fn test(text: &str) -> TestId {
    let (suite, name) = text.split_once(' ').unwrap();
    TestId { suite: suite.into(), name: name.into() }
}

fn tier(name: &str, title: &str, needs: &[&str], tests: bool, cluster: bool) -> PlannedTier {
    PlannedTier {
        name: name.into(),
        title: title.into(),
        needs: needs.iter().map(|need| need.to_string()).collect(),
        tests,
        cluster,
    }
}

fn planned(left_out: Vec<LeftOut>) -> RunEvent {
    RunEvent::Planned {
        stages: vec![Stage::Build, Stage::Push, Stage::Cluster, Stage::Deploy],
        tiers: vec![
            tier("build", "Build", &[], false, false),
            tier("unit", "Unit Tests", &["build"], true, false),
            tier("e2e-runtime", "E2E Runtime", &["unit"], true, true),
            tier("requirements", "Requirements", &["e2e-runtime"], false, false),
        ],
        left_out,
    }
}

fn image() -> BuiltImage {
    let descriptor = Descriptor::new("application/vnd.oci.image.index.v1+json", Digest::of(b"kettle"), 6);
    let row = |platform: &str, boot: Boot| ProofRow {
        image: "kettle".into(),
        platform: platform.into(),
        file: "/usr/local/bin/kettle".into(),
        machine: platform.rsplit('/').next().unwrap().into(),
        bits: 64,
        linkage: Linkage::Static,
        verdict: Proof::Proven,
        boot,
    };
    let manifest = |platform: &str, layer_bytes: u64| BuiltManifest {
        platform: platform.into(),
        manifest: descriptor.clone(),
        layer_bytes,
    };
    BuiltImage {
        name: "kettle".into(),
        index: descriptor.clone(),
        manifests: vec![manifest("linux/amd64", 4_051_200), manifest("linux/arm64", 4_049_100)],
        attestations: Vec::new(),
        proof: vec![
            row("linux/amd64", Boot::Native { answer: "kettle 0.0.0".into() }),
            row("linux/arm64", Boot::NotRun { reason: "no qemu-aarch64-static on PATH".into() }),
        ],
        cached: false,
        seconds: 0.31,
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

impl Run {
    fn stage(&mut self, stage: Stage, during: impl FnOnce(&mut Run)) {
        let began = self.now;
        self.at(1, StageEvent::Started { stage });
        during(self);
        let took = self.now.duration_since(began).unsigned_abs();
        self.at(0, StageEvent::Finished { stage, took });
    }

    fn tier(&mut self, tier: &str, during: impl FnOnce(&mut Run)) {
        self.at(1, TierEvent::Started { tier: tier.into() });
        during(self);
    }

    fn ended(&mut self, tier: &str, name: &str, outcome: Outcome, took: f64, output: Option<&str>) {
        self.at(
            (took * 1000.0) as i64,
            TierEvent::TestFinished {
                tier: tier.into(),
                test: test(name),
                outcome,
                took: Some(seconds(took)),
                output: output.map(str::to_string),
            },
        );
    }

    fn found(&mut self, tier: &str, suite: &str, tests: &[&str]) {
        let tests = tests.iter().map(|test| test.to_string()).collect();
        self.at(0, TierEvent::Found { tier: tier.into(), suite: suite.into(), tests });
    }

    /// Compile, assemble, push; a cluster; a component that is applied.
    fn up_to_deploy(&mut self) {
        let platform: Platform = "linux/amd64".parse().unwrap();
        self.at(1, TierEvent::Started { tier: "build".into() });
        self.stage(Stage::Build, |run| {
            run.at(
                20,
                BuildEvent::CompileStarted {
                    platform: platform.clone(),
                    binaries: vec!["kettle".into()],
                    command: "cargo build --workspace --bin kettle".into(),
                },
            );
            run.at(2_000, BuildEvent::Progress { platform: platform.clone(), done: 60, total: 241 });
            run.at(
                40_000,
                BuildEvent::Compiled { platform: platform.clone(), package: "kettle".into(), fresh: false },
            );
            run.at(20, BuildEvent::CompileFinished { platform, compiled: 241, duration: seconds(42.0) });
            run.at(0, TierEvent::Passed { tier: "build".into(), took: seconds(42.0) });
            run.at(310, BuildEvent::Built(Box::new(image())));
        });
        self.stage(Stage::Push, |run| {
            run.at(
                40,
                PushEvent::Pushed {
                    image: "kettle".into(),
                    reference: format!("127.0.0.1:40001/kettle@{}", Digest::of(b"kettle")),
                    bytes: 8_100_300,
                    took: seconds(0.04),
                },
            );
        });
        self.stage(Stage::Cluster, |run| {
            run.at(
                0,
                RunEvent::ClusterChosen {
                    provider: "embedded".into(),
                    reason: "no container engine answers".into(),
                },
            );
            run.at(
                210,
                ClusterEvent::Ready { server: "https://127.0.0.1:40002".into(), took: seconds(0.21) },
            );
            run.at(0, RunEvent::NodesKnown { architecture: "amd64".into() });
        });
    }

    fn apply(&mut self) {
        let object = ObjectId {
            group: "apps".into(),
            kind: "Deployment".into(),
            namespace: Some("kitchen".into()),
            name: "kettle".into(),
        };
        self.at(10, DeployEvent::Applying { component: "kettle".into(), objects: 3 });
        let change = Change::Created;
        self.at(10, DeployEvent::Applied { component: "kettle".into(), object: object.clone(), change });
        self.at(
            10,
            DeployEvent::Waiting {
                component: "kettle".into(),
                object,
                message: "0 of 1 replicas are available".into(),
            },
        );
    }

    fn covered(&mut self, results: [TestState; 2]) {
        let [boils, pours] = results;
        let covered = |id: &str, title: &str, name: &str, state: TestState| Covered {
            id: id.into(),
            title: title.into(),
            tests: vec![CoveringTest { test: test(name), state }],
        };
        self.at(
            0,
            RunEvent::Coverage {
                requirements: vec![
                    covered("BR-1", "Water boils", "kettle heat::tests::water_boils", boils),
                    covered("BR-2", "Tea is poured", "tea::scenarios cup::tea_is_poured", pours),
                ],
            },
        );
    }
}

/// A run in which everything is well.
pub(super) fn passing() -> Vec<Record> {
    let mut run = Run::begin();
    run.at(3, planned(Vec::new()));
    run.up_to_deploy();
    run.stage(Stage::Deploy, |run| {
        run.apply();
        run.at(1_200, DeployEvent::Ready { component: "kettle".into(), took: seconds(1.2) });
    });
    run.tier("unit", |run| {
        run.found("unit", "kettle", &["heat::tests::water_boils"]);
        run.ended("unit", "kettle heat::tests::water_boils", Outcome::Passed, 0.012, None);
        run.at(0, TierEvent::Passed { tier: "unit".into(), took: seconds(0.3) });
    });
    run.tier("e2e-runtime", |run| {
        run.found("e2e-runtime", "tea::scenarios", &["cup::tea_is_poured"]);
        run.ended("e2e-runtime", "tea::scenarios cup::tea_is_poured", Outcome::Passed, 4.2, None);
        run.at(0, TierEvent::Passed { tier: "e2e-runtime".into(), took: seconds(4.2) });
    });
    run.tier("requirements", |run| {
        run.covered([TestState::Passed, TestState::Passed]);
        run.at(0, TierEvent::Passed { tier: "requirements".into(), took: seconds(0.001) });
    });
    run.at(5, RunEvent::Finished { verdict: Verdict::Passed });
    run.records
}

/// A run in which a test fails, another is flaky, a component is not ready and a tier is blocked.
pub(super) fn failing() -> Vec<Record> {
    let mut run = Run::begin();
    let left_out = |what: &str, reason: &str| LeftOut { what: what.into(), reason: reason.into() };
    run.at(
        3,
        planned(vec![
            left_out("component `sugar`", "--without sugar"),
            left_out("tier `milk`", "--tier unit"),
            left_out("tier `lemon`", "--tier unit"),
        ]),
    );
    run.up_to_deploy();
    run.at(1, StageEvent::Started { stage: Stage::Deploy });
    run.apply();
    run.at(
        4_000,
        RunEvent::Diagnosed(Diagnosis {
            component: "kettle".into(),
            causes: vec![
                Cause {
                    sentence: "the readiness probe of `kettle` asks port 8080, and nothing listens there"
                        .into(),
                    evidence: vec!["Event Unhealthy: dial tcp 10.0.0.7:8080: connection refused".into()],
                    hint: "set the probe's port to 8081 in manifests/kettle/deployment.yaml".into(),
                    weight: 90,
                },
                Cause {
                    sentence: "the service `kettle` has no endpoints".into(),
                    evidence: Vec::new(),
                    hint: "it gets one as soon as a pod is ready".into(),
                    weight: 30,
                },
            ],
            chain: vec![
                "Deployment kitchen/kettle: 0 of 1 available".into(),
                "  Pod kettle-5d9f7-x2x4p: Running, not ready".into(),
            ],
        }),
    );
    run.at(
        0,
        StageEvent::Failed {
            stage: Stage::Deploy,
            took: seconds(4.0),
            problem: Problem {
                message: "component `kettle` is not ready after 4 s".into(),
                causes: vec!["Deployment kitchen/kettle: 0 of 1 replicas are available".into()],
                hint: Some("cargo xtask diagnose kettle".into()),
                output: None,
            },
        },
    );
    run.tier("unit", |run| {
        run.found(
            "unit",
            "kettle",
            &[
                "heat::tests::water_boils",
                "heat::tests::it_switches_off",
                "lid::tests::it_closes",
                "lid::tests::it_opens",
                "scale::tests::none_forms",
            ],
        );
        run.ended("unit", "kettle heat::tests::water_boils", Outcome::Passed, 0.012, None);
        let panic = "thread 'heat::tests::it_switches_off' panicked at kettle/src/heat.rs:41:9:\n\
                     assertion `left == right` failed\n  left: 100\n right: 101";
        run.ended("unit", "kettle heat::tests::it_switches_off", Outcome::Failed, 0.02, Some(panic));
        run.ended("unit", "kettle lid::tests::it_closes", Outcome::Failed, 0.5, Some("it was <warm> & wet"));
        run.ended("unit", "kettle lid::tests::it_closes", Outcome::Passed, 0.4, None);
        let reason = "needs hard water".into();
        run.ended("unit", "kettle scale::tests::none_forms", Outcome::Skipped { reason }, 0.0, None);
        run.at(
            0,
            TierEvent::Failed {
                tier: "unit".into(),
                took: seconds(1.1),
                problem: Problem {
                    message: "1 of 5 tests failed, 1 was not run".into(),
                    ..Problem::default()
                },
            },
        );
    });
    run.at(
        0,
        RunEvent::Warning {
            message: "the exception for `registry.example/tea` ends in 9 days".into(),
            hint: Some("renew it in images/registries.toml".into()),
        },
    );
    run.found("e2e-runtime", "tea::scenarios", &["cup::tea_is_poured"]);
    run.at(0, TierEvent::Blocked { tier: "e2e-runtime".into(), reason: "`unit` failed".into() });
    run.at(0, TierEvent::Skipped { tier: "samovar".into(), reason: "`samovar` is not installed".into() });
    run.covered([TestState::Passed, TestState::NotRun]);
    run.at(0, TierEvent::Blocked { tier: "requirements".into(), reason: "`e2e-runtime` is blocked".into() });
    run.at(5, RunEvent::Finished { verdict: Verdict::Failed });
    run.records
}
