//! Containers that end by themselves.

use super::exit_code;
use crate::diagnose::Cause;
use crate::diagnose::snapshot::Snapshot;
use crate::diagnose::view::{self, telling_line};
use crate::object::text;

pub(super) fn loops(snapshot: &Snapshot) -> Vec<Cause> {
    let mut causes = Vec::new();
    for container in view::all_containers(snapshot) {
        let code = exit_code(&container);
        let is_crash = container.waiting() == "CrashLoopBackOff"
            || (code.is_some_and(|code| code != 0) && !container.is_ready());
        if !is_crash {
            continue;
        }
        let name = container.name();
        let logs = view::logs(snapshot, &container);
        let message = container
            .ended()
            .map(|ended| text(ended, "/message").trim())
            .filter(|message| !message.is_empty());
        let line = logs.iter().find_map(|log| telling_line(&log.lines)).or(message);
        let code = code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
        let why = line.map(|line| format!(": {}", line.trim())).unwrap_or_default();
        let mut evidence = vec![format!("{}: {} restarts{code}", container.place(), container.restarts())];
        if let Some(line) = line {
            evidence.push(format!("log of {}: {}", container.place(), line.trim()));
        }
        let (pod, namespace) =
            (text(container.pod, "/metadata/name"), text(container.pod, "/metadata/namespace"));
        causes.push(Cause {
            sentence: format!("container `{name}` ends by itself{code}{why}"),
            evidence,
            hint: format!("read the whole log: kubectl logs {pod} -c {name} -n {namespace} --previous"),
            weight: 70,
        });
    }
    causes
}

pub(super) fn out_of_memory(snapshot: &Snapshot) -> Vec<Cause> {
    let killed = view::all_containers(snapshot)
        .into_iter()
        .filter(|container| container.ended().is_some_and(|ended| text(ended, "/reason") == "OOMKilled"));
    killed
        .map(|container| {
            let limit =
                Some(text(container.spec, "/resources/limits/memory")).filter(|limit| !limit.is_empty());
            Cause {
                sentence: format!(
                    "container `{}` was killed because it used more memory than it may",
                    container.name()
                ),
                evidence: vec![format!(
                    "{}: OOMKilled, limit {}",
                    container.place(),
                    limit.unwrap_or("none")
                )],
                hint: "raise `resources.limits.memory`, or find what it holds on to".to_owned(),
                weight: 95,
            }
        })
        .collect()
}
