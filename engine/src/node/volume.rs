//! The volumes of a pod: directories and files on the node that appear in its containers.
//!
//! Supported are `emptyDir`, `configMap`, `secret`, `projected`, `downwardAPI`, `hostPath`, and claims on volumes that are
//! directories of the node. Contents made from API objects are kept in the pod's directory (not in memory, as on a real node)
//! and follow their objects while the pod runs.

mod atomic;
mod host_path;
mod ownership;
mod payload;
mod token;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, PersistentVolume, PersistentVolumeClaim, Pod, Volume,
};
use kube::{Api, ResourceExt};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use self::payload::Payload;
use self::token::Tokens;
use super::container::field::Placement;
use super::references::{self, Found};
use crate::schema::quantity::nanos;

/// A volume cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {cause}")]
pub(crate) struct VolumeError {
    /// Its name in the pod.
    pub volume: String,
    /// The cause.
    pub cause: String,
}

/// Where a volume is on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// File or directory.
    pub path: PathBuf,
    /// Containers cannot write to it, whatever they say.
    pub read_only: bool,
}

/// The volumes of one pod. Dropped, they are no longer mounted; their directory is the pod's to remove.
#[derive(Debug)]
pub(crate) struct Volumes {
    directory: PathBuf,
    places: BTreeMap<String, Place>,
    /// Contents last written, by volume.
    written: BTreeMap<String, Payload>,
    tokens: Tokens,
    /// File systems of their own.
    mounted: Vec<PathBuf>,
}

impl Volumes {
    /// Makes all volumes of a pod below `directory`.
    pub(crate) async fn make(
        client: &kube::Client,
        pod: &Pod,
        placement: &Placement,
        directory: PathBuf,
    ) -> Result<Self, VolumeError> {
        let mut volumes = Self {
            directory,
            places: BTreeMap::new(),
            written: BTreeMap::new(),
            tokens: Tokens::default(),
            mounted: Vec::new(),
        };
        let spec = pod.spec.clone().unwrap_or_default();
        let found = volumes.read(client, pod).await?;
        for volume in spec.volumes.iter().flatten() {
            let failed = |cause: String| VolumeError { volume: volume.name.clone(), cause };
            if let Some(payload) = volumes.payload(client, pod, volume, &found, placement).await {
                volumes.write(pod, volume, payload.map_err(failed)?).map_err(failed)?;
                continue;
            }
            let place = if let Some(empty) = &volume.empty_dir {
                volumes.empty_dir(pod, &volume.name, empty)
            } else if let Some(source) = &volume.host_path {
                let path = PathBuf::from(&source.path);
                let checked = host_path::check(&path, source.type_.as_deref().unwrap_or_default());
                checked.map(|()| Place { path, read_only: false })
            } else if let Some(source) = &volume.persistent_volume_claim {
                let read_only = source.read_only == Some(true);
                claimed(client, pod, &source.claim_name, read_only).await
            } else {
                Err("this node has no volumes of this type".to_owned())
            };
            volumes.places.insert(volume.name.clone(), place.map_err(failed)?);
        }
        Ok(volumes)
    }

    /// Where a volume is.
    pub(crate) fn place(&self, name: &str) -> Option<&Place> {
        self.places.get(name)
    }

    /// When a token must be fetched again.
    pub(crate) fn refresh_due(&self) -> Option<Timestamp> {
        self.tokens.refresh_due()
    }

    /// Brings contents up to date with the objects they come from. Each volume that cannot be keeps what it has.
    pub(crate) async fn refresh(
        &mut self,
        client: &kube::Client,
        pod: &Pod,
        placement: &Placement,
    ) -> Vec<VolumeError> {
        let mut failed = Vec::new();
        let found = match self.read(client, pod).await {
            Ok(found) => found,
            Err(error) => return vec![error],
        };
        let spec = pod.spec.clone().unwrap_or_default();
        for volume in spec.volumes.iter().flatten() {
            let Some(payload) = self.payload(client, pod, volume, &found, placement).await else { continue };
            if let Err(cause) = payload.and_then(|payload| self.write(pod, volume, payload)) {
                failed.push(VolumeError { volume: volume.name.clone(), cause });
            }
        }
        failed
    }

