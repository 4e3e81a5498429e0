//! What `docker save`, `podman save` and `buildah push` write: an OCI layout or Docker's older form, in a tar. Every blob is checked against
//! its digest, and layers that are not packed become packed ones.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::digest::Digest;
use crate::document::{CONFIG, Descriptor, ImageConfig, Index, LAYER_GZIP, LAYER_ZSTD, Manifest, Raw};
use crate::layer;
use crate::layer::read::{each_entry, plain, unpacked};
use crate::layout::{Layout, LayoutError};
use crate::recipe::Compression;

/// An archive of an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read.
    #[error("read the archive")]
    Read(#[from] io::Error),
    /// A document in it is not what it should be.
    #[error("understand `{name}` in the archive")]
    Document {
        /// Its name in the archive.
        name: String,
        /// Why.
        source: serde_json::Error,
    },
    /// It lacks something.
    #[error("find {what} in the archive")]
    Missing {
        /// What.
        what: String,
    },
    /// Something in it is not what it is called.
    #[error("read `{name}` in the archive: it has the digest {found}")]
    Corrupt {
        /// What it is called.
        name: String,
        /// What it is.
        found: Digest,
    },
    /// It cannot be taken into the layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// An image that was taken into a layout.
pub(super) struct Imported {
    pub config: Raw,
    /// With names for people.
    pub layers: Vec<(String, Descriptor)>,
}

/// The files of an archive, unpacked; links of Docker's older form are kept aside, not made.
struct Files {
    directory: PathBuf,
    links: BTreeMap<String, String>,
}

/// Docker's older table of contents.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Older {
    config: String,
    layers: Vec<String>,
}

/// Takes the one image of the archive `file` into the layout; `scratch` is an empty place for its parts.
pub(super) fn import(
    file: &Path,
    scratch: &Path,
    layout: &Layout,
    compression: Compression,
) -> Result<Imported, ArchiveError> {
    let files = Files::unpack(File::open(file)?, scratch.join("parts"))?;
    let (config, layers) = match files.find("index.json") {
        Some(_) => files.modern()?,
        None => files.older()?,
    };
    let config = Raw::new(CONFIG, fs::read(files.required(&config)?)?);
    let typed: ImageConfig = serde_json::from_slice(&config.bytes)
        .map_err(|source| ArchiveError::Document { name: "config".to_string(), source })?;
    let diff_ids = typed.rootfs.diff_ids;
    if diff_ids.len() != layers.len() {
        return Err(ArchiveError::Missing { what: format!("{} layers", diff_ids.len()) });
    }
    let mut imported = Imported { config, layers: Vec::new() };
    for (position, (name, diff_id)) in layers.iter().zip(&diff_ids).enumerate() {
        let descriptor = take(&files.required(name)?, name, diff_id, layout, compression)?;
        imported.layers.push((format!("layer {}", position + 1), descriptor));
    }
    Ok(imported)
}

impl Files {
    fn unpack(archive: File, directory: PathBuf) -> Result<Files, ArchiveError> {
        fs::create_dir_all(&directory)?;
        let mut files = Files { directory, links: BTreeMap::new() };
        each_entry(archive, |path, entry| {
            let kind = entry.header().entry_type();
            if kind.is_symlink() || kind.is_hard_link() {
                let target = entry.link_name_bytes().unwrap_or_default();
                let target = String::from_utf8_lossy(&target).into_owned();
                let from = if kind.is_symlink() {
                    path.rsplit_once('/').map_or("", |(parent, _)| parent)
                } else {
                    ""
                };
                files.links.insert(path.clone(), plain(&format!("{from}/{target}")));
            } else if kind.is_file() {
                let target = files.directory.join(path.trim_start_matches('/'));
                fs::create_dir_all(target.parent().unwrap_or(&files.directory))?;
                io::copy(entry, &mut File::create(target)?)?;
            }
            Ok::<_, io::Error>(())
        })?;
        Ok(files)
    }

