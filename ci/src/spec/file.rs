//! A pipeline as it is written, and the mistakes one can make in it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use images::Platform;
use jiff::SignedDuration;
use mistake::Mistake;
use mistake::did_you_mean;
use serde::Deserialize;
use toml::Spanned;

use super::{Cluster, Deploy, Images, Platforms, Program, Selector, Spec, Tests, Tier, Work};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    description: String,
    deadline: Spanned<String>,
    images: Option<ImagesSection>,
    cluster: Option<ClusterSection>,
    deploy: Option<Spanned<DeploySection>>,
    #[serde(default)]
    tier: Vec<Spanned<TierSection>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ImagesSection {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    platforms: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ClusterSection {
    provider: Option<Spanned<String>>,
    declaration: String,
    deadline: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct DeploySection {
    #[serde(default)]
    without: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TierSection {
    name: Spanned<String>,
    title: Option<String>,
    kind: Spanned<Kind>,
    tests: Option<Spanned<Vec<String>>>,
    command: Option<Spanned<Vec<String>>>,
    #[serde(default)]
    needs: Vec<Spanned<String>>,
    deadline: Option<Spanned<String>>,
    threshold: Option<Spanned<u8>>,
    cluster: Option<Spanned<bool>>,
    environment: Option<Spanned<BTreeMap<String, String>>>,
    threads: Option<Spanned<u16>>,
    retries: Option<Spanned<u8>>,
    skip_without: Option<Spanned<BTreeMap<String, Vec<String>>>>,
    #[serde(default)]
    needs_programs: BTreeMap<Spanned<String>, ProgramSection>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ProgramSection {
    install: String,
    #[serde(default)]
    folders: Vec<Spanned<PathBuf>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Compile,
    Tests,
    Compiles,
    Architecture,
    Policy,
    Requirements,
    Command,
}

/// Where mistakes are shown.
struct Source<'a> {
    file: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn mistake(&self, span: Range<usize>, message: impl Into<String>) -> Mistake {
        Mistake::at_bytes(self.file, self.text, span, message)
    }

    fn duration(&self, written: &Spanned<String>) -> Result<Duration, Mistake> {
        parse_duration(written.get_ref()).ok_or_else(|| {
            self.mistake(written.span(), format!("`{}` is not a duration", written.get_ref()))
                .hint("write seconds or minutes, as in \"90s\" or \"2m\"")
        })
    }
}

/// Reads the text of a pipeline file.
pub(super) fn parse(name: &str, file: &Path, text: &str) -> Result<Spec, Mistake> {
    let source = Source { file, text };
    let written: File = toml::from_str(text).map_err(|error| Mistake::from_toml(file, text, &error))?;
    let deadline = source.duration(&written.deadline)?;
    let mut tiers: Vec<Tier> = Vec::new();
    for section in &written.tier {
        tiers.push(tier(&source, section.get_ref(), &tiers, deadline)?);
        let tier = section.get_ref();
        let has_cluster = written.cluster.is_some() && written.deploy.is_some();
        if let Some(wants) = tier.cluster.as_ref().filter(|wants| *wants.get_ref())
            && !has_cluster
        {
            let message =
                format!("tier `{}` needs a cluster, and the pipeline has none", tier.name.get_ref());
            return Err(source
                .mistake(wants.span(), message)
                .hint("add the sections [images], [cluster] and [deploy]"));
        }
    }
    if let Some(deploy) = &written.deploy
        && (written.cluster.is_none() || written.images.is_none())
    {
        let message = "there is nothing to deploy, or nowhere to deploy it to";
        return Err(source.mistake(deploy.span(), message).hint("[deploy] goes with [images] and [cluster]"));
    }
    Ok(Spec {
        name: name.to_owned(),
        description: written.description,
        deadline,
        images: written.images.map(|section| images(&source, section)).transpose()?,
        cluster: written.cluster.map(|section| cluster(&source, section)).transpose()?,
        deploy: written.deploy.map(|section| Deploy { without: section.into_inner().without }),
        tiers,
    })
}

fn images(source: &Source<'_>, section: ImagesSection) -> Result<Images, Mistake> {
    let words: Vec<&str> = section.platforms.iter().map(|platform| platform.get_ref().as_str()).collect();
    let platforms = match words.as_slice() {
        [] | ["host"] => Platforms::Host,
        ["declared"] => Platforms::Declared,
        _ => {
            let parse = |platform: &Spanned<String>| {
                platform.get_ref().parse::<Platform>().map_err(|error| {
                    source
                        .mistake(platform.span(), error.to_string())
                        .hint("write [\"host\"], [\"declared\"] or platforms, as in [\"linux/amd64\"]")
                })
            };
            Platforms::Only(section.platforms.iter().map(parse).collect::<Result<_, _>>()?)
        }
    };
    Ok(Images { names: section.names, platforms })
}

fn cluster(source: &Source<'_>, section: ClusterSection) -> Result<Cluster, Mistake> {
    let provider = match &section.provider {
        None => kind::Provider::Auto,
        Some(written) => {
            written.get_ref().parse().map_err(|error: String| source.mistake(written.span(), error))?
        }
    };
    Ok(Cluster {
        provider,
        declaration: section.declaration.into(),
        deadline: source.duration(&section.deadline)?,
    })
}

fn tier(
    source: &Source<'_>,
    section: &TierSection,
    before: &[Tier],
    pipeline_deadline: Duration,
) -> Result<Tier, Mistake> {
    let name = section.name.get_ref();
    if before.iter().any(|tier| tier.name == *name) {
        return Err(source.mistake(section.name.span(), format!("there is a tier `{name}` already")));
    }
    for need in &section.needs {
        if !before.iter().any(|tier| tier.name == *need.get_ref()) {
            let message = format!("tier `{name}` needs `{}`, which no tier above it is", need.get_ref());
            let hint = did_you_mean(need.get_ref(), before.iter().map(|tier| tier.name.as_str()));
            return Err(source.mistake(need.span(), message).maybe_hint(hint));
        }
    }
    let deadline = match &section.deadline {
        None => pipeline_deadline,
        Some(written) => {
            let deadline = source.duration(written)?;
            if deadline > pipeline_deadline {
                let message = format!("tier `{name}` may take longer than the whole pipeline");
                return Err(source
                    .mistake(written.span(), message)
                    .hint("raise the pipeline's `deadline` or lower this one"));
            }
            deadline
        }
    };
    if let Some(threshold) = section.threshold.as_ref().filter(|threshold| *threshold.get_ref() > 100) {
        return Err(source.mistake(threshold.span(), "a threshold is a percentage: 0 to 100"));
    }
    let threshold = section.threshold.as_ref().map_or(100, |threshold| *threshold.get_ref());
    Ok(Tier {
        name: name.clone(),
        title: section.title.clone().unwrap_or_else(|| name.clone()),
        work: work(source, section)?,
        needs: section.needs.iter().map(|need| need.get_ref().clone()).collect(),
        deadline,
        threshold,
        cluster: section.cluster.as_ref().is_some_and(|cluster| *cluster.get_ref()),
        programs: programs(source, section)?,
    })
}

fn programs(source: &Source<'_>, section: &TierSection) -> Result<Vec<Program>, Mistake> {
    let program = |(name, written): (&Spanned<String>, &ProgramSection)| {
        if name.get_ref().contains('/') {
            let message = format!("`{}` is a path and not the name of a program", name.get_ref());
            return Err(source.mistake(name.span(), message).hint("write where it is in its `folders`"));
        }
        if let Some(folder) = written.folders.iter().find(|folder| folder.get_ref().is_relative()) {
            let message = format!("`{}` is not an absolute path", folder.get_ref().display());
            return Err(source.mistake(folder.span(), message));
        }
        Ok(Program {
            name: name.get_ref().clone(),
            install: written.install.clone(),
            folders: written.folders.iter().map(|folder| folder.get_ref().clone()).collect(),
        })
    };
    section.needs_programs.iter().map(program).collect()
}

fn work(source: &Source<'_>, section: &TierSection) -> Result<Work, Mistake> {
    let kind = *section.kind.get_ref();
    let allowed: &[&str] = match kind {
        Kind::Tests => &["tests", "environment", "threads", "retries", "skip-without", "threshold"],
        Kind::Compiles => &["tests"],
        Kind::Command => &["command", "environment"],
        Kind::Compile | Kind::Architecture | Kind::Policy | Kind::Requirements => &[],
    };
    let written = [
        ("tests", section.tests.as_ref().map(Spanned::span)),
        ("command", section.command.as_ref().map(Spanned::span)),
        ("environment", section.environment.as_ref().map(Spanned::span)),
        ("threads", section.threads.as_ref().map(Spanned::span)),
        ("retries", section.retries.as_ref().map(Spanned::span)),
        ("skip-without", section.skip_without.as_ref().map(Spanned::span)),
        ("threshold", section.threshold.as_ref().map(Spanned::span)),
    ];
    for (key, span) in written {
        if let Some(span) = span.filter(|_| !allowed.contains(&key)) {
            let message = format!("`{key}` means nothing for a tier of this kind");
            return Err(source
                .mistake(span, message)
                .hint("the kinds are explained in ci/pipelines/e2e.toml"));
        }
    }
    let environment = || section.environment.clone().map(Spanned::into_inner).unwrap_or_default();
    let list = |key: &str, written: &Option<Spanned<Vec<String>>>| match written {
        Some(list) if !list.get_ref().is_empty() => Ok(list.get_ref().clone()),
        Some(list) => Err(source.mistake(list.span(), format!("`{key}` is empty"))),
        None => Err(source.mistake(section.kind.span(), format!("a tier of this kind has to say `{key}`"))),
    };
    let selectors = || {
        let words = list("tests", &section.tests)?;
        Ok::<_, Mistake>(words.iter().map(|word| Selector::parse(word)).collect::<Vec<_>>())
    };
    Ok(match kind {
        Kind::Compile => Work::Compile,
        Kind::Tests => Work::Tests(Tests {
            tests: selectors()?,
            environment: environment(),
            threads: section.threads.as_ref().map(|threads| *threads.get_ref()),
            retries: section.retries.as_ref().map_or(0, |retries| *retries.get_ref()),
            skip_without: section.skip_without.clone().map(Spanned::into_inner).unwrap_or_default(),
        }),
        Kind::Compiles => Work::Compiles { tests: selectors()? },
        Kind::Architecture => Work::Architecture,
        Kind::Policy => Work::Policy,
        Kind::Requirements => Work::Requirements,
        Kind::Command => {
            Work::Command { command: list("command", &section.command)?, environment: environment() }
        }
    })
}

/// `500ms`, `90s`, `2m`, `1m 30s`.
fn parse_duration(written: &str) -> Option<Duration> {
    written.parse::<SignedDuration>().ok()?.try_into().ok()
}
