//! What is mirrored, as a person writes it: `images/mirror.toml`.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mistake::{Mistake, Slip};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::select::{Glob, Selection, Versions};
use crate::platform::{Platform, UnknownPlatform};
use crate::reference::{Reference, is_tag};

/// Where the declaration is, relative to the workspace root.
pub const FILE: &str = "images/mirror.toml";

/// Everything that is mirrored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// One rule per source and destination, in the order of the file.
    pub rules: Vec<Rule>,
    /// How old the lock may become before `status` fails.
    pub max_lock_age: Duration,
    /// When the scheduled job runs, in cron's five fields, UTC.
    pub schedule: String,
    /// Program and arguments that judge a quarantined image, `{image}` replaced; nothing judges when it is empty.
    pub scanner: Vec<String>,
}

impl Mirror {
    /// The one rule that writes to a repository, given with its registry.
    pub fn writes_to(&self, destination: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.destination.to_string() == destination)
    }
}

/// Tags of one repository that are copied to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// Repository to copy from.
    pub source: Repository,
    /// Repository to copy to.
    pub destination: Repository,
    /// Which tags.
    pub selection: Selection,
    /// Platforms that must be there; those of an image that are not listed are left out. Empty means all.
    pub platforms: Vec<Platform>,
    /// Whether signatures, SBOMs and other referrers come along.
    pub referrers: bool,
    /// How old an image must be before it is taken: time to notice a hijacked release.
    pub minimum_age: Duration,
    /// Largest image that is taken, in bytes over all its platforms.
    pub maximum_size: u64,
    /// Public key, relative to the workspace, that has to have signed an image for it to be taken.
    pub signature_key: Option<PathBuf>,
    /// Line of the rule, for whoever asks why.
    pub line: usize,
}

/// A repository of a registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Repository {
    /// Registry host, with port where there is one.
    pub registry: String,
    /// Its name there.
    pub name: String,
}

impl Repository {
    /// The reference of a tag.
    pub fn tag(&self, tag: &str) -> Reference {
        Reference {
            registry: self.registry.clone(),
            repository: self.name.clone(),
            tag: Some(tag.to_owned()),
            digest: None,
        }
    }
}

impl std::fmt::Display for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

/// The declaration could not be read or is wrong.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The file could not be read.
    #[error("read the mirror declaration in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file says something that cannot be meant.
    #[error("{0}")]
    Wrong(Box<Mistake>),
}

