//! What refers to an image: signatures, SBOMs, attestations, found by the referrers API, its fallback tag, and cosign's tags.
//!
//! The tags of a repository are listed once a run, so that nothing is asked for that does not exist.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::{Referrer, SIDE_BY_SIDE, read};
use crate::client::{Client, ClientError, Repository, fallback_tag};
use crate::digest::Digest;
use crate::mirror::declaration;
use crate::mirror::error::{MirrorFailure, failed};

/// Endings of the tags under which cosign keeps what refers to a digest.
const COSIGN: [&str; 3] = ["sig", "att", "sbom"];

/// Finds what refers to images of one repository.
pub(in crate::mirror) struct Companions {
    repository: Repository,
    /// What it has; `None` when the registry does not tell.
    tags: Option<BTreeSet<String>>,
    /// Whether the registry lists referrers by itself, once that is known.
    lists_referrers: OnceLock<bool>,
}

impl Companions {
    /// Looks at what tags there are.
    pub(in crate::mirror) async fn open(
        client: &Client,
        place: &declaration::Repository,
    ) -> Result<Companions, MirrorFailure> {
        let failed = || failed("list the tags of", place, "*");
        let repository = client.repository(&place.registry, &place.name).map_err(failed())?;
        // A registry that hides its list is asked for each tag instead.
        let tags = match repository.tags().await {
            Ok(tags) => Some(tags.unwrap_or_default().into_iter().collect()),
            Err(ClientError::Refused { .. } | ClientError::Unauthorized { .. }) => None,
            Err(error) => return Err(failed()(error)),
        };
        Ok(Companions { repository, tags, lists_referrers: OnceLock::new() })
    }

    /// Everything about these manifests, each once, and how many manifests were read for that.
    pub(super) async fn of(
        &self,
        subjects: &[Digest],
        image: &str,
    ) -> Result<(Vec<Referrer>, usize), MirrorFailure> {
        let about: Vec<(Vec<Referrer>, usize)> = stream::iter(subjects)
            .map(|subject| self.about(subject, image))
            .buffered(SIDE_BY_SIDE)
            .try_collect()
            .await?;
        let (found, reads): (Vec<Vec<Referrer>>, Vec<usize>) = about.into_iter().unzip();
        let mut found: Vec<Referrer> = found.into_iter().flatten().collect();
        let reads = reads.into_iter().sum();
        let mut known = BTreeSet::new();
        found.retain(|referrer| known.insert((referrer.raw.digest.clone(), referrer.tag.clone())));
        Ok((found, reads))
    }

    async fn about(&self, subject: &Digest, image: &str) -> Result<(Vec<Referrer>, usize), MirrorFailure> {
        let failed = |source| MirrorFailure::Registry {
            doing: "read the referrers of",
            image: image.to_owned(),
            source,
        };
        let listed = match self.lists_referrers.get() {
            Some(false) => None,
            Some(true) | None => self.repository.listed_referrers(subject, None).await.map_err(failed)?,
        };
        self.lists_referrers.get_or_init(|| listed.is_some());
        let mut reads = 0;
        let listed = match listed {
            Some(listed) => listed,
            None if self.may_have(&fallback_tag(subject)) => {
                reads += 1;
                self.repository.tagged_referrers(subject).await.map_err(failed)?
            }
            None => Vec::new(),
        };
        let mut found = Vec::new();
        for descriptor in listed {
            let raw = read(&self.repository, &descriptor.digest, image).await?;
            let kind = descriptor.artifact_type.unwrap_or(descriptor.media_type);
            found.push(Referrer { raw, kind, tag: None });
        }
        for ending in COSIGN {
            let tag = format!("{}-{}.{ending}", subject.algorithm().name(), subject.hex());
            if !self.may_have(&tag) {
                continue;
            }
            let Some(descriptor) = self.repository.head_manifest(&tag).await.map_err(failed)? else {
                continue;
            };
            let raw = read(&self.repository, &descriptor.digest, image).await?;
            found.push(Referrer { raw, kind: format!("cosign {ending}"), tag: Some(tag) });
        }
        reads += found.len();
        Ok((found, reads))
    }

    fn may_have(&self, tag: &str) -> bool {
        self.tags.as_ref().is_none_or(|tags| tags.contains(tag))
    }
}
