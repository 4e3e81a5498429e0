//! Whether an image has the signature its rule asks for, as cosign makes it with a key: a statement about the digest under the tag
//! that belongs to it.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::declaration::Rule;
use super::error::{MirrorFailure, failed, name};
use super::survey::{Objection, Survey};
use crate::client::Client;
use crate::document::{Manifest, Raw};
use crate::sign::{PAYLOAD, PublicKey, SIGNATURE};

/// A statement is a small document.
const LIMIT: usize = 1 << 20;

/// What is to be said against the image, if its rule wants a signature. It is the original that has to be signed.
pub(super) async fn check(
    client: &Client,
    root: &Path,
    rule: &Rule,
    tag: &str,
    survey: &Survey,
) -> Result<Option<Objection>, MirrorFailure> {
    let Some(file) = &rule.signature_key else { return Ok(None) };
    let key = PublicKey::read(&root.join(file))
        .map_err(|source| MirrorFailure::Key { image: name(&rule.source, tag), source: Box::new(source) })?;
    let failed = || failed("read the signature of", &rule.source, tag);
    let source = client.repository(&rule.source.registry, &rule.source.name).map_err(failed())?;
    let original = survey.upstream.as_ref().unwrap_or(&survey.top);
    let wanted = format!("{}-{}.sig", original.digest.algorithm().name(), original.digest.hex());
    let signatures = survey.referrers.iter().filter(|referrer| referrer.tag.as_ref() == Some(&wanted));
    for signature in signatures {
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&signature.raw.bytes) else { continue };
        for layer in manifest.layers.iter().filter(|layer| layer.media_type == PAYLOAD) {
            let Some(written) = layer.annotations.get(SIGNATURE) else { continue };
            let statement = source.blob(layer, LIMIT).await.map_err(failed())?;
            let is_good = STANDARD.decode(written).is_ok_and(|written| key.signed(&statement, &written));
            if is_good && is_about(&statement, original) {
                return Ok(None);
            }
        }
    }
    Ok(Some(Objection::Unsigned { key: file.clone() }))
}

fn is_about(statement: &[u8], image: &Raw) -> bool {
    #[derive(Deserialize)]
    struct Statement {
        critical: Critical,
    }
    #[derive(Deserialize)]
    struct Critical {
        image: Image,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Image {
        docker_manifest_digest: String,
    }
    serde_json::from_slice::<Statement>(statement)
        .is_ok_and(|statement| statement.critical.image.docker_manifest_digest == image.digest.to_string())
}
