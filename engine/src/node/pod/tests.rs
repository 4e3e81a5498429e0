//! Pods as data, decisions and statuses as data.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Value, json};

use super::decide::{Action, Decision, decide};
use super::observed::{BackOff, Condemned, Ended, Ground, Observed, Run};
use super::status::status;

const BACK_OFF: BackOff = BackOff { base: Duration::from_secs(10), limit: Duration::from_secs(300) };

/// A pod and what happens to it.
struct Story {
    pod: Pod,
    observed: Observed,
    now: Timestamp,
}

impl Story {
    fn new(spec: Value) -> Story {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": spec,
        }))
        .unwrap();
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let observed = Observed::new(pod.spec.as_ref().unwrap(), now);
        Story { pod, observed, now }
    }

    fn standing(spec: Value) -> Story {
        let mut story = Story::new(spec);
        story.observed.ground = Ground::Ready;
        story
    }

    fn pass(&mut self, seconds: i64) {
        self.now += jiff::SignedDuration::from_secs(seconds);
    }

    fn deleted(&mut self, grace: i64) {
        let deletion =
            json!({"deletionTimestamp": "2026-01-01T00:00:30Z", "deletionGracePeriodSeconds": grace});
        let mut metadata = serde_json::to_value(&self.pod.metadata).unwrap();
        metadata.as_object_mut().unwrap().extend(deletion.as_object().unwrap().clone());
        self.pod.metadata = serde_json::from_value(metadata).unwrap();
    }

    fn runs(&mut self, index: usize, ready: bool) {
        let run = Run { since: self.now, started: true, ready, condemned: None, stopping: None };
        self.observed.containers[index].runs("id".to_owned(), "image@digest".to_owned(), run);
        self.observed.note_initialized();
    }

    fn ends(&mut self, index: usize, code: i32) {
        let container = &mut self.observed.containers[index];
        let ended = Ended {
            code,
            reason: if code == 0 { "Completed" } else { "Error" },
            message: String::new(),
            started: container.run().map_or(self.now, |run| run.since),
            finished: self.now,
            id: container.id.clone(),
        };
        container.ends(ended, BACK_OFF);
        self.observed.note_initialized();
    }

    fn decide(&self) -> Decision {
        decide(&self.pod, &self.observed, self.now)
    }

    fn actions(&self) -> Vec<Action> {
        self.decide().actions
    }

    /// Seconds until something falls due.
    fn wakes_in(&self) -> Option<i64> {
        self.decide().wake.map(|wake| wake.duration_since(self.now).as_secs())
    }

    fn status(&self) -> PodStatus {
        status(&self.pod, &self.observed, "10.244.0.1", self.now)
    }

    fn phase(&self) -> String {
        self.status().phase.unwrap()
    }

    /// `state/lastState` of a container in a few words.
    fn state(&self, index: usize) -> String {
        let status = self.status();
        let all: Vec<_> = status
            .init_container_statuses
            .iter()
            .chain(&status.container_statuses)
            .flatten()
            .map(|container| serde_json::to_value(container).unwrap())
            .collect();
        let brief = |state: &Value| {
            let (kind, detail) = state.as_object()?.iter().next()?;
            Some(match kind.as_str() {
                "running" => "running".to_owned(),
                "waiting" => detail["reason"].as_str()?.to_owned(),
                _ => format!("{}({})", detail["reason"].as_str()?, detail["exitCode"]),
            })
        };
        let words = |field: &str| brief(&all[index][field]).unwrap_or_else(|| "-".to_owned());
        format!("{}/{}", words("state"), words("lastState"))
    }

    fn condition(&self, type_: &str) -> String {
        let status = self.status();
        let condition =
            status.conditions.as_ref().unwrap().iter().find(|condition| condition.type_ == type_).unwrap();
        [Some(condition.status.as_str()), condition.reason.as_deref(), condition.message.as_deref()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(" ")
    }
}

