//! Which images are built for which platforms, how, and where they go: the last moment anything is decided.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::attest::Origin;
use crate::container::Container;
use crate::platform::Platform;
use crate::recipe::{Binary, Compression, Recipe, Recipes};
use crate::toolchain::{self, Facts, Toolchain, ToolchainMissing};

/// What somebody wants built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildRequest {
    /// The workspace root.
    pub root: PathBuf,
    /// Directory for the layout and for what is remembered between runs.
    pub cache: PathBuf,
    /// Names of images; none means all.
    pub images: Vec<String>,
    /// For which platforms.
    pub platforms: Platforms,
    /// cargo profile; none means cargo's default, `dev`. With a profile, paths of this machine do not appear in the binaries.
    pub profile: Option<String>,
    /// How layers are packed, instead of what the recipes say.
    pub compression: Option<Compression>,
    /// `created` of the images in seconds since 1970, see [`source_date_epoch`].
    pub source_date_epoch: u64,
    /// Compile in containers instead.
    pub container: Option<Container>,
    /// What this machine can compile with.
    pub toolchains: Facts,
    /// Where the sources come from, if images are to get a bill of materials and provenance.
    pub origin: Option<Origin>,
}

/// Which of the declared platforms are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Platforms {
    /// This machine's.
    Host,
    /// All that each recipe declares.
    Declared,
    /// These, and each image must declare them.
    Only(Vec<Platform>),
}

/// Everything `build` needs to know; it reads no declaration, flag or environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuildPlan {
    /// The workspace root.
    pub root: PathBuf,
    /// The OCI layout the images go to.
    pub layout: PathBuf,
    /// Directory for what is remembered between runs.
    pub cache: PathBuf,
    /// cargo profile, if not the default.
    pub profile: Option<String>,
    /// `created` of the images in seconds since 1970.
    pub source_date_epoch: u64,
    /// Where the sources come from, if images get a bill of materials and provenance.
    pub origin: Option<Origin>,
    /// How images are built in containers, if they are.
    pub container: Option<Container>,
    /// One run of cargo per platform; none in containers.
    pub compilations: Vec<Compilation>,
    /// What is assembled.
    pub images: Vec<PlannedImage>,
}

/// One run of cargo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Compilation {
    /// How, and for which platform.
    pub toolchain: Toolchain,
    /// Binary target → its crate.
    pub binaries: BTreeMap<String, String>,
}

/// One image to assemble.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedImage {
    /// Its recipe.
    pub recipe: Recipe,
    /// The platforms it gets, in the order of the recipe.
    pub platforms: Vec<Platform>,
}

/// What was asked for cannot be built.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// No recipe has that name.
    #[error("build the image `{name}`: no recipe has that name")]
    UnknownImage {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The recipe does not declare the platform.
    #[error("build the image `{name}` for {platform}: its recipe does not declare that platform")]
    UndeclaredPlatform {
        /// The image.
        name: String,
        /// What was asked for.
        platform: Platform,
    },
    /// Two recipes expect the same binary target in different crates.
    #[error("build `{bin}`: recipes expect it in `{one}` and in `{other}`")]
    AmbiguousBinary {
        /// The binary target.
        bin: String,
        /// One crate.
        one: String,
        /// The other.
        other: String,
    },
    /// Nothing here compiles for the platform.
    #[error(transparent)]
    Toolchain(#[from] ToolchainMissing),
}

impl PlanError {
    /// The edit or command that helps.
    pub fn hint(&self) -> Option<String> {
        match self {
            PlanError::UnknownImage { known, .. } => Some(format!("the recipes are: {}", known.join(", "))),
            PlanError::UndeclaredPlatform { platform, .. } => {
                Some(format!("add \"{platform}\" to its `platforms` in `{}`", crate::recipe::FILE))
            }
            PlanError::AmbiguousBinary { .. } => Some("give the binaries different names".to_string()),
            PlanError::Toolchain(error) => Some(error.hint()),
        }
    }
}

/// Decides everything about a build. Pure.
pub fn plan(recipes: &Recipes, request: &BuildRequest) -> Result<BuildPlan, PlanError> {
    let images = chosen(recipes, &request.images)?
        .into_iter()
        .map(|recipe| {
            let platforms = wanted(recipe, &request.platforms, &request.toolchains.host)?;
            let compression = request.compression.unwrap_or(recipe.compression);
            Ok(PlannedImage { recipe: Recipe { compression, ..recipe.clone() }, platforms })
        })
        .collect::<Result<Vec<_>, PlanError>>()?;
    Ok(BuildPlan {
        root: request.root.clone(),
        layout: request.cache.join("layout"),
        cache: request.cache.join("images"),
        profile: request.profile.clone(),
        source_date_epoch: request.source_date_epoch,
        origin: request.origin.clone(),
        container: request.container.clone(),
        compilations: match &request.container {
            Some(_) => Vec::new(),
            None => compilations(&images, request)?,
        },
        images,
    })
}

/// The time that stands for "when this was made": `SOURCE_DATE_EPOCH` if set, else the time of the last commit, else 1970.
pub fn source_date_epoch(variable: Option<&str>, root: &Path) -> u64 {
    if let Some(seconds) = variable.and_then(|text| text.trim().parse().ok()) {
        return seconds;
    }
    let last_commit = || {
        let shell = xshell::Shell::new().ok()?;
        shell.change_dir(root);
        let command = xshell::cmd!(shell, "git log -1 --format=%ct").quiet().ignore_stderr();
        command.read().ok()?.trim().parse().ok()
    };
    last_commit().unwrap_or(0)
}

fn chosen<'a>(recipes: &'a Recipes, names: &[String]) -> Result<Vec<&'a Recipe>, PlanError> {
    if names.is_empty() {
        return Ok(recipes.images.iter().collect());
    }
    let find = |name: &String| {
        recipes.get(name).ok_or_else(|| PlanError::UnknownImage {
            name: name.clone(),
            known: recipes.names().map(str::to_string).collect(),
        })
    };
    names.iter().map(find).collect()
}

