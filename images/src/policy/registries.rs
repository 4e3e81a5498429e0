//! The policy as a person writes it: `images/registries.toml`.

use std::io;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use mistake::{Mistake, Slip};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::pattern::Pattern;
use super::{MalformedName, Name, Place};

/// Where the policy is, relative to the workspace root.
pub const FILE: &str = "images/registries.toml";

/// Which registries images may come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Policy {
    /// Approved registries, the preferred tier first.
    pub tiers: Vec<Tier>,
    /// Registries nobody may use without an exception.
    pub prohibited: Vec<Prohibition>,
    /// Places where a tag is not enough.
    pub digest_required: Vec<Place>,
    /// Deviations that somebody approved, until a day.
    pub exceptions: Vec<Exception>,
    /// For how many days before its end an exception warns.
    pub warn_days: u16,
}

impl Policy {
    /// Where images of one's own go: the first approved folder of a registry.
    pub fn own_place(&self) -> Option<&str> {
        self.tiers.iter().flat_map(|tier| &tier.registries).find_map(Pattern::folder)
    }
}

/// One group of approved registries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tier {
    /// Its name.
    pub name: String,
    /// Its registries.
    pub registries: Vec<Pattern>,
}

/// Registries that are prohibited, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prohibition {
    /// The registries.
    pub registries: Vec<Pattern>,
    /// Why, as a sentence fragment.
    pub reason: String,
    /// What to use instead.
    pub instead: Option<String>,
}

/// One image that may be used although its registry may not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exception {
    /// The image; its digest is what is allowed.
    pub image: String,
    /// Files in which it is allowed.
    pub scope: Vec<String>,
    /// Who looks after it.
    pub owner: String,
    /// Who allowed it; somebody else.
    pub approver: String,
    /// Why.
    pub reason: String,
    /// Last day on which it holds.
    pub expires: Date,
    /// Day on which somebody looks whether it is still needed.
    pub review: Date,
    /// Line of the file, for findings about the exception itself.
    pub line: usize,
}

/// The policy could not be read or is wrong.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file could not be read.
    #[error("read the registry policy in {}", path.display())]
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    digest_required: Vec<Place>,
    #[serde(default = "two_weeks")]
    warn_days: u16,
    #[serde(default)]
    tier: Vec<WrittenTier>,
    #[serde(default)]
    prohibited: Vec<WrittenProhibition>,
    #[serde(default)]
    exception: Vec<Spanned<WrittenException>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenTier {
    name: String,
    registries: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenProhibition {
    registries: Vec<Spanned<String>>,
    reason: String,
    instead: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenException {
    image: Spanned<String>,
    scope: Spanned<Vec<String>>,
    owner: Spanned<String>,
    approver: Spanned<String>,
    reason: Spanned<String>,
    expires: Spanned<toml::value::Datetime>,
    review: Spanned<toml::value::Datetime>,
}

fn two_weeks() -> u16 {
    14
}

/// Reads and checks `images/registries.toml` of the workspace at `root`.
pub fn load(root: &Path) -> Result<Policy, PolicyError> {
    let path = root.join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|source| PolicyError::Read { path, source })?;
    parse(FILE, &text)
}

/// Checks the text of a policy; `name` is what errors call it.
pub fn parse(name: &str, text: &str) -> Result<Policy, PolicyError> {
    let wrong = |slip: Slip| PolicyError::Wrong(Box::new(slip.in_file(Path::new(name), text)));
    let file: File = toml::from_str(text).map_err(|error| wrong(Slip::from_toml(&error)))?;
    checked(file, text).map_err(wrong)
}

fn checked(file: File, text: &str) -> Result<Policy, Slip> {
    let File { digest_required, warn_days, tier, prohibited, exception } = file;
    if tier.is_empty() {
        let hint = "add a table `[[tier]]` with `name` and `registries`".to_owned();
        return Err(Slip::new(0..0, "no registry is approved", Some(hint)));
    }
    let tiers = tier
        .into_iter()
        .map(|WrittenTier { name, registries }| Ok(Tier { name, registries: patterns(registries)? }));
    let prohibited = prohibited.into_iter().map(|WrittenProhibition { registries, reason, instead }| {
        Ok(Prohibition { registries: patterns(registries)?, reason, instead })
    });
    let exceptions = exception.into_iter().map(|written| {
        let line = text[..written.span().start.min(text.len())].matches('\n').count() + 1;
        checked_exception(written.into_inner(), line)
    });
    Ok(Policy {
        tiers: tiers.collect::<Result<_, Slip>>()?,
        prohibited: prohibited.collect::<Result<_, Slip>>()?,
        digest_required,
        exceptions: exceptions.collect::<Result<_, Slip>>()?,
        warn_days,
    })
}

fn patterns(written: Vec<Spanned<String>>) -> Result<Vec<Pattern>, Slip> {
    let pattern = |written: Spanned<String>| {
        Pattern::parse(written.get_ref()).map_err(|problem| Slip::new(written.span(), problem, None))
    };
    written.into_iter().map(pattern).collect()
}

fn checked_exception(written: WrittenException, line: usize) -> Result<Exception, Slip> {
    let WrittenException { image, scope, owner, approver, reason, expires, review } = written;
    let name = Name::parse(image.get_ref())
        .map_err(|problem: MalformedName| Slip::new(image.span(), problem.to_string(), None))?;
    if name.digest().is_none() {
        let hint = "write `<registry>/<repository>@sha256:<digest>`; a tag could become another image";
        return Err(Slip::new(image.span(), "an exception is for one digest", Some(hint.to_owned())));
    }
    if scope.get_ref().is_empty() {
        let hint = "name the files it is for, as in [\"images/*.Containerfile\"]".to_owned();
        return Err(Slip::new(scope.span(), "an exception is for some files", Some(hint)));
    }
    for (key, value) in [("owner", &owner), ("approver", &approver), ("reason", &reason)] {
        if value.get_ref().trim().is_empty() {
            return Err(Slip::new(value.span(), format!("`{key}` is empty"), None));
        }
    }
    if owner.get_ref().trim().eq_ignore_ascii_case(approver.get_ref().trim()) {
        let message = format!("`{}` cannot approve an exception of their own", owner.get_ref());
        return Err(Slip::new(approver.span(), message, Some("ask somebody else".to_owned())));
    }
    let review_at = review.span();
    let expires = date(expires)?;
    let review = date(review)?;
    if review > expires {
        let hint = "the review decides whether it is prolonged".to_owned();
        return Err(Slip::new(review_at, "the review is after the end", Some(hint)));
    }
    Ok(Exception {
        image: image.into_inner(),
        scope: scope.into_inner(),
        owner: owner.into_inner(),
        approver: approver.into_inner(),
        reason: reason.into_inner(),
        expires,
        review,
        line,
    })
}

fn date(written: Spanned<toml::value::Datetime>) -> Result<Date, Slip> {
    let wrong = || {
        let hint = "write a day, as in 2026-02-09".to_owned();
        Slip::new(written.span(), "it is not a day", Some(hint))
    };
    let toml::value::Datetime { date: Some(date), time: None, offset: None } = written.get_ref() else {
        return Err(wrong());
    };
    let (year, month, day) = (i16::try_from(date.year), i8::try_from(date.month), i8::try_from(date.day));
    match (year, month, day) {
        (Ok(year), Ok(month), Ok(day)) => Date::new(year, month, day).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}
