//! From what was written to recipes that cannot be wrong; every complaint carries the bytes it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use mistake::{Slip, did_you_mean};
use toml::Spanned;

use super::file::{Defaults, Directory, File, Image, Layer, PlainFile};

use super::{Base, Binary, Compression, EntryContent, EntryRecipe, LayerRecipe, Recipe, Recipes};
use crate::bundle::Bundle;
use crate::platform::{Platform, UnknownPlatform};
use crate::reference::{self, MalformedReference, Reference};

pub(super) fn check(file: File) -> Result<Recipes, Slip> {
    let File { defaults, container, layer, image } = file;
    if image.is_empty() {
        let hint = "add a table `[image.<name>]` with the key `package`".to_string();
        return Err(Slip::new(0..0, "the file declares no image", Some(hint)));
    }
    let layers: BTreeMap<String, LayerRecipe> =
        layer.into_iter().map(|(name, layer)| check_layer(name, layer)).collect::<Result<_, _>>()?;
    let images = image
        .into_iter()
        .map(|(name, image)| check_image(name, image, &defaults, &layers))
        .collect::<Result<_, _>>()?;
    let toolchain = container.toolchain.map(|written| pinned(&written, "toolchain")).transpose()?;
    Ok(Recipes { images, toolchain })
}

fn check_image(
    name: Spanned<String>,
    image: Image,
    defaults: &Defaults,
    known_layers: &BTreeMap<String, LayerRecipe>,
) -> Result<Recipe, Slip> {
    let at = name.span();
    let name = name.into_inner();
    if !reference::is_repository(&name) {
        let message = format!("`{name}` cannot be the name of an image");
        let hint = "use lower-case letters, digits and single `-`, `_` or `.` between them".to_string();
        return Err(Slip::new(at, message, Some(hint)));
    }
    let Image {
        package,
        bin,
        prebuilt,
        base,
        platforms,
        user,
        ports,
        labels,
        environment,
        entrypoint,
        layers,
        compression,
    } = image;

    let (binary, file_name) = check_binary(&name, at.clone(), package, bin, prebuilt)?;
    let missing = |key: &str| {
        let hint = format!("add `{key}` here or in `[defaults]`");
        Slip::new(at.clone(), format!("image `{name}` has no `{key}`"), Some(hint))
    };
    let platforms = platforms.or_else(|| defaults.platforms.clone()).ok_or_else(|| missing("platforms"))?;
    let user = user.or_else(|| defaults.user.clone()).ok_or_else(|| missing("user"))?;
    let layers = layers.or_else(|| defaults.layers.clone()).unwrap_or_default();
    let compression = compression.or_else(|| defaults.compression.clone());

    Ok(Recipe {
        binary,
        base: base.or_else(|| defaults.base.clone()).map_or(Ok(Base::Scratch), check_base)?,
        platforms: check_platforms(&name, at, platforms)?,
        user: check_user(user)?,
        ports: check_ports(ports)?,
        labels,
        environment: check_environment(environment)?,
        entrypoint: match entrypoint {
            Some(path) => check_path(path)?,
            None => format!("/usr/local/bin/{file_name}"),
        },
        layers: layers.into_iter().map(|layer| find_layer(layer, known_layers)).collect::<Result<_, _>>()?,
        compression: compression.map_or(Ok(Compression::Gzip(6)), check_compression)?,
        name,
    })
}

/// The binary and the name it has unless `entrypoint` gives another.
fn check_binary(
    name: &str,
    at: Range<usize>,
    package: Option<Spanned<String>>,
    bin: Option<Spanned<String>>,
    prebuilt: Option<Spanned<String>>,
) -> Result<(Binary, String), Slip> {
    match (package, bin, prebuilt) {
        (Some(package), bin, None) => {
            let bin = match bin {
                Some(bin) => cargo_name(bin)?,
                None => name.to_string(),
            };
            Ok((Binary::Cargo { package: cargo_name(package)?, bin: bin.clone() }, bin))
        }
        (None, None, Some(path)) => Ok((Binary::Prebuilt { path: relative_path(path)? }, name.to_string())),
        (_, _, Some(path)) => {
            let hint = "keep one of the two".to_string();
            let message = "`prebuilt` and `package` or `bin` exclude each other";
            Err(Slip::new(path.span(), message, Some(hint)))
        }
        (None, _, None) => {
            let hint = "add `package = \"<crate of the workspace>\"`".to_string();
            Err(Slip::new(at, format!("image `{name}` has no `package`"), Some(hint)))
        }
    }
}

