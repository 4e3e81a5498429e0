//! Decisions about CronJobs as data: Jobs and a time in, next writes out.

use serde_json::{Value, json};

use super::*;

/// Every hour; made at midnight, last at 01:00.
fn cron_job(spec: Value) -> Arc<CronJob> {
    let template = json!({"spec": {"template": {"spec": {"containers": []}}}});
    let mut object = json!({
        "metadata": {"name": "tidy", "namespace": "ns", "uid": "u", "creationTimestamp": "2030-01-01T00:00:00Z"},
        "spec": {"schedule": "0 * * * *", "jobTemplate": template},
        "status": {"lastScheduleTime": "2030-01-01T01:00:00Z"},
    });
    object["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    Arc::new(serde_json::from_value(object).unwrap())
}

/// A Job from one line: `name minute state`, state being `active`, `Complete` or `Failed`.
fn finished_or_not(line: &str) -> Arc<Job> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let time = format!("2030-01-01T00:{}:00Z", words[1]);
    let mut job = json!({"metadata": {"name": words[0], "creationTimestamp": time}, "status": {}});
    if words[2] != "active" {
        let condition = json!({"type": words[2], "status": "True", "lastTransitionTime": time});
        job["status"] = json!({"conditions": [condition]});
    }
    Arc::new(serde_json::from_value(job).unwrap())
}

fn plan(spec: Value, jobs: &[&str], now: &str) -> Plan {
    decide(&Observed {
        cron_job: cron_job(spec),
        jobs: jobs.iter().map(|line| finished_or_not(line)).collect(),
        now: format!("2030-01-01T{now}Z").parse().unwrap(),
    })
}

/// `expected` reads `+time of the new Job -deleted Jobs events`.
fn check(spec: Value, jobs: &[&str], now: &str, expected: &str) {
    let plan = plan(spec, jobs, now);
    let made = plan.create.map(|job| job.annotations()[SCHEDULED_AT].clone()).unwrap_or_default();
    let gone: Vec<String> = plan.delete.iter().map(|job| job.name_any()).collect();
    let events: Vec<&str> = plan.events.iter().map(|note| note.reason).collect();
    let made = made.get(11..16).unwrap_or_default();
    assert_eq!(format!("+{made} -{} {}", gone.join(","), events.join(",")).trim_end(), expected);
}

#[test]
fn a_job_is_made_when_its_time_has_come() {
    check(json!({}), &[], "01:59:59", "+ -");
    check(json!({}), &[], "02:00:00", "+02:00 -");
    assert_eq!(plan(json!({}), &[], "02:00:00").look_again, Some(Duration::from_secs(3600)));
    let made = plan(json!({}), &[], "02:00:00").create.unwrap();
    assert_eq!(made.name_any(), "tidy-31557720");
}

#[test]
fn of_missed_times_only_the_last_is_made_up_for_within_the_deadline() {
    check(json!({}), &[], "05:10:00", "+05:00 -");
    check(json!({"startingDeadlineSeconds": 300}), &[], "05:10:00", "+ -");
    check(json!({"startingDeadlineSeconds": 900}), &[], "05:10:00", "+05:00 -");
    check(json!({"suspend": true}), &[], "05:10:00", "+ -");
}

#[test]
fn running_jobs_are_left_alone_waited_for_or_replaced() {
    let running = ["a 30 active"];
    check(json!({}), &running, "02:00:00", "+02:00 -");
    check(json!({"concurrencyPolicy": "Forbid"}), &running, "02:00:00", "+ - JobAlreadyActive");
    check(json!({"concurrencyPolicy": "Replace"}), &running, "02:00:00", "+02:00 -a");
}

#[test]
fn finished_jobs_are_kept_up_to_their_limits() {
    let jobs = ["a 10 Complete", "b 20 Failed", "c 30 Complete", "d 40 Failed", "e 50 active"];
    check(json!({}), &jobs, "01:10:00", "+ -b");
    check(json!({"successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 2}), &jobs, "01:10:00", "+ -a,c");
    let status = plan(json!({}), &jobs, "01:10:00").status;
    assert_eq!(status.last_successful_time.unwrap().0.to_string(), "2030-01-01T00:30:00Z");
    assert_eq!(status.active.unwrap()[0].name.as_deref(), Some("e"));
}

#[test]
fn what_is_no_schedule_is_told() {
    check(json!({"schedule": "often"}), &[], "02:00:00", "+ - UnparseableSchedule");
    check(json!({"timeZone": "Moon/Base"}), &[], "02:00:00", "+ - UnparseableSchedule");
}
