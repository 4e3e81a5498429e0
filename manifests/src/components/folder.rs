//! A component's folder: the files its `kustomization.yaml` lists, so that `kubectl apply -k` deploys the same objects.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use mistake::{Mistake, did_you_mean};
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::file::Entry;
use super::{Component, LoadError};
use crate::document;
use crate::object::{Object, ObjectId};

pub(super) const KUSTOMIZATION: &str = "kustomization.yaml";

/// Only what plain files need. Generators and patches would make the applied objects differ from the files.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Kustomization {
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "kind")]
    _kind: Option<String>,
    #[serde(default)]
    resources: Vec<Spanned<String>>,
}

/// Reads the objects of one component.
pub(super) fn load(root: &Path, entry: &Entry) -> Result<Component, LoadError> {
    let Entry { name, folder, needs, deadline, readiness, provides, admission_probe, restarts } = entry;
    let (file, input, kustomization) = read_kustomization(root, folder)?;
    let resources: Vec<&Spanned<String>> = kustomization.resources.iter().collect();
    let objects = read_listed(root, &file, &input, &resources, admission_probe.as_deref())?;
    let admission_probe = match admission_probe {
        Some(probe) => read_objects(root, &folder.join(probe))?.into_iter().next(),
        None => None,
    };
    Ok(Component {
        name: name.clone(),
        folder: folder.clone(),
        needs: needs.clone(),
        deadline: *deadline,
        readiness: *readiness,
        provides: provides.clone(),
        restarts: *restarts,
        objects,
        admission_probe,
    })
}

/// Reads the objects of the files that a kustomization lists, which has to be every YAML file beside it but `probe`.
pub(super) fn read_listed(
    root: &Path,
    kustomization: &Path,
    input: &str,
    resources: &[&Spanned<String>],
    probe: Option<&str>,
) -> Result<Vec<Object>, LoadError> {
    let folder = kustomization.parent().unwrap_or(Path::new(""));
    let present = yaml_files(root, folder)?;
    let mut objects = Vec::new();
    for resource in resources {
        if !present.contains(&resource.value) {
            let message = format!("`{}` is not a YAML file of {}", resource.value, folder.display());
            let hint = did_you_mean(&resource.value, present.iter().map(String::as_str));
            return Err(at(kustomization, input, resource, message).maybe_hint(hint).into());
        }
        objects.extend(read_objects(root, &folder.join(&resource.value))?);
    }
    let is_listed = |file: &str| resources.iter().any(|resource| resource.value == file);
    let forgotten = present.iter().find(|file| !is_listed(file) && probe != Some(file.as_str()));
    if let Some(forgotten) = forgotten {
        let message =
            format!("`{forgotten}` lies in the folder and is not listed, so nobody would deploy it");
        return Err(Mistake::whole_file(kustomization, message)
            .hint(format!("add `- {forgotten}` to `resources`"))
            .into());
    }
    Ok(objects)
}

/// The top-level kustomization must list exactly the declared components.
pub(super) fn check_listed(root: &Path, folder: &Path, components: &[Component]) -> Result<(), LoadError> {
    let (file, input, kustomization) = read_kustomization(root, folder)?;
    let is_component =
        |listed: &str| components.iter().any(|component| component.folder == folder.join(listed));
    if let Some(stranger) = kustomization.resources.iter().find(|listed| !is_component(&listed.value)) {
        let message = format!("`{}` is not a component's folder", stranger.value);
        let hint = "declare it in components.toml, or remove the line";
        return Err(at(&file, &input, stranger, message).hint(hint).into());
    }
    let is_listed = |component: &Component| {
        kustomization.resources.iter().any(|listed| folder.join(&listed.value) == component.folder)
    };
    if let Some(missing) = components.iter().find(|component| !is_listed(component)) {
        let message =
            format!("component `{}` is not listed, so `kubectl apply -k` would leave it out", missing.name);
        let relative = missing.folder.strip_prefix(folder).unwrap_or(&missing.folder).display();
        return Err(Mistake::whole_file(&file, message)
            .hint(format!("add `- {relative}` to `resources`"))
            .into());
    }
    Ok(())
}

/// No object may be declared twice, in one component or in two.
pub(super) fn check_duplicates(root: &Path, components: &[Component]) -> Result<(), LoadError> {
    let mut seen: BTreeMap<ObjectId, &Object> = BTreeMap::new();
    for object in components.iter().flat_map(|component| &component.objects) {
        if let Some(first) = seen.insert(object.id(), object) {
            let input = fs::read_to_string(root.join(&object.file)).unwrap_or_default();
            let message = format!("{} is declared twice, first at {}", object.id(), first.place());
            let mistake = Mistake::at(&object.file, &input, object.line, 1, 1, message);
            return Err(mistake.hint("keep one of the two documents").into());
        }
    }
    Ok(())
}

fn read_kustomization(root: &Path, folder: &Path) -> Result<(PathBuf, String, Kustomization), LoadError> {
    let file = folder.join(KUSTOMIZATION);
    let input = read_text(root, &file)?;
    let kustomization = serde_saphyr::from_str(&input).map_err(|error| {
        let mistake = Mistake::from_yaml(&file, &input, &error);
        match mistake.hint {
            Some(_) => mistake,
            None => mistake
                .hint("only `resources` is read: the files are complete; what changes them is an option, in manifests/options"),
        }
    })?;
    Ok((file, input, kustomization))
}

fn read_objects(root: &Path, file: &Path) -> Result<Vec<Object>, LoadError> {
    let input = read_text(root, file)?;
    Ok(document::read(file, &input)?)
}

pub(super) fn read_text(root: &Path, file: &Path) -> Result<String, LoadError> {
    fs::read_to_string(root.join(file)).map_err(|source| LoadError::Read { file: file.to_path_buf(), source })
}

/// The YAML files of a folder, sorted, without the kustomization.
fn yaml_files(root: &Path, folder: &Path) -> Result<Vec<String>, LoadError> {
    let failed = |source| LoadError::Read { file: folder.to_path_buf(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join(folder)).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name().to_string_lossy().into_owned();
        if (name.ends_with(".yaml") || name.ends_with(".yml")) && name != KUSTOMIZATION {
            files.push(name);
        }
    }
    files.sort();
    Ok(files)
}

pub(super) fn at(file: &Path, input: &str, resource: &Spanned<String>, message: String) -> Mistake {
    let position = |value: u64| usize::try_from(value).unwrap_or(1);
    let (line, column) = (position(resource.referenced.line()), position(resource.referenced.column()));
    let first = resource.value.lines().next().unwrap_or_default();
    Mistake::at(file, input, line, column, first.chars().count(), message)
}