/// These names become arguments of cargo, so they must not look like options.
fn cargo_name(name: Spanned<String>) -> Result<String, Slip> {
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let starts_well = name.get_ref().starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if starts_well && name.get_ref().chars().all(legal) {
        return Ok(name.into_inner());
    }
    let message = format!("`{}` is not the name of a crate or binary", name.get_ref());
    Err(Slip::new(name.span(), message, None))
}

fn check_platforms(
    image: &str,
    at: Range<usize>,
    platforms: Vec<Spanned<String>>,
) -> Result<Vec<Platform>, Slip> {
    if platforms.is_empty() {
        return Err(Slip::new(at, format!("image `{image}` has no platform"), None));
    }
    let mut seen = Vec::new();
    for written in platforms {
        let platform: Platform = written.get_ref().parse().map_err(|error: UnknownPlatform| {
            let known: Vec<String> = Platform::all().map(|platform| platform.to_string()).collect();
            let hint = did_you_mean(written.get_ref(), known.iter().map(String::as_str));
            Slip::new(written.span(), error.to_string(), hint)
        })?;
        if seen.contains(&platform) {
            let message = format!("platform `{platform}` is listed twice");
            return Err(Slip::new(written.span(), message, None));
        }
        seen.push(platform);
    }
    Ok(seen)
}

fn check_user(user: Spanned<String>) -> Result<String, Slip> {
    let text = user.get_ref();
    let numeric = |part: &str| part.parse::<u32>().is_ok() && part.bytes().all(|b| b.is_ascii_digit());
    if text.split(':').count() <= 2 && text.split(':').all(numeric) {
        return Ok(user.into_inner());
    }
    let message = format!("user `{text}` is not numeric");
    let hint = "write `\"uid:gid\"`, e.g. `\"65532:65532\"`: Kubernetes cannot check runAsNonRoot by name";
    Err(Slip::new(user.span(), message, Some(hint.to_string())))
}

fn check_ports(ports: Vec<Spanned<u16>>) -> Result<Vec<u16>, Slip> {
    let mut seen = BTreeSet::new();
    for port in &ports {
        if *port.get_ref() == 0 {
            return Err(Slip::new(port.span(), "0 is not a port", None));
        }
        if !seen.insert(*port.get_ref()) {
            let message = format!("port {} is listed twice", port.get_ref());
            return Err(Slip::new(port.span(), message, None));
        }
    }
    Ok(seen.into_iter().collect())
}

fn check_environment(
    environment: BTreeMap<Spanned<String>, String>,
) -> Result<BTreeMap<String, String>, Slip> {
    environment
        .into_iter()
        .map(|(name, value)| {
            if name.get_ref().is_empty() || name.get_ref().contains(['=', '\0']) || value.contains('\0') {
                let message = format!("`{}` cannot be an environment variable", name.get_ref());
                return Err(Slip::new(name.span(), message, None));
            }
            Ok((name.into_inner(), value))
        })
        .collect()
}

fn check_compression(compression: Spanned<Compression>) -> Result<Compression, Slip> {
    if compression.get_ref().is_sound() {
        return Ok(compression.into_inner());
    }
    let (name, level) = compression.get_ref().parts();
    let hint = "gzip has levels from 0 to 9, zstd from 1 to 19".to_string();
    Err(Slip::new(compression.span(), format!("{name} has no level {level}"), Some(hint)))
}

/// A base that could become another image would make another image of the same recipe.
fn check_base(written: Spanned<String>) -> Result<Base, Slip> {
    let text = written.get_ref();
    if text == "scratch" {
        return Ok(Base::Scratch);
    }
    pinned(&written, "base").map(Base::Image)
}

/// An image that cannot become another one.
fn pinned(written: &Spanned<String>, key: &str) -> Result<Reference, Slip> {
    let text = written.get_ref();
    let reference: Reference = text.parse().map_err(|error: MalformedReference| {
        let hint = "write it as `\"registry.example/name:tag@sha256:…\"`".to_string();
        Slip::new(written.span(), error.to_string(), Some(hint))
    })?;
    if reference.digest.is_none() {
        let hint = format!("add the digest: `skopeo inspect docker://{reference}` shows it");
        return Err(Slip::new(written.span(), format!("{key} `{text}` is not pinned by digest"), Some(hint)));
    }
    Ok(reference)
}

