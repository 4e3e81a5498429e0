//! The declaration file: its format, and the mistakes that can be seen without the YAML.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use mistake::{Mistake, did_you_mean};
use serde::Deserialize;
use toml::Spanned;

use super::{LoadError, Readiness};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    component: BTreeMap<String, Spanned<Section>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Section {
    folder: Option<Spanned<String>>,
    #[serde(default)]
    needs: Vec<Spanned<String>>,
    deadline: Option<Spanned<String>>,
    #[serde(default)]
    readiness: Readiness,
    #[serde(default)]
    provides: Vec<Spanned<String>>,
    admission_probe: Option<String>,
    #[serde(default = "default_restarts")]
    restarts: u32,
}

/// One entry, checked, its YAML not yet read.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    pub(super) needs: Vec<String>,
    pub(super) deadline: Duration,
    pub(super) readiness: Readiness,
    pub(super) provides: Vec<String>,
    pub(super) admission_probe: Option<String>,
    pub(super) restarts: u32,
}

/// The file as read: its entries, and what is needed to point into it later.
pub(super) struct Declared {
    pub(super) entries: Vec<Entry>,
    file: PathBuf,
    input: String,
    needs_at: BTreeMap<(String, String), std::ops::Range<usize>>,
}

const DEFAULT_DEADLINE: Duration = Duration::from_secs(120);

fn default_restarts() -> u32 {
    2
}

/// Reads the declaration `file` below `root`.
pub(super) fn read(root: &Path, file: &Path) -> Result<Declared, LoadError> {
    let input = fs::read_to_string(root.join(file))
        .map_err(|source| LoadError::Read { file: file.to_path_buf(), source })?;
    let parsed: File = toml::from_str(&input).map_err(|error| Mistake::from_toml(file, &input, &error))?;
    let names: Vec<&str> = parsed.component.keys().map(String::as_str).collect();
    let mut needs_at = BTreeMap::new();
    let mut entries = Vec::new();
    // The reader sorts tables by name; the order they are written in is the one people expect.
    let mut sections: Vec<_> = parsed.component.iter().collect();
    sections.sort_by_key(|(_, section)| section.span().start);
    for (name, section) in sections {
        let section = section.get_ref();
        for need in &section.needs {
            if !names.contains(&need.get_ref().as_str()) {
                let message = format!("component `{name}` needs `{}`, which is not declared", need.get_ref());
                let hint = did_you_mean(need.get_ref(), names.iter().copied());
                return Err(Mistake::at_bytes(file, &input, need.span(), message).maybe_hint(hint).into());
            }
            needs_at.insert((name.clone(), need.get_ref().clone()), need.span());
        }
        for provided in &section.provides {
            if provided.get_ref().split('/').filter(|part| !part.is_empty()).count() != 2 {
                let message = format!("`{}` does not name an object", provided.get_ref());
                return Err(Mistake::at_bytes(file, &input, provided.span(), message)
                    .hint("write `Kind/name`, as in \"Secret/web-tls\"")
                    .into());
            }
        }
        let deadline = match &section.deadline {
            Some(written) => parse_duration(written.get_ref()).ok_or_else(|| {
                let message = format!("`{}` is not a duration", written.get_ref());
                Mistake::at_bytes(file, &input, written.span(), message)
                    .hint("write seconds or minutes, as in \"90s\" or \"2m\"")
            })?,
            None => DEFAULT_DEADLINE,
        };
        let folder = section.folder.as_ref().map_or(name.as_str(), |folder| folder.get_ref().as_str());
        entries.push(Entry {
            name: name.clone(),
            folder: file.parent().unwrap_or(Path::new("")).join(folder),
            needs: section.needs.iter().map(|need| need.get_ref().clone()).collect(),
            deadline,
            readiness: section.readiness,
            provides: section.provides.iter().map(|provided| provided.get_ref().clone()).collect(),
            admission_probe: section.admission_probe.clone(),
            restarts: section.restarts,
        });
    }
    Ok(Declared { entries, file: file.to_path_buf(), input, needs_at })
}

impl Declared {
    /// The mistake for a circle of needs, at the edge that closes it.
    pub(super) fn cycle(&self, cycle: &[String]) -> Mistake {
        let message = format!("these components need each other: {}", cycle.join(" → "));
        let edge = match cycle {
            [.., from, to] => self.needs_at.get(&(from.clone(), to.clone())),
            _ => None,
        };
        match edge {
            Some(span) => Mistake::at_bytes(&self.file, &self.input, span.clone(), message),
            None => Mistake::whole_file(&self.file, message),
        }
        .hint("remove one of these `needs`")
    }
}

/// `500ms`, `90s`, `2m`, `1m 30s`.
fn parse_duration(written: &str) -> Option<Duration> {
    written.parse::<SignedDuration>().ok()?.try_into().ok()
}
