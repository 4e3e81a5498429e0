//! Leaving platforms out of an index. Pure.

use serde_json::Value;

use super::index_of;
use crate::document::{Descriptor, DescriptorPlatform, Raw};
use crate::platform::Platform;

/// Annotation by which a builder's attestation says which manifest it is about.
const ABOUT: &str = "vnd.docker.reference.digest";

/// What remains of an index.
#[derive(Debug)]
pub(super) struct Trimmed {
    /// Manifests that stay.
    pub kept: Vec<Descriptor>,
    /// The shorter index; `None` when nothing was left out, so that the original and its signatures hold.
    pub index: Option<Raw>,
}

/// `os/architecture[/variant]`; arm64's only variant is not written.
pub(in crate::mirror) fn platform_name(platform: &DescriptorPlatform) -> String {
    let DescriptorPlatform { architecture, os, variant } = platform;
    match variant.as_deref() {
        None => format!("{os}/{architecture}"),
        Some("v8") if architecture == "arm64" => format!("{os}/{architecture}"),
        Some(variant) => format!("{os}/{architecture}/{variant}"),
    }
}

/// Keeps the manifests of `platforms`, and the attestations about them; all of them when no platform is named.
pub(super) fn trim(index: &Raw, platforms: &[Platform]) -> Result<Trimmed, String> {
    let listed = index_of(index)?.manifests;
    let wanted: Vec<String> = platforms.iter().map(ToString::to_string).collect();
    let is_wanted = |descriptor: &Descriptor| {
        wanted.is_empty()
            || descriptor.platform.as_ref().is_some_and(|platform| wanted.contains(&platform_name(platform)))
    };
    let images: Vec<String> =
        listed.iter().filter(|one| is_wanted(one)).map(|one| one.digest.to_string()).collect();
    let stays = |descriptor: &Descriptor| {
        is_wanted(descriptor) || descriptor.annotations.get(ABOUT).is_some_and(|about| images.contains(about))
    };
    let kept: Vec<Descriptor> = listed.iter().filter(|one| stays(one)).cloned().collect();
    if kept.len() == listed.len() {
        return Ok(Trimmed { kept, index: None });
    }
    // The document is shortened as it is, so that fields unknown here stay.
    let mut document: Value = serde_json::from_slice(&index.bytes).map_err(|error| error.to_string())?;
    let digests: Vec<String> = kept.iter().map(|one| one.digest.to_string()).collect();
    if let Some(manifests) = document.get_mut("manifests").and_then(Value::as_array_mut) {
        manifests.retain(|one| {
            one.get("digest")
                .and_then(Value::as_str)
                .is_some_and(|digest| digests.iter().any(|kept| kept == digest))
        });
    }
    let raw = Raw::of(&index.media_type, &document).map_err(|error| error.to_string())?;
    Ok(Trimmed { kept, index: Some(raw) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::{INDEX, MANIFEST};

    fn index() -> Raw {
        let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let entry = |digit: &str, os: &str, architecture: &str, variant: Option<&str>| {
            let mut platform = json!({"os": os, "architecture": architecture, "os.features": ["x"]});
            if let Some(variant) = variant {
                platform["variant"] = json!(variant);
            }
            json!({"mediaType": MANIFEST, "digest": digest(digit), "size": 1, "platform": platform})
        };
        let mut attestation = entry("4", "unknown", "unknown", None);
        attestation["annotations"] = json!({ABOUT: digest("1")});
        let mut other = entry("5", "unknown", "unknown", None);
        other["annotations"] = json!({ABOUT: digest("3")});
        let manifests = [
            entry("1", "linux", "amd64", None),
            entry("2", "linux", "arm64", Some("v8")),
            entry("3", "linux", "arm", Some("v7")),
            attestation,
            other,
        ];
        Raw::of(INDEX, &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, "extra": 1}))
            .unwrap()
    }

    #[track_caller]
    fn check(platforms: &[&str], kept: &[&str], shortened: bool) {
        let platforms: Vec<Platform> = platforms.iter().map(|platform| platform.parse().unwrap()).collect();
        let trimmed = trim(&index(), &platforms).unwrap();
        let found: Vec<String> = trimmed.kept.iter().map(|one| one.digest.hex()[..1].to_owned()).collect();
        assert_eq!(
            (found.as_slice(), trimmed.index.is_some()),
            (&kept.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>()[..], shortened)
        );
    }

    #[test]
    fn attestations_stay_with_their_platform() {
        check(&["linux/amd64"], &["1", "4"], true);
        check(&["linux/amd64", "linux/arm64"], &["1", "2", "4"], true);
        check(&["linux/arm/v7"], &["3", "5"], true);
    }

    #[test]
    fn an_index_with_nothing_to_leave_out_stays_as_it_is() {
        check(&[], &["1", "2", "3", "4", "5"], false);
        check(&["linux/amd64", "linux/arm64", "linux/arm/v7"], &["1", "2", "3", "4", "5"], false);
    }

    #[test]
    fn what_is_not_known_here_survives() {
        let trimmed = trim(&index(), &["linux/amd64".parse().unwrap()]).unwrap().index.unwrap();
        let document: Value = serde_json::from_slice(&trimmed.bytes).unwrap();
        assert_eq!(
            (&document["extra"], &document["manifests"][0]["platform"]["os.features"]),
            (&json!(1), &json!(["x"]))
        );
    }
}
