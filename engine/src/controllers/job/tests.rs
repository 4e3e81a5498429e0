//! Decisions about Jobs as data: pods in, counts, conditions and next writes out.

use serde_json::{Value, json};

use super::*;

const NOW: &str = "2030-01-01T01:00:00Z";

fn job(spec: Value, status: Value) -> Arc<Job> {
    let mut object = json!({
        "metadata": {"name": "work", "namespace": "ns", "uid": "j"},
        "spec": {"completions": 1, "parallelism": 1, "backoffLimit": 6,
            "template": {"spec": {"restartPolicy": "Never", "containers": []}}},
        "status": status,
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    Arc::new(serde_json::from_value(object).unwrap())
}

/// A pod from one line: `name phase [ended@mm:ss] [ready] [deleting] [restarts=n]`; times are in the hour before now.
fn pod(line: &str) -> Arc<Pod> {
    let mut words = line.split_whitespace();
    let (name, phase) = (words.next().unwrap(), words.next().unwrap());
    let mut pod = json!({
        "metadata": {"name": name, "uid": name, "creationTimestamp": "2030-01-01T00:00:00Z"},
        "status": {"phase": phase, "containerStatuses": [
            {"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": {}}]},
    });
    let container = "/status/containerStatuses/0";
    for word in words {
        if let Some(time) = word.strip_prefix("ended@") {
            let ended =
                json!({"terminated": {"exitCode": 1, "finishedAt": format!("2030-01-01T00:{time}Z")}});
            pod.pointer_mut(container).unwrap()["state"] = ended;
        } else if let Some(count) = word.strip_prefix("restarts=") {
            pod.pointer_mut(container).unwrap()["restartCount"] = json!(count.parse::<i32>().unwrap());
        } else if word == "ready" {
            pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        } else if word == "deleting" {
            pod["metadata"]["deletionTimestamp"] = json!(NOW);
        }
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn plan(spec: Value, status: Value, pods: &[&str]) -> Plan {
    decide(&Observed {
        job: job(spec, status),
        pods: pods.iter().map(|line| pod(line)).collect(),
        tally: None,
        now: NOW.parse().unwrap(),
    })
}

/// Plan as text: `+created -deleted a:active s:succeeded f:failed conditions`.
fn text(plan: &Plan) -> String {
    let deleted: Vec<String> = plan.delete.iter().map(|pod| pod.name_any()).collect();
    let status = &plan.status;
    let conditions = status.conditions.iter().flatten().filter(|condition| condition.status == "True");
    let conditions: Vec<String> = conditions
        .map(|condition| format!("{}={}", condition.type_, condition.reason.as_deref().unwrap_or_default()))
        .collect();
    let count = |value: Option<i32>| value.unwrap_or(0);
    let (active, succeeded, failed) = (count(status.active), count(status.succeeded), count(status.failed));
    let text = format!(
        "+{} -{} a:{active} s:{succeeded} f:{failed} {}",
        plan.create,
        deleted.join(","),
        conditions.join(" ")
    );
    text.trim_end().to_owned()
}

fn check(spec: Value, pods: &[&str], expected: &str) {
    assert_eq!(text(&plan(spec, json!({"startTime": "2030-01-01T00:59:00Z"}), pods)), expected, "{pods:?}");
}

#[test]
fn pods_are_created_up_to_parallelism_and_no_more_than_needed() {
    check(json!({}), &[], "+1 - a:1 s:0 f:0");
    check(json!({"parallelism": 3, "completions": 5}), &[], "+3 - a:3 s:0 f:0");
    check(json!({"parallelism": 3, "completions": 2}), &["a Running"], "+1 - a:2 s:0 f:0");
    check(json!({"parallelism": 0}), &[], "+0 - a:0 s:0 f:0");
    check(json!({"parallelism": 1, "completions": 3}), &["a Running", "b Pending"], "+0 -b a:1 s:0 f:0");
}

#[test]
fn first_pass_sets_the_start_time() {
    let plan = plan(json!({}), json!({}), &[]);
    assert_eq!(plan.status.start_time, Some(Time(NOW.parse().unwrap())));
}

#[test]
fn enough_successes_complete_the_job() {
    let done = "SuccessCriteriaMet=CompletionsReached Complete=CompletionsReached";
    check(json!({}), &["a Succeeded"], &format!("+0 - a:0 s:1 f:0 {done}"));
    check(json!({"completions": 2, "parallelism": 2}), &["a Succeeded", "b Running"], "+0 - a:1 s:1 f:0");
    let plan = plan(json!({}), json!({}), &["a Succeeded"]);
    assert_eq!(plan.status.completion_time, Some(Time(NOW.parse().unwrap())));
    assert_eq!(plan.events, [Note::normal("Completed", "Job completed")]);
}

#[test]
fn completion_is_announced_before_the_last_pod_is_gone() {
    let pods = ["a Succeeded", "b Running"];
    check(
        json!({"completions": 1, "parallelism": 2}),
        &pods,
        "+0 -b a:1 s:1 f:0 SuccessCriteriaMet=CompletionsReached",
    );
}

#[test]
fn work_queue_completes_with_one_success_and_nobody_at_work() {
    let queue = json!({"completions": null, "parallelism": 2});
    check(queue.clone(), &["a Running"], "+1 - a:2 s:0 f:0");
    check(queue.clone(), &["a Succeeded", "b Running"], "+0 - a:1 s:1 f:0");
    let done = "SuccessCriteriaMet=CompletionsReached Complete=CompletionsReached";
    check(queue, &["a Succeeded", "b Succeeded"], &format!("+0 - a:0 s:2 f:0 {done}"));
}

#[test]
fn failures_back_off_ten_seconds_doubling() {
    check(json!({}), &["a Failed ended@59:55"], "+0 - a:0 s:0 f:1");
    let wait = |pods: &[&str]| plan(json!({}), json!({}), pods).look_again.map(|wait| wait.as_secs());
    assert_eq!(wait(&["a Failed ended@59:55"]), Some(5));
    assert_eq!(wait(&["a Failed ended@59:30", "b Failed ended@59:55"]), Some(15));
    assert_eq!(wait(&["a Failed ended@58:30", "b Failed ended@59:30", "c Failed ended@59:55"]), Some(35));
    check(json!({}), &["a Failed ended@59:50"], "+1 - a:1 s:0 f:1");
    assert_eq!(wait(&["a Failed ended@59:50"]), None);
}

#[test]
fn success_ends_the_back_off() {
    let pods = ["a Failed ended@59:40", "b Failed ended@59:54", "c Succeeded ended@59:56"];
    check(json!({"completions": 2}), &pods, "+1 - a:1 s:1 f:2");
}

#[test]
fn too_many_failures_fail_the_job() {
    let failed = "FailureTarget=BackoffLimitExceeded Failed=BackoffLimitExceeded";
    check(json!({"backoffLimit": 0}), &["a Failed"], &format!("+0 - a:0 s:0 f:1 {failed}"));
    let pods = ["a Failed", "b Failed", "c Running"];
    check(
        json!({"backoffLimit": 1, "completions": 3, "parallelism": 3}),
        &pods,
        "+0 -c a:1 s:0 f:2 FailureTarget=BackoffLimitExceeded",
    );
    let plan = plan(json!({"backoffLimit": 0}), json!({}), &["a Failed"]);
    assert_eq!(
        plan.events,
        [Note::warning("BackoffLimitExceeded", "Job has reached the specified backoff limit")]
    );
}

#[test]
fn restarts_in_the_pod_use_up_the_limit() {
    let spec = |limit: i32| json!({"backoffLimit": limit, "template": {"spec": {"restartPolicy": "OnFailure", "containers": []}}});
    check(spec(2), &["a Running restarts=1"], "+0 - a:1 s:0 f:0");
    check(spec(2), &["a Running restarts=2"], "+0 -a a:1 s:0 f:0 FailureTarget=BackoffLimitExceeded");
    check(spec(0), &["a Running restarts=1"], "+0 -a a:1 s:0 f:0 FailureTarget=BackoffLimitExceeded");
    check(json!({"backoffLimit": 2}), &["a Running restarts=5"], "+0 - a:1 s:0 f:0");
}

#[test]
fn deadline_fails_the_job_and_is_waited_for() {
    let early = plan(
        json!({"activeDeadlineSeconds": 90}),
        json!({"startTime": "2030-01-01T00:59:00Z"}),
        &["a Running"],
    );
    assert_eq!(early.look_again, Some(Duration::from_secs(30)));
    check(
        json!({"activeDeadlineSeconds": 60}),
        &["a Running"],
        "+0 -a a:1 s:0 f:0 FailureTarget=DeadlineExceeded",
    );
}

#[test]
fn deleted_pod_counts_as_failed_and_is_replaced() {
    let plan = plan(json!({}), json!({}), &["a Running deleting"]);
    assert_eq!((plan.status.failed, plan.status.terminating, plan.create), (Some(1), Some(1), 0));
    assert_eq!(plan.look_again, Some(Duration::from_secs(10)));
}

#[test]
fn announced_failure_is_final_once_the_pods_are_gone() {
    let announced = json!({"startTime": "2030-01-01T00:00:00Z", "conditions": [
        {"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded", "message": "late"}]});
    let waiting = plan(json!({}), announced.clone(), &["a Running deleting"]);
    assert_eq!(text(&waiting), "+0 - a:0 s:0 f:1 FailureTarget=DeadlineExceeded");
    let over = plan(json!({}), announced, &["a Failed"]);
    assert_eq!(text(&over), "+0 - a:0 s:0 f:1 FailureTarget=DeadlineExceeded Failed=DeadlineExceeded");
}

#[test]
fn suspended_job_runs_nothing_and_resumes_with_a_new_start_time() {
    let running = json!({"startTime": "2030-01-01T00:59:00Z"});
    let suspended = plan(json!({"suspend": true}), running, &["a Running"]);
    assert_eq!(text(&suspended), "+0 -a a:0 s:0 f:0 Suspended=JobSuspended");
    assert_eq!(suspended.status.start_time, None);
    let was = json!({"conditions": [{"type": "Suspended", "status": "True", "reason": "JobSuspended"}]});
    let resumed = plan(json!({}), was, &[]);
    assert_eq!(text(&resumed), "+1 - a:1 s:0 f:0");
    assert_eq!(resumed.status.start_time, Some(Time(NOW.parse().unwrap())));
    assert_eq!(resumed.events, [Note::normal("Resumed", "Job resumed")]);
}

#[test]
fn finished_job_expires_after_its_time_and_is_otherwise_left_alone() {
    let finished = |at: &str| json!({"succeeded": 1, "conditions": [{"type": "Complete", "status": "True", "lastTransitionTime": at}]});
    let ttl = json!({"ttlSecondsAfterFinished": 60});
    let early = plan(ttl.clone(), finished("2030-01-01T00:59:30Z"), &["a Succeeded"]);
    assert_eq!((early.expire, early.look_again), (false, Some(Duration::from_secs(30))));
    assert!(plan(ttl, finished("2030-01-01T00:59:00Z"), &[]).expire);
    let kept = plan(json!({}), finished("2030-01-01T00:00:00Z"), &[]);
    assert_eq!((kept.expire, kept.create, kept.look_again), (false, 0, None));
}