fn wanted(recipe: &Recipe, platforms: &Platforms, host: &Platform) -> Result<Vec<Platform>, PlanError> {
    let asked = match platforms {
        Platforms::Declared => return Ok(recipe.platforms.clone()),
        Platforms::Host => vec![host.clone()],
        Platforms::Only(platforms) => platforms.clone(),
    };
    if let Some(platform) = asked.iter().find(|platform| !recipe.platforms.contains(platform)) {
        return Err(PlanError::UndeclaredPlatform { name: recipe.name.clone(), platform: platform.clone() });
    }
    Ok(recipe.platforms.iter().filter(|platform| asked.contains(platform)).cloned().collect())
}

fn compilations(images: &[PlannedImage], request: &BuildRequest) -> Result<Vec<Compilation>, PlanError> {
    let mut by_platform: BTreeMap<Platform, BTreeMap<String, String>> = BTreeMap::new();
    for PlannedImage { recipe, platforms } in images {
        let Binary::Cargo { package, bin } = &recipe.binary else { continue };
        for platform in platforms {
            let binaries = by_platform.entry(platform.clone()).or_default();
            let one = binaries.entry(bin.clone()).or_insert_with(|| package.clone());
            if one != package {
                let (one, other) = (one.clone(), package.clone());
                return Err(PlanError::AmbiguousBinary { bin: bin.clone(), one, other });
            }
        }
    }
    by_platform
        .into_iter()
        .map(|(platform, binaries)| {
            let BuildRequest { root, toolchains: facts, profile, .. } = request;
            let mut toolchain = toolchain::choose(&platform, facts)?;
            // The default profile shares every compiled dependency with the tests; what is shipped has one of its own.
            if profile.is_some() {
                toolchain.hide_paths(root, &facts.cargo_home);
            }
            Ok(Compilation { toolchain, binaries })
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::recipe;

    fn recipes() -> Recipes {
        let text = r#"
            [defaults]
            user = "1:1"
            platforms = ["linux/amd64", "linux/arm64", "linux/s390x"]
            [image.one]
            package = "first"
            [image.two]
            package = "second"
            platforms = ["linux/s390x"]
            [image.three]
            prebuilt = "dist/{architecture}/three"
        "#;
        recipe::parse("images.toml", text).unwrap()
    }

    fn request(images: &[&str], platforms: Platforms) -> BuildRequest {
        BuildRequest {
            root: "/workspace".into(),
            cache: "/workspace/target/cache".into(),
            images: images.iter().map(|name| name.to_string()).collect(),
            platforms,
            profile: None,
            compression: None,
            source_date_epoch: 0,
            container: None,
            toolchains: Facts::gather(Path::new("."), Path::new("/nonexistent")),
            origin: None,
        }
    }

    /// A plan that builds nothing.
    pub(crate) fn empty() -> BuildPlan {
        let recipes = Recipes { images: Vec::new(), toolchain: None };
        plan(&recipes, &request(&[], Platforms::Host)).unwrap()
    }

    #[test]
    fn one_compilation_per_platform_and_none_for_finished_binaries() {
        let host = Platform::host();
        let plan = plan(&recipes(), &request(&["one", "three"], Platforms::Host)).unwrap();
        assert_eq!(plan.compilations.len(), 1);
        assert_eq!(plan.compilations[0].toolchain.platform, host);
        assert_eq!(plan.compilations[0].binaries, BTreeMap::from([("one".into(), "first".into())]));
        assert_eq!(plan.images.iter().map(|i| i.platforms.len()).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn what_cannot_be_built_is_refused_with_a_hint() {
        let check = |images: &[&str], platforms: Platforms, message: &str, hint: &str| {
            let error = plan(&recipes(), &request(images, platforms)).unwrap_err();
            assert!(error.to_string().contains(message), "{error}");
            assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
        };
        check(&["four"], Platforms::Host, "`four`", "one, three, two");
        check(&["two"], Platforms::Host, "does not declare", "add \"linux/");
        check(&["two"], Platforms::Declared, "linux/s390x", "ask only for");
    }

    #[test]
    fn the_given_time_wins_and_nonsense_falls_back() {
        let nowhere = Path::new("/nonexistent");
        assert_eq!(source_date_epoch(Some("1700000000"), nowhere), 1_700_000_000);
        assert_eq!(source_date_epoch(Some("soon"), nowhere), 0);
        assert_eq!(source_date_epoch(None, nowhere), 0);
    }
}
