//! What people and machines read of the two sample runs. To accept a change: `INSTA_UPDATE=always cargo test -p ci report`.

use super::sample::{failing, fold, passing};
use super::*;
use crate::event::{Event, Record, Reporter, TierEvent};

#[test]
fn a_passing_run_reads_well() {
    insta::assert_snapshot!("passing.md", markdown(&fold(&passing())));
}

#[test]
fn a_failing_run_names_causes_and_next_steps() {
    insta::assert_snapshot!("failing.md", markdown(&fold(&failing())));
}

#[test]
fn the_terminal_tells_a_passing_run() {
    insta::assert_snapshot!("passing.terminal", told(&passing()));
}

#[test]
fn the_terminal_shows_failures_with_output_and_hints() {
    insta::assert_snapshot!("failing.terminal", told(&failing()));
}

/// What a terminal without abilities shows of a run.
fn told(records: &[Record]) -> String {
    let out = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    struct Shared(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut terminal = Terminal::new(Box::new(Shared(out.clone())), Look::PLAIN);
    for record in records {
        // As if the clock had moved up to the event before it happened.
        terminal.tick(record.at).unwrap();
        terminal.record(record).unwrap();
    }
    terminal.finish().unwrap();
    let told = out.lock().unwrap().clone();
    String::from_utf8(told).unwrap()
}

#[test]
fn the_status_line_says_what_is_under_way() {
    // What the status is right after each event that changes it.
    let mut report = Report::default();
    let mut seen = Vec::new();
    for record in failing() {
        report.add(&record);
        let status = terminal::status(&report, record.at);
        // Without the time in front of it.
        let status = status.map(|status| status.split("  ").nth(1).unwrap_or_default().to_string());
        if seen.last() != Some(&status) {
            seen.push(status);
        }
    }
    let lines: Vec<String> = seen.into_iter().map(|status| status.unwrap_or("(none)".to_string())).collect();
    insta::assert_snapshot!("failing.status", lines.join("\n"));
}

#[test]
fn junit_has_reruns_and_never_passes_what_did_not_run() {
    insta::assert_snapshot!("failing.junit.xml", junit(&fold(&failing())).unwrap());
}

#[test]
fn events_survive_their_json_form() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = EventLog::create(directory.path()).unwrap();
    failing().iter().for_each(|record| log.record(record).unwrap());
    log.finish().unwrap();
    assert_eq!(json(&load(directory.path()).unwrap()).unwrap(), json(&fold(&failing())).unwrap());
}

#[test]
fn a_killed_run_is_told_up_to_its_last_whole_line() {
    let directory = tempfile::tempdir().unwrap();
    let records = passing();
    let mut text = String::new();
    for record in &records[..records.len() - 1] {
        text.push_str(&serde_json::to_string(record).unwrap());
        text.push('\n');
    }
    text.push_str("{\"at\":\"2026-01-09T1");
    std::fs::write(directory.path().join(EVENTS_FILE), text).unwrap();
    let report = load(directory.path()).unwrap();
    assert_eq!(report.verdict, None);
    assert!(markdown(&report).contains("did not finish"));
}

#[test]
fn counts_keep_the_ways_to_end_apart() {
    let report = fold(&failing());
    let unit = report.tiers.iter().find(|tier| tier.name == "unit").unwrap();
    assert_eq!(unit.counts(), Counts { passed: 1, flaky: 1, failed: 1, skipped: 1, not_run: 1 });
    assert_eq!(report.counts().not_run, 2, "a blocked tier's tests are not run");
}

#[test]
fn what_is_under_way_when_a_run_ends_was_not_run() {
    let mut records = passing();
    records.retain(|record| {
        !matches!(&record.event, Event::Tier(TierEvent::Passed { tier, .. }) if tier == "e2e-runtime")
    });
    let report = fold(&records);
    let states: Vec<State> = report.tiers.iter().map(|tier| tier.state).collect();
    assert_eq!(states, [State::Passed, State::Passed, State::NotRun, State::Passed]);
}

#[test]
fn gates_that_fail_without_a_failed_test_are_counted_for_machines() {
    let report: serde_json::Value = serde_json::from_str(&json(&fold(&failing())).unwrap()).unwrap();
    assert_eq!(report["counts"]["failed"], 1);
    // The deployment; the unit tier failed by its test, and the others are blocked.
    assert_eq!(report["failed-gates"], 1);
    let passing: serde_json::Value = serde_json::from_str(&json(&fold(&passing())).unwrap()).unwrap();
    assert_eq!(passing["failed-gates"], 0);
}

#[test]
fn durations_and_sizes_are_short() {
    let check = |seconds: f64, expected: &str| {
        assert_eq!(text::duration(Duration::from_secs_f64(seconds)), expected);
    };
    check(0.0, "0.00 s");
    check(0.238, "0.24 s");
    check(12.34, "12.3 s");
    check(64.0, "1m 04s");
    check(3_725.0, "1h 02m");
    assert_eq!(text::bytes(999), "999 B");
    assert_eq!(text::bytes(8_100_300), "8.1 MB");
    assert_eq!(text::tail("a\nb\nc\n", 2), "[1 line before]\nb\nc");
}

#[test]
fn the_page_stands_alone_and_shows_output_as_text() {
    let page = html(&fold(&failing()));
    assert!(page.contains("it was &lt;warm&gt; &amp; wet"), "output is escaped");
    assert!(page.contains("asks port 8080"), "the cause is there");
    for outside in ["http://", "https://", "src=", "url("] {
        assert!(!page.contains(outside), "the page asks for `{outside}`");
    }
}
