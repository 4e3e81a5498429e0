//! What is said about an image, beside the image: its bill of materials and where it came from.
//!
//! Both are documents of their own that point at the image (OCI referrers), so the image's digest says nothing about them and stays
//! reproducible. They contain no time and nothing about this machine: the same sources give the same documents. `audit` is the exception:
//! a list inside the program, for scanners that see nothing else.

pub(crate) mod audit;
pub(crate) mod metadata;
pub mod provenance;
pub mod sbom;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use xshell::{Shell, cmd};

use metadata::Metadata;

use crate::build::{BuildError, BuiltImage};
use crate::document::{Descriptor, Raw, artifact, empty};
use crate::layout::Layout;
use crate::plan::{BuildPlan, PlannedImage};
use crate::platform::Platform;
use crate::recipe::Binary;
use crate::toolchain::Compiler;

/// Artifact type of a bill of materials.
pub const SBOM: &str = "application/vnd.cyclonedx+json";
/// Artifact type of a statement about where an image came from.
pub const PROVENANCE: &str = "application/vnd.in-toto+json";

/// What provenance needs to know; gathered before the build is planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The commit that was built, if the sources are a git checkout.
    pub commit: Option<String>,
    /// Files differ from that commit.
    pub changed: bool,
    /// Where the commit can be had.
    pub repository: Option<String>,
    /// What compiled.
    pub compiler: Option<Compiler>,
}

impl Origin {
    /// Looks at the checkout in `root`.
    pub fn gather(root: &Path, compiler: Option<Compiler>) -> Origin {
        let git = |arguments: &[&str]| {
            let shell = Shell::new().ok()?;
            shell.change_dir(root);
            let said = cmd!(shell, "git {arguments...}").quiet().ignore_stderr().read().ok()?;
            Some(said.trim().to_string())
        };
        Origin {
            commit: git(&["rev-parse", "HEAD"]),
            changed: git(&["status", "--porcelain"]).is_none_or(|status| !status.is_empty()),
            repository: git(&["remote", "get-url", "origin"]).and_then(|url| public(&url)),
            compiler,
        }
    }
}

/// An address others can use, without a user's name or password; a path on this machine is none.
fn public(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    if !matches!(scheme, "https" | "http" | "ssh" | "git") {
        return None;
    }
    let (authority, path) = rest.split_once('/')?;
    let host = authority.rsplit('@').next()?;
    (!host.is_empty()).then(|| format!("{scheme}://{host}/{path}"))
}

/// Writes the documents about the images into the layout and lists them with the images.
pub(crate) fn attest(
    plan: &BuildPlan,
    layout: &Layout,
    origin: &Origin,
    described: &BTreeMap<Platform, Metadata>,
    images: &mut [BuiltImage],
) -> Result<(), BuildError> {
    let lock = std::fs::read_to_string(plan.root.join("Cargo.lock")).unwrap_or_default();
    for (planned, built) in plan.images.iter().zip(&mut *images) {
        built.attestations.clear();
        let PlannedImage { recipe, platforms } = planned;
        for (platform, manifest) in platforms.iter().zip(&built.manifests) {
            let Binary::Cargo { package, bin } = &recipe.binary else { continue };
            let Some(metadata) = described.get(platform) else { continue };
            let document = sbom::document(metadata, &lock, package, bin).ok_or_else(|| {
                BuildError::Metadata { source: io::Error::other(format!("it lacks `{package}`")) }
            })?;
            built.attestations.push(store(layout, SBOM, &document, &manifest.manifest, built.name.as_str())?);
        }
        let statement = provenance::statement(plan, planned, origin, &lock, &built.index);
        built.attestations.push(store(layout, PROVENANCE, &statement, &built.index, built.name.as_str())?);
    }
    layout.attach(images.iter().flat_map(|image| &image.attestations).cloned().collect())?;
    Ok(())
}

fn store(
    layout: &Layout,
    kind: &'static str,
    document: &serde_json::Value,
    subject: &Descriptor,
    image: &str,
) -> Result<Descriptor, BuildError> {
    let failed = |source| BuildError::Document { image: image.to_string(), document: "attestation", source };
    let content = Raw::of(kind, document).map_err(failed)?;
    let manifest = artifact(kind, &content, subject).map_err(failed)?;
    for raw in [&empty(), &content, &manifest] {
        layout.put(raw)?;
    }
    let mut descriptor = manifest.descriptor();
    descriptor.artifact_type = Some(kind.to_string());
    Ok(descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_published_without_its_secrets() {
        let check = |url: &str, expected: Option<&str>| assert_eq!(public(url).as_deref(), expected, "{url}");
        check("https://me:secret@git.example/team/app.git", Some("https://git.example/team/app.git"));
        check("ssh://git@git.example/team/app", Some("ssh://git.example/team/app"));
        check("git@git.example:team/app.git", None);
        check("/home/me/app", None);
        check("file:///home/me/app", None);
    }
}