    fn find(&self, name: &str) -> Option<PathBuf> {
        let name = plain(name);
        let name = self.links.get(&name).unwrap_or(&name);
        let path = self.directory.join(name.trim_start_matches('/'));
        path.is_file().then_some(path)
    }

    fn required(&self, name: &str) -> Result<PathBuf, ArchiveError> {
        self.find(name).ok_or_else(|| ArchiveError::Missing { what: format!("`{name}`") })
    }

    fn document<T: DeserializeOwned>(&self, name: &str) -> Result<T, ArchiveError> {
        let bytes = fs::read(self.required(name)?)?;
        serde_json::from_slice(&bytes)
            .map_err(|source| ArchiveError::Document { name: name.to_string(), source })
    }

    /// Config and layers of a layout: of the one image in it, whatever lies around it.
    fn modern(&self) -> Result<(String, Vec<String>), ArchiveError> {
        let mut open = self.document::<Index>("index.json")?.manifests;
        let missing = || ArchiveError::Missing { what: "an image".to_string() };
        loop {
            // Attestations name a platform that does not exist.
            open.retain(|found| found.platform.as_ref().is_none_or(|platform| platform.os != "unknown"));
            let found = if open.is_empty() { return Err(missing()) } else { open.remove(0) };
            let name = blob(&found.digest);
            if found.is_index() {
                open = self.document::<Index>(&name)?.manifests;
                continue;
            }
            let Manifest { config, layers, .. } = self.document(&name)?;
            let layers = layers.iter().map(|layer| blob(&layer.digest)).collect();
            return Ok((blob(&config.digest), layers));
        }
    }

    fn older(&self) -> Result<(String, Vec<String>), ArchiveError> {
        let mut images: Vec<Older> = self.document("manifest.json")?;
        let Older { config, layers } =
            images.pop().ok_or_else(|| ArchiveError::Missing { what: "an image".to_string() })?;
        Ok((config, layers))
    }
}

