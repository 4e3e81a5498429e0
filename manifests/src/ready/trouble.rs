//! What a pod does not recover from by waiting, and how long to hope before saying so.

use std::time::Duration;

use serde_json::Value;

use crate::object::{items, number, text};

/// Something wrong with a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong, naming the container.
    pub sentence: String,
    /// How long it may last before the wait ends.
    pub grace: Duration,
}

const AT_ONCE: Duration = Duration::ZERO;

/// A registry may be briefly unreachable, and a Secret may be written a moment after its pod.
const SHORT: Duration = Duration::from_secs(10);

/// The first trouble of a pod, if any. `restarts` is what one container may use up; `provides` are objects (`Kind/name`) that
/// come into being at run time, for which a pod may wait until the component's deadline.
pub fn trouble(pod: &Value, restarts: u32, provides: &[String]) -> Option<Trouble> {
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let containers = lists.into_iter().flat_map(|list| items(pod, list));
    containers
        .filter_map(|container| container_trouble(pod, container, restarts, provides))
        .next()
        .or_else(|| unschedulable(pod))
}

fn container_trouble(pod: &Value, container: &Value, restarts: u32, provides: &[String]) -> Option<Trouble> {
    let name = text(container, "/name");
    let reason = text(container, "/state/waiting/reason");
    let message = text(container, "/state/waiting/message");
    let restarted = number(container, "/restartCount").unwrap_or(0);
    let ended = ["/state/terminated", "/lastState/terminated"]
        .into_iter()
        .filter_map(|pointer| container.pointer(pointer))
        .find(|ended| ended.is_object());
    let wrong_machine = ended.is_some_and(|ended| text(ended, "/message").contains("exec format error"))
        || message.contains("exec format error");
    let trouble = |sentence: String, grace: Duration| Some(Trouble { sentence, grace });
    if wrong_machine {
        return trouble(
            format!("container `{name}` is built for another architecture (exec format error)"),
            AT_ONCE,
        );
    }
    match reason {
        "InvalidImageName" | "ErrImageNeverPull" => {
            trouble(format!("container `{name}`: {reason}: {message}"), AT_ONCE)
        }
        "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" => {
            let is_final =
                ["not found", "manifest unknown", "unauthorized", "denied", "no match for platform"];
            let final_answer = is_final.iter().any(|answer| message.to_lowercase().contains(answer));
            let grace = if final_answer { AT_ONCE } else { SHORT };
            trouble(format!("container `{name}`: its image cannot be pulled: {message}"), grace)
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" | "StartError" => {
            let provided = provides.iter().filter_map(|each| each.split_once('/'));
            let is_coming = provided.into_iter().any(|(_, name)| message.contains(name));
            match is_coming {
                true => None,
                false => trouble(format!("container `{name}`: {reason}: {message}"), SHORT),
            }
        }
        _ => {
            let exit = ended.and_then(|ended| number(ended, "/exitCode"));
            let is_init = items(pod, "/spec/initContainers").iter().any(|init| text(init, "/name") == name);
            let crashed = exit.is_some_and(|code| code != 0) || (exit == Some(0) && !is_init);
            if restarted > i64::from(restarts) && crashed {
                let code = exit.unwrap_or_default();
                let grace = crash_grace(pod, name);
                return trouble(
                    format!(
                        "container `{name}` was restarted more than {restarts} times, last exit code {code}"
                    ),
                    grace,
                );
            }
            None
        }
    }
}

/// A container that once ran for long before being killed by its liveness probe may still come up; one that has no such probe
/// crashed by itself and will again. Derived from the probes: the time a single start may rightfully take.
fn crash_grace(pod: &Value, container: &str) -> Duration {
    let spec = items(pod, "/spec/containers").iter().find(|each| text(each, "/name") == container);
    let Some(startup) = spec.and_then(|spec| spec.get("startupProbe")) else { return AT_ONCE };
    let field = |name: &str, default: i64| number(startup, &format!("/{name}")).unwrap_or(default);
    let seconds = field("initialDelaySeconds", 0) + field("periodSeconds", 10) * field("failureThreshold", 3);
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn unschedulable(pod: &Value) -> Option<Trouble> {
    let scheduled = super::rules::condition(pod, "PodScheduled")?;
    let refused = text(scheduled, "/status") == "False" && text(scheduled, "/reason") == "Unschedulable";
    refused.then(|| Trouble {
        sentence: format!("no node takes the pod: {}", text(scheduled, "/message")),
        grace: Duration::from_secs(15),
    })
}

#[cfg(test)]
mod tests;
