//! The image itself: it cannot be pulled, or it is for another machine.

use super::{Saying, distinct, sayings};
use crate::diagnose::Cause;
use crate::diagnose::snapshot::Snapshot;
use crate::diagnose::view;
use crate::object::text;

pub(super) fn cannot_be_pulled(snapshot: &Snapshot) -> Vec<Cause> {
    let reasons =
        ["ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable"];
    let stuck =
        view::all_containers(snapshot).into_iter().filter(|container| reasons.contains(&container.waiting()));
    stuck
        .map(|container| {
            let image = text(container.spec, "/image");
            let pulling =
                view::events(snapshot, container.pod).into_iter().map(|event| text(event, "/message"));
            // "Back-off pulling image" repeats the name and hides the reason, which is in the events.
            let about_image =
                pulling.filter(|message| message.contains("pull") && !message.starts_with("Back-off"));
            let said: Vec<&str> = [container.waiting_message()].into_iter().chain(about_image).collect();
            let lower = said.join("\n").to_lowercase();
            let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
            let host = image.split('/').next().unwrap_or_default();
            let (sentence, hint) = if container.waiting() == "InvalidImageName" {
                (format!("`{image}` is not an image reference"), "correct `image` in the manifest".to_owned())
            } else if has(&["no match for platform", "no child with platform"]) {
                let arch = architecture(snapshot, &container);
                (format!("image `{image}` has no variant for {arch}"), format!("build it for linux/{arch}"))
            } else if has(&["unauthorized", "authentication required", "denied", "forbidden", "401", "403"]) {
                let hint = "log in to the registry, or add an `imagePullSecrets` entry".to_owned();
                (format!("registry {host} refuses the pull of `{image}`"), hint)
            } else if has(&[
                "connection refused",
                "no such host",
                "timeout",
                "timed out",
                "unreachable",
                "dial tcp",
                "connect",
            ]) {
                let hint = format!("start the registry, or correct the mirror the nodes use for {host}");
                (format!("registry {host} does not answer, so `{image}` cannot be pulled"), hint)
            } else if has(&["not found", "manifest unknown", "404", "name unknown"]) {
                let hint = "push the image, or render the manifests again with the digests that were pushed"
                    .to_owned();
                (format!("image `{image}` is not in registry {host}"), hint)
            } else if container.waiting() == "ErrImageNeverPull" {
                let hint = "load the image into the node, or remove `imagePullPolicy: Never`".to_owned();
                (format!("image `{image}` is not on the node, and it may not be pulled"), hint)
            } else {
                (format!("image `{image}` cannot be pulled"), "the registry's answer is below".to_owned())
            };
            let seen = said.into_iter().filter(|message| !message.is_empty());
            let evidence = distinct(seen.map(|message| format!("{}: {message}", container.place())), 2);
            Cause { sentence, evidence, hint, weight: 100 }
        })
        .collect()
}

pub(super) fn wrong_architecture(snapshot: &Snapshot) -> Vec<Cause> {
    let format_error = |words: &str| words.to_lowercase().contains("exec format error");
    let said: Vec<Saying> =
        sayings(snapshot).into_iter().filter(|saying| format_error(&saying.words)).collect();
    let is_named = |container: &view::Container<'_>| {
        let pod = text(container.pod, "/metadata/name");
        said.iter().any(|saying| saying.place.contains(pod))
    };
    let Some(container) = view::all_containers(snapshot)
        .into_iter()
        .find(|container| !container.is_ready() && is_named(container))
    else {
        return Vec::new();
    };
    let (image, arch) = (text(container.spec, "/image"), architecture(snapshot, &container));
    vec![Cause {
        sentence: format!(
            "image `{image}` holds an executable for another architecture than the node's, {arch}"
        ),
        evidence: distinct(said.iter().map(Saying::evidence), 2),
        hint: format!(
            "build it for linux/{arch} and prove it: the ELF machine must agree with the image's platform"
        ),
        weight: 100,
    }]
}

/// The architecture of the node a container's pod is on.
fn architecture(snapshot: &Snapshot, container: &view::Container<'_>) -> String {
    let name = text(container.pod, "/spec/nodeName");
    let on_it = snapshot.nodes.iter().find(|node| text(node, "/metadata/name") == name);
    let arch = on_it.or(snapshot.nodes.first()).map(|node| text(node, "/status/nodeInfo/architecture"));
    arch.filter(|arch| !arch.is_empty()).unwrap_or("the node's architecture").to_owned()
}
