use super::*;

/// The trouble of a pod with one container status, as "grace: sentence".
fn judged(spec: &str, status: &str, provides: &[&str]) -> String {
    let yaml = format!("{{spec: {{containers: [{spec}]}}, status: {{containerStatuses: [{status}]}}}}");
    let pod: Value = serde_saphyr::from_str(&yaml).unwrap();
    let provides: Vec<String> = provides.iter().map(|each| (*each).to_owned()).collect();
    match trouble(&pod, 2, &provides) {
        Some(Trouble { sentence, grace }) => format!("{}s: {sentence}", grace.as_secs()),
        None => "none".to_owned(),
    }
}

#[test]
fn some_troubles_end_the_wait_at_once_and_some_after_a_grace() {
    let table = [
        ("{name: web, state: {running: {}}, restartCount: 0}", "none"),
        ("{name: web, state: {waiting: {reason: ContainerCreating}}, restartCount: 0}", "none"),
        (
            "{name: web, state: {waiting: {reason: ErrImagePull, message: 'x: not found'}}, restartCount: 0}",
            "0s: container `web`: its image cannot be pulled: x: not found",
        ),
        (
            "{name: web, state: {waiting: {reason: ErrImagePull, message: 'connection refused'}}, restartCount: 0}",
            "10s: container `web`: its image cannot be pulled: connection refused",
        ),
        (
            "{name: web, state: {waiting: {reason: InvalidImageName, message: bad}}, restartCount: 0}",
            "0s: container `web`: InvalidImageName: bad",
        ),
        (
            "{name: web, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1}}, restartCount: 2}",
            "none",
        ),
        (
            "{name: web, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1}}, restartCount: 3}",
            "0s: container `web` was restarted more than 2 times, last exit code 1",
        ),
        (
            "{name: web, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 1, message: 'exec format error'}}, restartCount: 0}",
            "0s: container `web` is built for another architecture (exec format error)",
        ),
        (
            "{name: web, state: {waiting: {reason: CreateContainerConfigError, message: 'secret \"web-tls\" not found'}}, restartCount: 0}",
            "10s: container `web`: CreateContainerConfigError: secret \"web-tls\" not found",
        ),
    ];
    for (status, expected) in table {
        assert_eq!(judged("{name: web}", status, &[]), expected, "{status}");
    }
}

#[test]
fn an_object_made_at_run_time_may_be_waited_for() {
    let status = "{name: web, state: {waiting: {reason: CreateContainerConfigError, message: 'secret \"web-tls\" not found'}}, restartCount: 0}";
    assert_eq!(judged("{name: web}", status, &["Secret/web-tls"]), "none");
}

#[test]
fn a_startup_probe_gives_the_time_a_start_may_take() {
    let spec = "{name: web, startupProbe: {periodSeconds: 5, failureThreshold: 6, initialDelaySeconds: 3}}";
    let status =
        "{name: web, state: {running: {}}, lastState: {terminated: {exitCode: 137}}, restartCount: 3}";
    assert_eq!(
        judged(spec, status, &[]),
        "33s: container `web` was restarted more than 2 times, last exit code 137"
    );
}

#[test]
fn a_pod_no_node_takes_is_in_trouble_after_a_while() {
    let yaml = "{status: {conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: 0/1 nodes}]}}";
    let pod: Value = serde_saphyr::from_str(yaml).unwrap();
    let trouble = trouble(&pod, 2, &[]).unwrap();
    assert_eq!(
        (trouble.sentence.as_str(), trouble.grace.as_secs()),
        ("no node takes the pod: 0/1 nodes", 15)
    );
}
