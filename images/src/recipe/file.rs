//! The recipe file exactly as a person writes it; spans are kept where `check` may complain.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::Compression;
use crate::bundle::Bundle;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    #[serde(default)]
    pub defaults: Defaults,
    #[serde(default)]
    pub container: Container,
    #[serde(default)]
    pub layer: BTreeMap<Spanned<String>, Layer>,
    #[serde(default)]
    pub image: BTreeMap<Spanned<String>, Image>,
}

/// `[container]`: what the container builder needs.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Container {
    pub toolchain: Option<Spanned<String>>,
}

/// `[defaults]`: what an image may leave out.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Defaults {
    pub base: Option<Spanned<String>>,
    pub platforms: Option<Vec<Spanned<String>>>,
    pub user: Option<Spanned<String>>,
    pub layers: Option<Vec<Spanned<String>>>,
    pub compression: Option<Spanned<Compression>>,
}

/// `[image.<name>]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Image {
    pub package: Option<Spanned<String>>,
    pub bin: Option<Spanned<String>>,
    pub prebuilt: Option<Spanned<String>>,
    pub base: Option<Spanned<String>>,
    pub platforms: Option<Vec<Spanned<String>>>,
    pub user: Option<Spanned<String>>,
    #[serde(default)]
    pub ports: Vec<Spanned<u16>>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub environment: BTreeMap<Spanned<String>, String>,
    pub entrypoint: Option<Spanned<String>>,
    pub layers: Option<Vec<Spanned<String>>>,
    pub compression: Option<Spanned<Compression>>,
}

/// `[layer.<name>]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Layer {
    #[serde(default)]
    pub directories: Vec<Directory>,
    #[serde(default)]
    pub files: Vec<PlainFile>,
}

/// A directory of a layer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Directory {
    pub path: Spanned<String>,
    pub mode: Option<Spanned<String>>,
    pub bundle: Option<Bundle>,
}

/// A file of a layer, with its text here or in another file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PlainFile {
    pub path: Spanned<String>,
    pub mode: Option<Spanned<String>>,
    pub content: Option<String>,
    pub source: Option<Spanned<String>>,
    pub bundle: Option<Bundle>,
}