fn blob(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// Takes a layer over, packed; its content must be what the config says.
fn take(
    path: &Path,
    name: &str,
    diff_id: &Digest,
    layout: &Layout,
    compression: Compression,
) -> Result<Descriptor, ArchiveError> {
    let mut magic = [0; 4];
    let known = File::open(path)?.read(&mut magic)?;
    let packed = match magic.get(..known).unwrap_or_default() {
        [0x1f, 0x8b, ..] => Some(LAYER_GZIP),
        [0x28, 0xb5, 0x2f, 0xfd] => Some(LAYER_ZSTD),
        _ => None,
    };
    let (found, _) = Digest::of_reader(&mut unpacked(File::open(path)?)?)?;
    if found != *diff_id {
        return Err(ArchiveError::Corrupt { name: name.to_string(), found });
    }
    let mut source = File::open(path)?;
    let (staged, media_type) = match packed {
        Some(media_type) => {
            let mut staged = layout.stage()?;
            io::copy(&mut source, &mut staged)?;
            (staged, media_type)
        }
        None => (layer::repack(&mut source, compression, layout.stage()?)?, compression.media_type()),
    };
    let (digest, size) = layout.commit(staged)?;
    Ok(Descriptor::new(media_type, digest, size))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tar::{Builder, EntryType, Header};

    use super::*;
    use crate::document::MANIFEST;
    use crate::layer::{Content, Entry};

    /// An archive of files and links.
    fn archive(directory: &Path, files: &[(&str, Vec<u8>)], links: &[(&str, &str)]) -> PathBuf {
        let path = directory.join("image.tar");
        let mut builder = Builder::new(File::create(&path).unwrap());
        for (name, content) in files {
            let mut header = Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, name, content.as_slice()).unwrap();
        }
        for (name, target) in links {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, name, target).unwrap();
        }
        builder.into_inner().unwrap();
        path
    }

    /// A layer without compression, and its digest.
    fn tar() -> (Vec<u8>, Digest) {
        let file = Entry { path: "/a".into(), mode: 0o644, content: Content::Bytes(b"x".into()) };
        let (packed, diff_id) = layer::write(&[file], Compression::Gzip(1), Vec::new()).unwrap();
        let mut plain = Vec::new();
        unpacked(packed.as_slice()).unwrap().read_to_end(&mut plain).unwrap();
        (plain, diff_id)
    }

    fn config(diff_ids: &[&Digest]) -> Vec<u8> {
        let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        config.to_string().into_bytes()
    }

    fn imported(directory: &Path, file: &Path) -> Result<Imported, ArchiveError> {
        let layout = Layout::open(directory.join("layout")).unwrap();
        let imported = import(file, directory, &layout, Compression::Gzip(6))?;
        assert!(imported.layers.iter().all(|(_, layer)| layout.has(layer)));
        Ok(imported)
    }

    #[test]
    fn dockers_older_form_is_read_with_its_links() {
        let dir = tempfile::tempdir().unwrap();
        let (layer, diff_id) = tar();
        let contents =
            json!([{ "Config": "c.json", "RepoTags": null, "Layers": ["a/layer.tar", "b/layer.tar"] }]);
        let files = [
            ("a/layer.tar", layer),
            ("c.json", config(&[&diff_id, &diff_id])),
            ("manifest.json", contents.to_string().into_bytes()),
        ];
        let file = archive(dir.path(), &files, &[("b/layer.tar", "../a/layer.tar")]);
        let imported = imported(dir.path(), &file).unwrap();
        let layers: Vec<_> =
            imported.layers.iter().map(|(name, layer)| (name.as_str(), layer.media_type.as_str())).collect();
        assert_eq!(layers, [("layer 1", LAYER_GZIP), ("layer 2", LAYER_GZIP)]);
        assert_eq!(imported.layers[0].1, imported.layers[1].1);
    }

    /// A layout in an archive, with an attestation before the image.
    fn modern(directory: &Path, layer: Vec<u8>, diff_id: &Digest) -> PathBuf {
        let config = config(&[diff_id]);
        let describe = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() });
        let manifest = json!({ "schemaVersion": 2, "config": describe(CONFIG, &config), "layers": [describe(LAYER_GZIP, &layer)] });
        let manifest = manifest.to_string().into_bytes();
        let mut attestation = describe(MANIFEST, b"none");
        attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
        let index: Value =
            json!({ "schemaVersion": 2, "manifests": [attestation, describe(MANIFEST, &manifest)] });
        let name = |bytes: &[u8]| blob(&Digest::of(bytes));
        let (a, b, c) = (name(&layer), name(&config), name(&manifest));
        let files = [
            (a.as_str(), layer.clone()),
            (b.as_str(), config.clone()),
            (c.as_str(), manifest.clone()),
            ("index.json", index.to_string().into_bytes()),
        ];
        archive(directory, &files, &[])
    }

    #[test]
    fn a_layout_is_read_and_its_packed_layers_stay_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let (layer, diff_id) = tar();
        let packed = layer::repack(&mut layer.as_slice(), Compression::Gzip(9), Vec::new()).unwrap();
        let digest = Digest::of(&packed);
        let file = modern(dir.path(), packed, &diff_id);
        assert_eq!(imported(dir.path(), &file).unwrap().layers[0].1.digest, digest);
    }

    #[test]
    fn what_is_not_what_it_claims_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (layer, _) = tar();
        let file = modern(dir.path(), layer, &Digest::of(b"something else"));
        let error = imported(dir.path(), &file).err().unwrap();
        assert!(matches!(error, ArchiveError::Corrupt { .. }), "{error}");
        let file = archive(dir.path(), &[("index.json", b"{}".to_vec())], &[]);
        let error = imported(&dir.path().join("other"), &file).err().unwrap();
        assert!(
            error.to_string().contains("schemaVersion") || error.to_string().contains("index.json"),
            "{error}"
        );
    }
}