fn stop(index: usize, grace: i64, name: &str) -> Action {
    Action::Stop(index, grace, format!("Stopping container {name}"))
}

#[test]
fn containers_wait_for_the_ground() {
    let mut story = Story::new(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    assert_eq!(story.actions(), [Action::Prepare]);
    story.observed.ground = Ground::Failed("2026-01-01T00:00:02Z".parse().unwrap());
    assert_eq!((story.actions(), story.wakes_in()), (vec![], Some(2)));
    story.observed.ground = Ground::Ready;
    assert_eq!(story.actions(), [Action::Start(0), Action::Start(1)]);
    assert_eq!((story.phase().as_str(), story.state(0).as_str()), ("Pending", "ContainerCreating/-"));
}

#[test]
fn init_containers_run_one_after_the_other_and_sidecars_stay() {
    let mut story = Story::standing(json!({
        "initContainers": [{"name": "first"}, {"name": "beside", "restartPolicy": "Always"}, {"name": "second"}],
        "containers": [{"name": "main"}],
    }));
    assert_eq!(story.state(3), "PodInitializing/-");
    assert_eq!(
        story.condition("Initialized"),
        "False ContainersNotInitialized containers with incomplete status: [first beside second]"
    );
    for (index, ends) in [(0, true), (1, false), (2, true)] {
        assert_eq!(story.actions(), [Action::Start(index)]);
        story.runs(index, true);
        if ends {
            assert_eq!(story.actions(), []);
            story.ends(index, 0);
        }
    }
    assert_eq!(story.actions(), [Action::Start(3)]);
    assert_eq!(story.condition("Initialized"), "True");
    story.runs(3, true);
    assert_eq!(story.condition("Ready"), "True");
    // A sidecar that ends is started again whatever the policy, and only it.
    story.ends(1, 0);
    assert_eq!(story.actions(), [Action::Start(1)]);
}

#[test]
fn restarts_wait_twice_as_long_each_time_and_forget_after_ten_minutes() {
    let mut story = Story::standing(json!({"containers": [{"name": "a"}]}));
    let mut waits = Vec::new();
    for _ in 0..7 {
        story.runs(0, true);
        story.ends(0, 1);
        waits.push(story.wakes_in().unwrap_or(0));
        story.pass(story.wakes_in().unwrap_or(0));
        assert_eq!(story.actions(), [Action::Start(0)]);
    }
    assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300]);
    assert_eq!(story.observed.containers[0].restarts, 6);
    story.runs(0, true);
    story.pass(600);
    story.ends(0, 1);
    assert_eq!(story.actions(), [Action::Start(0)]);
}

#[test]
fn a_crash_loop_shows_what_it_waits_for_and_how_it_ended() {
    let mut story = Story::standing(json!({"containers": [{"name": "a"}]}));
    story.runs(0, false);
    assert_eq!(story.condition("Ready"), "False ContainersNotReady containers with unready status: [a]");
    story.ends(0, 3);
    assert_eq!(story.state(0), "Error(3)/-");
    story.runs(0, true);
    assert_eq!(story.state(0), "running/Error(3)");
    story.ends(0, 4);
    assert_eq!(story.state(0), "CrashLoopBackOff/Error(4)");
    assert_eq!(story.phase(), "Running");
    let status = story.status().container_statuses.unwrap().remove(0);
    assert_eq!(status.restart_count, 1);
    assert_eq!(
        status.state.unwrap().waiting.unwrap().message.unwrap(),
        "back-off 10s restarting failed container=a pod=p_ns(u)"
    );
}

#[test]
fn policies_decide_whether_an_end_is_final() {
    for (policy, code, expected, phase) in [
        ("Never", 0, vec![Action::Clear], "Succeeded"),
        ("Never", 1, vec![Action::Clear], "Failed"),
        ("OnFailure", 0, vec![Action::Clear], "Succeeded"),
        ("OnFailure", 1, vec![Action::Start(0)], "Running"),
        ("Always", 0, vec![Action::Start(0)], "Running"),
    ] {
        let mut story = Story::standing(json!({"restartPolicy": policy, "containers": [{"name": "a"}]}));
        story.runs(0, true);
        story.ends(0, code);
        assert_eq!((story.actions(), story.phase().as_str()), (expected, phase), "{policy} {code}");
    }
}

