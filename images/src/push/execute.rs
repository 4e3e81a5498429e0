//! Does what the plan says: blobs side by side, then documents from the bottom up.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};
use std::sync::Arc;

use super::plan::{BlobPlan, ImagePlan, PushPlan};
use super::{Destination, Observer, PushError, PushEvent, Pushed, failed, reference};
use crate::client::{Client, Moved, Progress, Source};
use crate::layout::Layout;

/// Blobs that move at the same time.
const SIDE_BY_SIDE: usize = 4;

pub(super) async fn execute(
    layout: &Layout,
    plan: &PushPlan,
    destination: &Destination,
    client: &Client,
    observer: &Observer,
) -> Result<Pushed, PushError> {
    let moved: Vec<Vec<(Moved, u64)>> = stream::iter(&plan.blobs)
        .map(|blob| move_blob(layout, blob, destination, client, observer))
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    let moved: Vec<(Moved, u64)> = moved.into_iter().flatten().collect();
    let written: Vec<(usize, u64)> = stream::iter(&plan.images)
        .map(|image| write_documents(layout, image, destination, client, observer))
        .buffer_unordered(SIDE_BY_SIDE)
        .try_collect()
        .await?;
    let references = plan
        .images
        .iter()
        .map(|image| (image.image.clone(), reference(destination, &image.repository, &image.index.digest)));
    let sent = moved.iter().filter(|(moved, _)| *moved == Moved::Uploaded);
    Ok(Pushed {
        references: references.collect::<BTreeMap<_, _>>(),
        blobs: sent.clone().count(),
        mounted: moved.iter().filter(|(moved, _)| *moved == Moved::Mounted).count(),
        manifests: written.iter().map(|(count, _)| count).sum(),
        bytes: sent.map(|(_, size)| size).sum::<u64>() + written.iter().map(|(_, bytes)| bytes).sum::<u64>(),
        seconds: 0.0,
    })
}

/// Brings one blob everywhere: sent once at most, mounted from there into the other repositories.
async fn move_blob(
    layout: &Layout,
    blob: &BlobPlan,
    destination: &Destination,
    client: &Client,
    observer: &Observer,
) -> Result<Vec<(Moved, u64)>, PushError> {
    let BlobPlan { descriptor, present_in, missing_in } = blob;
    let source = Source::File(layout.blob_path(&descriptor.digest));
    let mut neighbour = present_in.clone();
    let mut moved = Vec::new();
    for name in missing_in {
        let repository = client.repository(&destination.registry, name).map_err(failed(name))?;
        let told = observer.clone();
        let progress: Progress = Arc::new(move |bytes| told(PushEvent::Progress { bytes }));
        let how = repository
            .push_blob(descriptor, &source, neighbour.as_deref(), &progress)
            .await
            .map_err(failed(name))?;
        observer(PushEvent::Blob {
            repository: name.clone(),
            digest: descriptor.digest.clone(),
            mounted: how == Moved::Mounted,
            bytes: if how == Moved::Uploaded { descriptor.size } else { 0 },
        });
        moved.push((how, descriptor.size));
        neighbour.get_or_insert_with(|| name.clone());
    }
    Ok(moved)
}

/// Writes what the image lacks; gives how many documents and bytes that were.
async fn write_documents(
    layout: &Layout,
    image: &ImagePlan,
    destination: &Destination,
    client: &Client,
    observer: &Observer,
) -> Result<(usize, u64), PushError> {
    let ImagePlan { image: name, repository: path, index, manifests, write_index, attestations, tags } =
        image;
    let repository = client.repository(&destination.registry, path).map_err(failed(name))?;
    let (mut count, mut bytes) = (0, 0);
    for manifest in manifests {
        repository.put_manifest(&layout.read(manifest)?, &[]).await.map_err(failed(name))?;
        count += 1;
        bytes += manifest.size;
    }
    // Before the tags: what a name leads to is complete, with what is said about it.
    for attestation in attestations {
        repository.put_manifest(&layout.read(attestation)?, &[]).await.map_err(failed(name))?;
        count += 1;
        bytes += attestation.size;
    }
    if *write_index || !tags.is_empty() {
        let raw = layout.read(index)?;
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        repository.put_manifest(&raw, &tags).await.map_err(failed(name))?;
        count += 1;
        bytes += index.size;
    }
    observer(PushEvent::Pushed {
        image: name.clone(),
        reference: reference(destination, path, &index.digest),
    });
    Ok((count, bytes))
}
