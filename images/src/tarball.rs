//! Images as one file that `docker load`, `podman load` and `ctr images import` read: an OCI layout, with Docker's older table of contents
//! for those that do not know layouts. The same images give the same bytes.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use crate::build::BuiltImage;
use crate::digest::Digest;
use crate::document::{Index, Manifest, REF_NAME};
use crate::layout::{Layout, LayoutError};

/// The file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum TarballError {
    /// A part of an image cannot be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// It cannot be written.
    #[error("write the images to the file")]
    Write(#[from] io::Error),
    /// A document could not be made.
    #[error("describe the images")]
    Document(#[from] serde_json::Error),
}

/// Writes images as `name:tag`. For Docker's older form each image has its first platform only.
pub fn write(layout: &Layout, images: &[BuiltImage], tag: &str, out: impl Write) -> Result<(), TarballError> {
    let mut archive = Builder::new(out);
    let mut index = Index::new(Vec::new());
    let mut older = Vec::new();
    let mut blobs: BTreeSet<(Digest, u64)> = BTreeSet::new();
    for image in images {
        let name = format!("{}:{tag}", image.name);
        let mut listed = image.index.clone();
        listed.annotations.insert(REF_NAME.to_string(), tag.to_string());
        // What containerd and Docker call the image.
        listed
            .annotations
            .insert("io.containerd.image.name".to_string(), format!("docker.io/library/{name}"));
        index.manifests.push(listed);
        blobs.insert((image.index.digest.clone(), image.index.size));
        for (position, manifest) in layout.document::<Index>(&image.index)?.manifests.iter().enumerate() {
            let Manifest { config, layers, .. } = layout.document(manifest)?;
            if position == 0 {
                older.push(contents(&name, &config.digest, layers.iter().map(|layer| &layer.digest)));
            }
            for blob in [manifest, &config].into_iter().chain(&layers) {
                blobs.insert((blob.digest.clone(), blob.size));
            }
        }
    }
    append(&mut archive, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    append(&mut archive, "index.json", &serde_json::to_vec(&index)?)?;
    append(&mut archive, "manifest.json", &serde_json::to_vec(&older)?)?;
    for (digest, size) in blobs {
        let mut header = header(size);
        archive.append_data(&mut header, path(&digest), layout.open_blob(&digest)?)?;
    }
    archive.into_inner()?.flush()?;
    Ok(())
}

fn contents<'a>(name: &str, config: &Digest, layers: impl Iterator<Item = &'a Digest>) -> Value {
    json!({ "Config": path(config), "RepoTags": [name], "Layers": layers.map(path).collect::<Vec<_>>() })
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

fn append<W: Write>(archive: &mut Builder<W>, path: &str, bytes: &[u8]) -> io::Result<()> {
    archive.append_data(&mut header(bytes.len() as u64), path, bytes)
}

fn header(size: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}