    async fn read(&self, client: &kube::Client, pod: &Pod) -> Result<Found, VolumeError> {
        let spec = pod.spec.clone().unwrap_or_default();
        let names = spec.volumes.iter().flatten().flat_map(references::of_volume).collect();
        let found = references::read(client, &pod.namespace().unwrap_or_default(), &names).await;
        found.map_err(|error| VolumeError {
            volume: spec
                .volumes
                .iter()
                .flatten()
                .map(|volume| volume.name.as_str())
                .collect::<Vec<_>>()
                .join(" "),
            cause: error.to_string(),
        })
    }

    /// The content of a volume, for those that have content made by the node.
    async fn payload(
        &mut self,
        client: &kube::Client,
        pod: &Pod,
        volume: &Volume,
        found: &Found,
        placement: &Placement,
    ) -> Option<Result<Payload, String>> {
        if let Err(error) = self.tokens.fetch(client, pod, volume).await {
            return Some(Err(error));
        }
        payload::of(volume, pod, found, placement, &self.tokens)
    }

    fn write(&mut self, pod: &Pod, volume: &Volume, payload: Payload) -> Result<(), String> {
        if self.written.get(&volume.name) == Some(&payload) {
            return Ok(());
        }
        let path = self.directory.join(&volume.name);
        let group = ownership::group(pod);
        atomic::write(&path, &payload, group).map_err(|error| error.to_string())?;
        self.written.insert(volume.name.clone(), payload);
        self.places.insert(volume.name.clone(), Place { path, read_only: true });
        Ok(())
    }

    fn empty_dir(&mut self, pod: &Pod, name: &str, source: &EmptyDirVolumeSource) -> Result<Place, String> {
        let path = self.directory.join(name);
        let failed = |error: io::Error| format!("making {}: {error}", path.display());
        fs::create_dir_all(&path).map_err(failed)?;
        if source.medium.as_deref() == Some("Memory") {
            let size = source.size_limit.as_ref().and_then(|limit| nanos(&limit.0));
            let size = size.map(|nanos| format!(",size={}", nanos / 1_000_000_000)).unwrap_or_default();
            let options = format!("mode=0777{size}");
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            mount(Some("emptydir"), &path, Some("tmpfs"), flags, Some(options.as_str()))
                .map_err(|errno| failed(errno.into()))?;
            self.mounted.push(path.clone());
        }
        open_to_all(&path).map_err(failed)?;
        ownership::give(&path, ownership::group(pod)).map_err(failed)?;
        Ok(Place { path, read_only: false })
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        for path in &self.mounted {
            if let Err(errno) = umount2(path, MntFlags::MNT_DETACH) {
                tracing::warn!(path = %path.display(), %errno, "cannot unmount a volume");
            }
        }
    }
}

/// The directory behind a claim.
async fn claimed(client: &kube::Client, pod: &Pod, claim: &str, read_only: bool) -> Result<Place, String> {
    let claims: Api<PersistentVolumeClaim> =
        Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let found = claims.get_opt(claim).await.map_err(|error| error.to_string())?;
    let found = found.ok_or_else(|| format!("persistentvolumeclaim {claim:?} not found"))?;
    let bound = found.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let volume = found.spec.as_ref().and_then(|spec| spec.volume_name.clone()).filter(|_| bound);
    let volume = volume.ok_or_else(|| format!("persistentvolumeclaim {claim:?} is not bound"))?;
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let found = volumes.get_opt(&volume).await.map_err(|error| error.to_string())?;
    let spec = found.and_then(|found| found.spec);
    let spec = spec.ok_or_else(|| format!("persistentvolume {volume:?} not found"))?;
    let path = match (&spec.host_path, &spec.local) {
        (Some(source), _) => PathBuf::from(&source.path),
        (None, Some(source)) => PathBuf::from(&source.path),
        (None, None) => return Err(format!("persistentvolume {volume:?} is no directory of the node")),
    };
    let failed = |error: io::Error| format!("preparing {}: {error}", path.display());
    if !path.exists() {
        fs::create_dir_all(&path).and_then(|()| open_to_all(&path)).map_err(failed)?;
    }
    ownership::give(&path, ownership::group(pod)).map_err(failed)?;
    Ok(Place { path, read_only })
}

fn open_to_all(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))
}