impl MirrorError {
    /// The edit or command that helps, unless the message has it already.
    pub fn hint(&self) -> Option<String> {
        match self {
            MirrorError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => Some(format!(
                "declare what is mirrored in {FILE}: `[[image]]` with `source`, `destination` and `tags`"
            )),
            MirrorError::Read { .. } | MirrorError::Wrong(_) => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    defaults: Defaults,
    schedule: Option<Spanned<String>>,
    max_lock_age: Option<Spanned<String>>,
    #[serde(default)]
    scanner: Vec<String>,
    #[serde(default)]
    image: Vec<Spanned<Image>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Defaults {
    platforms: Option<Vec<Spanned<String>>>,
    referrers: Option<bool>,
    minimum_age: Option<Spanned<String>>,
    maximum_size: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Image {
    source: Spanned<String>,
    destination: Spanned<String>,
    #[serde(default)]
    tags: Vec<Spanned<String>>,
    #[serde(default)]
    globs: Vec<Spanned<String>>,
    versions: Option<Spanned<String>>,
    suffix: Option<Spanned<String>>,
    newest: Option<Spanned<usize>>,
    #[serde(default)]
    exclude: Vec<Spanned<String>>,
    platforms: Option<Vec<Spanned<String>>>,
    referrers: Option<bool>,
    minimum_age: Option<Spanned<String>>,
    maximum_size: Option<Spanned<String>>,
    signature_key: Option<Spanned<PathBuf>>,
}

/// Weekly, on Monday morning.
const SCHEDULE: &str = "17 4 * * 1";
/// Two weekly runs, and a day. The date in a lock is renewed when it is half as old, so that a weekly run with nothing to do changes nothing.
const MAX_LOCK_AGE: Duration = Duration::from_secs(15 * 24 * 3600);
/// 4 GiB: above it nearly always a mistake.
const MAXIMUM_SIZE: u64 = 4 << 30;

/// Reads and checks `images/mirror.toml` of the workspace at `root`.
pub fn load(root: &Path) -> Result<Mirror, MirrorError> {
    let path = root.join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|source| MirrorError::Read { path, source })?;
    parse(FILE, &text)
}

/// Checks the text of a declaration; `name` is what errors call it.
pub fn parse(name: &str, text: &str) -> Result<Mirror, MirrorError> {
    let wrong = |slip: Slip| MirrorError::Wrong(Box::new(slip.in_file(Path::new(name), text)));
    let file: File = toml::from_str(text).map_err(|error| wrong(Slip::from_toml(&error)))?;
    checked(file, text).map_err(wrong)
}

fn checked(file: File, text: &str) -> Result<Mirror, Slip> {
    let File { defaults, schedule, max_lock_age, scanner, image } = file;
    let mut rules: Vec<Rule> = Vec::new();
    for written in image {
        let span = written.span();
        let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
        let rule = checked_rule(written.into_inner(), span.clone(), &defaults, line)?;
        // Two rules that write one repository would fight over its tags.
        if let Some(other) = rules.iter().find(|other| other.destination == rule.destination) {
            let message = format!("`{}` is the destination of line {} already", rule.destination, other.line);
            let hint = "give each source a destination of its own".to_owned();
            return Err(Slip::new(span, message, Some(hint)));
        }
        rules.push(rule);
    }
    Ok(Mirror {
        rules,
        max_lock_age: max_lock_age.map_or(Ok(MAX_LOCK_AGE), duration)?,
        schedule: schedule.map_or(Ok(SCHEDULE.to_owned()), cron)?,
        scanner,
    })
}

fn checked_rule(image: Image, at: Range<usize>, defaults: &Defaults, line: usize) -> Result<Rule, Slip> {
    let Image {
        source,
        destination,
        tags,
        globs,
        versions,
        suffix,
        newest,
        exclude,
        platforms,
        referrers,
        minimum_age,
        maximum_size,
        signature_key,
    } = image;
    if tags.is_empty() && globs.is_empty() && versions.is_none() {
        let hint = "add `tags`, `globs` or `versions`".to_owned();
        return Err(Slip::new(at, "the rule takes no tag", Some(hint)));
    }
    if let (Some(suffix), None) = (&suffix, &versions) {
        return Err(Slip::new(suffix.span(), "`suffix` belongs to `versions`", None));
    }
    if let (Some(newest), true) = (&newest, globs.is_empty() && versions.is_none()) {
        let hint = "add `globs` or `versions`; exact tags are always taken".to_owned();
        return Err(Slip::new(newest.span(), "`newest` has nothing to choose from", Some(hint)));
    }
    if let Some(newest) = newest.as_ref().filter(|newest| *newest.get_ref() == 0) {
        return Err(Slip::new(newest.span(), "`newest` must be at least 1", None));
    }
    if let (Some(key), Some(false)) = (&signature_key, referrers.or(defaults.referrers)) {
        let hint = "leave out `referrers = false`".to_owned();
        return Err(Slip::new(
            key.span(),
            "signatures are referrers, which this rule leaves out",
            Some(hint),
        ));
    }
    let exact = tags.into_iter().map(|tag| match is_tag(tag.get_ref()) {
        true => Ok(tag.into_inner()),
        false => Err(Slip::new(tag.span(), format!("`{}` is not a tag", tag.get_ref()), None)),
    });
    let selection = Selection {
        exact: exact.collect::<Result<_, _>>()?,
        globs: globs.into_iter().map(|glob| Glob::new(glob.into_inner())).collect(),
        versions: versions.map(|range| versions_of(range, suffix)).transpose()?,
        newest: newest.map(Spanned::into_inner),
        exclude: exclude.into_iter().map(|glob| Glob::new(glob.into_inner())).collect(),
    };
    let age = minimum_age.or_else(|| defaults.minimum_age.clone());
    let size = maximum_size.or_else(|| defaults.maximum_size.clone());
    Ok(Rule {
        source: repository(source)?,
        destination: repository(destination)?,
        selection,
        platforms: platform_list(platforms.or_else(|| defaults.platforms.clone()).unwrap_or_default())?,
        referrers: referrers.or(defaults.referrers).unwrap_or(true),
        minimum_age: age.map_or(Ok(Duration::ZERO), duration)?,
        maximum_size: size.map_or(Ok(MAXIMUM_SIZE), bytes)?,
        signature_key: signature_key.map(Spanned::into_inner),
        line,
    })
}

fn versions_of(range: Spanned<String>, suffix: Option<Spanned<String>>) -> Result<Versions, Slip> {
    let requirement = semver::VersionReq::parse(range.get_ref()).map_err(|error| {
        let hint = "write ranges as cargo does, as in \">=1.25, <2\"".to_owned();
        Slip::new(range.span(), format!("it is not a range of versions: {error}"), Some(hint))
    })?;
    Ok(Versions { requirement, suffix: suffix.map(Spanned::into_inner).unwrap_or_default() })
}

fn repository(written: Spanned<String>) -> Result<Repository, Slip> {
    let wrong = |message: String, hint: &str| Slip::new(written.span(), message, Some(hint.to_owned()));
    let reference: Reference =
        written.get_ref().parse().map_err(|error: crate::reference::MalformedReference| {
            wrong(error.to_string(), "write `<registry>/<repository>`")
        })?;
    if reference.tag.is_some() || reference.digest.is_some() {
        return Err(wrong("a repository has no tag".to_owned(), "name tags in `tags`"));
    }
    Ok(Repository { registry: reference.registry, name: reference.repository })
}

fn platform_list(written: Vec<Spanned<String>>) -> Result<Vec<Platform>, Slip> {
    let platform = |written: Spanned<String>| {
        written
            .get_ref()
            .parse()
            .map_err(|error: UnknownPlatform| Slip::new(written.span(), error.to_string(), None))
    };
    written.into_iter().map(platform).collect()
}

/// `90s`, `30m`, `12h`, `3d`.
fn duration(written: Spanned<String>) -> Result<Duration, Slip> {
    let text = written.get_ref();
    let seconds =
        |unit: char, seconds: u64| text.strip_suffix(unit)?.trim().parse::<u64>().ok()?.checked_mul(seconds);
    [('s', 1), ('m', 60), ('h', 3600), ('d', 86400)]
        .into_iter()
        .find_map(|(unit, factor)| seconds(unit, factor))
        .map(Duration::from_secs)
        .ok_or_else(|| {
            let hint = "write a number and a unit, as in \"90s\", \"30m\", \"12h\" or \"3d\"".to_owned();
            Slip::new(written.span(), format!("`{text}` is not a duration"), Some(hint))
        })
}

/// `500MB`, `2GB`, `1GiB`.
fn bytes(written: Spanned<String>) -> Result<u64, Slip> {
    let text = written.get_ref();
    let units = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("kB", 1000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
    ];
    units
        .into_iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit)?.trim().parse::<u64>().ok()?.checked_mul(factor))
        .ok_or_else(|| {
            let hint = "write a number and a unit, as in \"500MB\" or \"2GiB\"".to_owned();
            Slip::new(written.span(), format!("`{text}` is not a size"), Some(hint))
        })
}

/// Five fields of digits and cron's signs; what they mean is up to whoever schedules.
fn cron(written: Spanned<String>) -> Result<String, Slip> {
    let fields: Vec<&str> = written.get_ref().split(' ').collect();
    let is_field = |field: &&str| -> bool {
        !field.is_empty() && field.chars().all(|c| c.is_ascii_alphanumeric() || "*,-/".contains(c))
    };
    if fields.len() == 5 && fields.iter().all(is_field) {
        return Ok(written.into_inner());
    }
    let hint = "write minute, hour, day, month and weekday, as in \"17 4 * * 1\"".to_owned();
    Err(Slip::new(written.span(), "it is not a schedule", Some(hint)))
}

#[cfg(test)]
mod tests;