#[test]
fn a_finished_pod_ends_its_sidecars_and_says_why_it_is_not_ready() {
    let mut story = Story::standing(json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "beside", "restartPolicy": "Always"}],
        "containers": [{"name": "main"}],
    }));
    story.runs(0, true);
    story.runs(1, true);
    story.ends(1, 0);
    assert_eq!((story.actions(), story.phase().as_str()), (vec![stop(0, 30, "beside")], "Running"));
    story.ends(0, 143);
    assert_eq!((story.actions(), story.phase().as_str()), (vec![Action::Clear], "Succeeded"));
    assert_eq!(story.condition("Ready"), "False PodCompleted");
    assert_eq!(story.condition("Initialized"), "True PodCompleted");
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let spec =
        json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    let mut story = Story::standing(spec);
    story.runs(0, true);
    story.ends(0, 1);
    assert_eq!((story.actions(), story.phase().as_str()), (vec![Action::Clear], "Failed"));
}

#[test]
fn a_deleted_pod_ends_sidecars_last_and_its_object_when_nothing_is_left() {
    let mut story = Story::standing(json!({
        "initContainers": [{"name": "x", "restartPolicy": "Always"}, {"name": "y", "restartPolicy": "Always"}],
        "containers": [{"name": "a"}, {"name": "b"}],
    }));
    for index in 0..4 {
        story.runs(index, true);
    }
    story.deleted(5);
    assert_eq!(story.actions(), [stop(2, 5, "a"), stop(3, 5, "b")]);
    for index in [2, 3] {
        story.observed.containers[index].run_mut().unwrap().stopping = Some(5);
    }
    assert_eq!(story.actions(), []);
    story.ends(2, 143);
    assert_eq!(story.actions(), []);
    story.ends(3, 143);
    assert_eq!(story.actions(), [stop(1, 5, "y")]);
    story.ends(1, 0);
    assert_eq!(story.actions(), [stop(0, 5, "x")]);
    story.ends(0, 0);
    assert_eq!((story.actions(), story.phase().as_str()), (vec![Action::Clear], "Failed"));
    story.observed.ground = Ground::Absent;
    assert_eq!(story.actions(), [Action::Delete]);
}

#[test]
fn a_later_deletion_can_only_shorten_the_grace() {
    let mut story = Story::standing(json!({"containers": [{"name": "a"}]}));
    story.runs(0, true);
    story.observed.containers[0].run_mut().unwrap().stopping = Some(5);
    for (grace, expected) in [(30, vec![]), (2, vec![stop(0, 2, "a")])] {
        story.deleted(grace);
        assert_eq!(story.actions(), expected);
    }
}

#[test]
fn deletion_gives_up_what_has_not_started() {
    let mut story = Story::standing(json!({"containers": [{"name": "a"}]}));
    story.observed.containers[0].phase = super::observed::Phase::Starting;
    story.deleted(30);
    assert_eq!(story.actions(), [Action::Abandon(0)]);
    let mut untouched = Story::new(json!({"containers": [{"name": "a"}]}));
    untouched.deleted(30);
    assert_eq!(untouched.actions(), [Action::Delete]);
}

