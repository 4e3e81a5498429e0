//! Registry policy: which registries images may come from, and who may deviate from that until when.
//!
//! `registries` reads `images/registries.toml`, `tree` collects every image reference of a workspace (`containerfile` and
//! `yaml` know how they are written), [`check`] judges them on a given day, `sarif` writes the findings for code scanners.
//!
//! It asks no registry anything: whether an image exists, is signed or is vulnerable is not decided here.

mod containerfile;
mod judge;
mod name;
mod pattern;
mod registries;
mod sarif;
mod tree;
mod unlocked;
mod yaml;

use std::fmt;

use serde::Serialize;

pub use judge::check;
pub use name::{MalformedName, Name};
pub use pattern::Pattern;
pub use registries::{Exception, FILE, Policy, PolicyError, Prohibition, Tier, load, parse};
pub use sarif::sarif;
pub use tree::{TreeError, collect};
pub use unlocked::unlocked;

/// Where in a workspace an image is named; decides which rules apply to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// `FROM`, `COPY --from` or `RUN --mount=from` of a Containerfile.
    Containerfile,
    /// What a Containerfile lets be fetched besides images: a compiler of nobody's choice.
    Compiler,
    /// An object that is deployed, or a custom resource that names an image.
    Manifest,
    /// A node image of a cluster declaration.
    NodeImage,
    /// A job container, a service or a `docker://` action of a workflow.
    Workflow,
    /// What an image that is built here stands on.
    Recipe,
    /// Where the mirror copies to.
    Mirror,
}

/// One image reference as it is written somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mention {
    /// The file, relative to the workspace.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// What kind of place that is.
    pub place: Place,
    /// The reference with arguments replaced, or why that cannot be done.
    pub image: Result<String, String>,
}

/// What the rules are called; the names are a contract with those who filter findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The registry is on the list of prohibited ones.
    ProhibitedRegistry,
    /// The registry is on no list.
    UnapprovedRegistry,
    /// No registry is named, so whoever pulls decides.
    ShortName,
    /// A tag can move; this place needs a digest.
    DigestRequired,
    /// A compiler is fetched past the approved images.
    FetchedCompiler,
    /// One repository, and more than one tag or digest of it to build with.
    DivergingVersions,
    /// An argument without a default decides what is pulled.
    UnresolvedArgument,
    /// It is no image reference at all.
    MalformedReference,
    /// The exception that allowed it is over.
    ExceptionExpired,
    /// The exception that allows it is over soon.
    ExceptionExpiresSoon,
    /// The day on which the exception was to be looked at again has passed.
    ExceptionReviewOverdue,
    /// Nothing needs the exception.
    ExceptionUnused,
    /// What is declared as mirrored has never been: there are no approved copies.
    MirrorNotLocked,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 13] = [
        Rule::ProhibitedRegistry,
        Rule::UnapprovedRegistry,
        Rule::ShortName,
        Rule::DigestRequired,
        Rule::FetchedCompiler,
        Rule::DivergingVersions,
        Rule::UnresolvedArgument,
        Rule::MalformedReference,
        Rule::ExceptionExpired,
        Rule::ExceptionExpiresSoon,
        Rule::ExceptionReviewOverdue,
        Rule::ExceptionUnused,
        Rule::MirrorNotLocked,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Rule::ProhibitedRegistry => "prohibited-registry",
            Rule::UnapprovedRegistry => "unapproved-registry",
            Rule::ShortName => "short-name",
            Rule::DigestRequired => "digest-required",
            Rule::FetchedCompiler => "fetched-compiler",
            Rule::DivergingVersions => "diverging-versions",
            Rule::UnresolvedArgument => "unresolved-argument",
            Rule::MalformedReference => "malformed-reference",
            Rule::ExceptionExpired => "exception-expired",
            Rule::ExceptionExpiresSoon => "exception-expires-soon",
            Rule::ExceptionReviewOverdue => "exception-review-overdue",
            Rule::ExceptionUnused => "exception-unused",
            Rule::MirrorNotLocked => "mirror-not-locked",
        }
    }

    /// Whether a finding fails the check.
    pub fn severity(self) -> Severity {
        match self {
            Rule::ProhibitedRegistry
            | Rule::UnapprovedRegistry
            | Rule::ShortName
            | Rule::DigestRequired
            | Rule::FetchedCompiler
            | Rule::UnresolvedArgument
            | Rule::MalformedReference
            | Rule::ExceptionExpired => Severity::Error,
            Rule::DivergingVersions
            | Rule::ExceptionExpiresSoon
            | Rule::ExceptionReviewOverdue
            | Rule::ExceptionUnused
            | Rule::MirrorNotLocked => Severity::Warning,
        }
    }
}

/// Whether a finding fails the check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// It does.
    Error,
    /// It is only said.
    Warning,
}

/// Something the policy objects to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// By which rule.
    pub rule: Rule,
    /// Whether it fails the check.
    pub severity: Severity,
    /// In which file, relative to the workspace.
    pub file: String,
    /// At which line, from 1.
    pub line: usize,
    /// The image as written.
    pub image: String,
    /// What is wrong.
    pub message: String,
    /// The edit that fixes it.
    pub fix: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { rule, severity, file, line, image: _, message, fix } = self;
        let severity = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{file}:{line}: {severity}[{}]: {message}\n  = hint: {fix}", rule.name())
    }
}

#[cfg(test)]
mod tests;