fn find_layer(name: Spanned<String>, known: &BTreeMap<String, LayerRecipe>) -> Result<LayerRecipe, Slip> {
    known.get(name.get_ref()).cloned().ok_or_else(|| {
        let hint = did_you_mean(name.get_ref(), known.keys().map(String::as_str))
            .unwrap_or_else(|| format!("declare it as `[layer.{}]`", name.get_ref()));
        Slip::new(name.span(), format!("there is no layer `{}`", name.get_ref()), Some(hint))
    })
}

fn check_layer(name: Spanned<String>, layer: Layer) -> Result<(String, LayerRecipe), Slip> {
    let Layer { directories, files } = layer;
    let mut entries = Vec::new();
    let mut seen = BTreeSet::new();
    let mut unique = |span: Range<usize>, path: &str| {
        if seen.insert(path.to_string()) {
            return Ok(());
        }
        Err(Slip::new(span, format!("`{path}` is in this layer twice"), None))
    };
    for Directory { path, mode, bundle } in directories {
        let span = path.span();
        let path = check_path(path)?;
        unique(span.clone(), &path)?;
        let content = match bundle {
            None => EntryContent::Directory,
            Some(bundle) => check_bundle(bundle, true, span)?,
        };
        entries.push(EntryRecipe { path, mode: check_mode(mode, 0o755)?, content });
    }
    for PlainFile { path, mode, content, source, bundle } in files {
        let span = path.span();
        let path = check_path(path)?;
        unique(span.clone(), &path)?;
        let content = match (content, source, bundle) {
            (Some(text), None, None) => EntryContent::Text(text),
            (None, Some(source), None) => EntryContent::Source(relative_path(source)?),
            (None, None, Some(bundle)) => check_bundle(bundle, false, span)?,
            _ => {
                let message = format!("`{path}` needs either `content`, `source` or `bundle`");
                return Err(Slip::new(span, message, None));
            }
        };
        entries.push(EntryRecipe { path, mode: check_mode(mode, 0o644)?, content });
    }
    let name = name.into_inner();
    Ok((name.clone(), LayerRecipe { name, entries }))
}

fn check_bundle(bundle: Bundle, directory: bool, at: Range<usize>) -> Result<EntryContent, Slip> {
    if bundle.is_directory() == directory {
        return Ok(EntryContent::Bundle(bundle));
    }
    let (is, list) = if directory { ("a file", "files") } else { ("a directory", "directories") };
    let hint = format!("declare it below `{list}`");
    Err(Slip::new(at, format!("the bundle `{bundle}` is {is}"), Some(hint)))
}

fn check_mode(mode: Option<Spanned<String>>, default: u32) -> Result<u32, Slip> {
    let Some(mode) = mode else { return Ok(default) };
    match u32::from_str_radix(mode.get_ref(), 8) {
        Ok(bits) if bits <= 0o7777 && !mode.get_ref().starts_with('+') => Ok(bits),
        _ => {
            let message = format!("`{}` is not a file mode", mode.get_ref());
            let hint = "write it in octal, e.g. `\"0644\"`".to_string();
            Err(Slip::new(mode.span(), message, Some(hint)))
        }
    }
}

/// A path in the image: absolute, and without detours that would make two spellings of one file.
fn check_path(path: Spanned<String>) -> Result<String, Slip> {
    let text = path.get_ref();
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    match text.strip_prefix('/') {
        Some(rest) if rest.split('/').all(plain) => Ok(path.into_inner()),
        _ => {
            let message = format!("`{text}` is not a plain absolute path in the image");
            Err(Slip::new(path.span(), message, None))
        }
    }
}

/// A path in the workspace: relative, and never out of it.
fn relative_path(path: Spanned<String>) -> Result<String, Slip> {
    let text = path.get_ref();
    let plain = |part: &str| !part.is_empty() && part != ".." && !part.contains('\0');
    if text.split('/').all(plain) {
        return Ok(path.into_inner());
    }
    let message = format!("`{text}` is not a path relative to the workspace root");
    Err(Slip::new(path.span(), message, None))
}
