//! An option of deployment: a kustomization in `manifests/options/` that lists the folder of one component and changes it, by more objects and by
//! JSON patches (RFC 6902) of objects it has. What is read is what `kubectl kustomize` makes of the same file, or refused.

use std::fs;
use std::path::{Component as Part, Path, PathBuf};

use json_patch::Patch;
use mistake::{Mistake, did_you_mean};
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use super::folder::{KUSTOMIZATION, at, read_text};
use super::{Component, Components, LoadError, folder};

/// Folder of the options, relative to the workspace.
const OPTIONS: &str = "manifests/options";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Kustomization {
    #[serde(rename = "apiVersion")]
    _api_version: Option<String>,
    #[serde(rename = "kind")]
    _kind: Option<String>,
    resources: Vec<Spanned<String>>,
    #[serde(default)]
    patches: Vec<Change>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    target: Target,
    /// Operations, as YAML or JSON.
    patch: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    kind: String,
    name: Spanned<String>,
}

impl Components {
    /// The same components, one of them changed by the option called `name`.
    pub fn with_option(mut self, root: &Path, name: &str) -> Result<Components, LoadError> {
        let folder = Path::new(OPTIONS).join(name);
        if name.is_empty() || name.contains(['/', '.']) || !root.join(&folder).is_dir() {
            return Err(unknown(root, name));
        }
        let file = folder.join(KUSTOMIZATION);
        let input = read_text(root, &file)?;
        let kustomization: Kustomization =
            serde_saphyr::from_str(&input).map_err(|error| Mistake::from_yaml(&file, &input, &error))?;
        let (files, folders): (Vec<_>, Vec<_>) =
            kustomization.resources.iter().partition(|listed| listed.value.ends_with(".yaml"));
        let [listed] = folders.as_slice() else {
            let message = format!("an option changes one component, this one lists {}", folders.len());
            let hint = "list one component's folder, as in `- ../../web`";
            return Err(Mistake::whole_file(&file, message).hint(hint).into());
        };
        let changed = resolved(&folder, &listed.value);
        let Some(component) = self.components.iter_mut().find(|component| component.folder == changed) else {
            let message = format!("`{}` is not a component's folder", listed.value);
            return Err(at(&file, &input, listed, message).into());
        };
        component.objects.extend(folder::read_listed(root, &file, &input, &files, None)?);
        for change in &kustomization.patches {
            apply(component, change)
                .map_err(|(place, message, hint)| at(&file, &input, place, message).maybe_hint(hint))?;
        }
        folder::check_duplicates(root, &self.components)?;
        Ok(self)
    }
}

/// Patches the one object that is meant; the error says where, what and what helps.
fn apply<'a>(
    component: &mut Component,
    change: &'a Change,
) -> Result<(), (&'a Spanned<String>, String, Option<String>)> {
    let Change { target: Target { kind, name }, patch } = change;
    let of_kind = component.objects.iter().filter(|object| object.kind() == kind);
    let names: Vec<String> = of_kind.map(|object| object.name().to_owned()).collect();
    let meant = component.objects.iter_mut().find(|one| one.kind() == kind && one.name() == name.value);
    let object = meant.ok_or_else(|| {
        let message = format!("component `{}` has no {kind} `{}`", component.name, name.value);
        (name, message, did_you_mean(&name.value, names.iter().map(String::as_str)))
    })?;
    let operations: Value = serde_saphyr::from_str(&patch.value)
        .map_err(|error| (patch, format!("the patch is not YAML: {error}"), None))?;
    let operations: Patch = serde_json::from_value(operations).map_err(|error| {
        let hint = "write operations as in RFC 6902: `- op: add`, with `path` and `value`";
        (patch, format!("the patch is not a list of operations: {error}"), Some(hint.to_owned()))
    })?;
    json_patch::patch(&mut object.value, &operations)
        .map_err(|error| (patch, format!("the patch does not fit {kind} `{}`: {error}", name.value), None))
}

/// A path as it is written in a kustomization, from the workspace.
fn resolved(folder: &Path, written: &str) -> PathBuf {
    let mut path = folder.to_path_buf();
    for part in Path::new(written).components() {
        match part {
            Part::ParentDir => _ = path.pop(),
            Part::Normal(name) => path.push(name),
            Part::CurDir | Part::RootDir | Part::Prefix(_) => {}
        }
    }
    path
}

fn unknown(root: &Path, name: &str) -> LoadError {
    // No folder, no options.
    let folders = fs::read_dir(root.join(OPTIONS)).into_iter().flatten().flatten();
    let mut known: Vec<String> =
        folders.map(|folder| folder.file_name().to_string_lossy().into_owned()).collect();
    known.sort();
    let hint = did_you_mean(name, known.iter().map(String::as_str));
    let hint = hint.unwrap_or_else(|| match known.is_empty() {
        true => format!("make a folder `{OPTIONS}/{name}` with a {KUSTOMIZATION}"),
        false => format!("there are: {}", known.join(", ")),
    });
    LoadError::UnknownOption { name: name.to_owned(), hint }
}

#[cfg(test)]
mod tests;