#[test]
fn a_pod_past_its_deadline_is_ended_and_failed() {
    let mut story = Story::standing(
        json!({"activeDeadlineSeconds": 60, "terminationGracePeriodSeconds": 7, "containers": [{"name": "a"}]}),
    );
    story.runs(0, true);
    assert_eq!((story.actions(), story.wakes_in()), (vec![], Some(60)));
    story.pass(60);
    let [Action::Condemn(verdict)] = &story.actions()[..] else { panic!("{:?}", story.actions()) };
    story.observed.verdict = Some(verdict.clone());
    assert_eq!(
        story.actions(),
        [Action::Stop(0, 7, "Pod was active on the node longer than the specified deadline".to_owned())]
    );
    story.ends(0, 0);
    assert_eq!(story.actions(), [Action::Clear]);
    let status = story.status();
    assert_eq!(
        (status.phase.as_deref(), status.reason.as_deref()),
        (Some("Failed"), Some("DeadlineExceeded"))
    );
}

#[test]
fn a_condemned_container_is_ended_once_with_the_grace_of_its_probe() {
    let mut story = Story::standing(json!({"containers": [{"name": "a"}]}));
    story.runs(0, true);
    let run = story.observed.containers[0].run_mut().unwrap();
    run.condemned = Some(Condemned { message: "why".to_owned(), grace: Some(3) });
    assert_eq!(story.actions(), [Action::Stop(0, 3, "why".to_owned())]);
    story.observed.containers[0].run_mut().unwrap().stopping = Some(3);
    assert_eq!(story.actions(), []);
}

#[test]
fn a_failed_pull_is_shown_as_back_off_and_tried_again() {
    let mut story = Story::standing(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    story.observed.containers[0].is_held(
        "ErrImagePull",
        "not found".to_owned(),
        story.now,
        Duration::from_secs(10),
    );
    story.runs(1, true);
    assert_eq!((story.actions(), story.wakes_in()), (vec![], Some(1)));
    assert_eq!((story.state(0).as_str(), story.phase().as_str()), ("ErrImagePull/-", "Pending"));
    story.pass(1);
    assert_eq!((story.actions(), story.wakes_in()), (vec![Action::BackOff(0)], Some(9)));
    story.pass(9);
    assert_eq!(story.actions(), [Action::Start(0)]);
}

#[test]
fn readiness_gates_and_foreign_conditions_are_respected() {
    let mut story = Story::standing(
        json!({"readinessGates": [{"conditionType": "example.com/gate"}], "containers": [{"name": "a"}]}),
    );
    story.runs(0, true);
    assert_eq!(story.condition("ContainersReady"), "True");
    assert_eq!(
        story.condition("Ready"),
        "False ReadinessGatesNotReady corresponding condition of pod readiness gate \"example.com/gate\" does not exist."
    );
    let gate = json!({"conditions": [{"type": "example.com/gate", "status": "True"}]});
    story.pod.status = Some(serde_json::from_value(gate).unwrap());
    assert_eq!(story.condition("Ready"), "True");
    assert_eq!(story.condition("example.com/gate"), "True");
}

#[test]
fn a_condition_keeps_the_time_of_its_last_change() {
    let mut story = Story::standing(json!({"containers": [{"name": "a"}]}));
    story.runs(0, true);
    story.pod.status = Some(story.status());
    story.pass(5);
    let time = |story: &Story, type_: &str| {
        let conditions = story.status().conditions.unwrap();
        let found = conditions.into_iter().find(|condition| condition.type_ == type_).unwrap();
        found.last_transition_time.unwrap().0
    };
    assert_eq!(time(&story, "Ready").duration_since(story.now).as_secs(), -5);
    story.observed.containers[0].run_mut().unwrap().ready = false;
    assert_eq!(time(&story, "Ready"), story.now);
    assert_eq!(time(&story, "Initialized").duration_since(story.now).as_secs(), -5);
}

#[test]
fn quality_of_service_follows_from_requests_and_limits() {
    for (resources, class) in [
        (json!({}), "BestEffort"),
        (json!({"requests": {"cpu": "1"}}), "Burstable"),
        (json!({"limits": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed"),
        (
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Mi"}}),
            "Burstable",
        ),
    ] {
        let story = Story::new(json!({"containers": [{"name": "a", "resources": resources}]}));
        assert_eq!(story.status().qos_class.as_deref(), Some(class));
    }
}
