//! Platforms: what an image index calls them, what rustc calls them, and the machine number in their ELF headers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An operating system and architecture as in an OCI index, e.g. `linux/arm64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    row: &'static Row,
}

/// One known architecture; the table below is the only place where the three vocabularies meet.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Row {
    architecture: &'static str,
    variant: Option<&'static str>,
    rust: &'static str,
    machine: u16,
    bits: u8,
    qemu: &'static str,
}

const fn row(
    architecture: &'static str,
    variant: Option<&'static str>,
    rust: &'static str,
    machine: u16,
    bits: u8,
    qemu: &'static str,
) -> Row {
    Row { architecture, variant, rust, machine, bits, qemu }
}

/// Machine numbers are those of `elf.h` (`EM_*`).
static ROWS: [Row; 6] = [
    row("amd64", None, "x86_64", 62, 64, "x86_64"),
    row("arm64", None, "aarch64", 183, 64, "aarch64"),
    row("arm", Some("v7"), "armv7", 40, 32, "arm"),
    row("ppc64le", None, "powerpc64le", 21, 64, "ppc64le"),
    row("riscv64", None, "riscv64gc", 243, 64, "riscv64"),
    row("s390x", None, "s390x", 22, 64, "s390x"),
];

/// The text names no platform this crate knows.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown platform `{text}`, expected one of {}", known())]
pub struct UnknownPlatform {
    text: String,
}

impl Platform {
    /// Every platform this crate knows.
    pub fn all() -> impl Iterator<Item = Platform> {
        ROWS.iter().map(|row| Platform { row })
    }

    /// The platform this program itself was compiled for.
    pub fn host() -> Platform {
        let arch = std::env::consts::ARCH;
        let row = ROWS.iter().find(|row| row.rust == arch || row.rust.starts_with(arch));
        Platform { row: row.unwrap_or(&ROWS[0]) }
    }

    /// `linux`, always: the images of a Kubernetes node.
    pub fn os(&self) -> &'static str {
        "linux"
    }

    /// The name in image config and index, e.g. `arm64`.
    pub fn architecture(&self) -> &'static str {
        self.row.architecture
    }

    /// The variant in image config and index, e.g. `v7` of `arm`.
    pub fn variant(&self) -> Option<&'static str> {
        self.row.variant
    }

    /// The first part of the Rust target triple, e.g. `aarch64`.
    pub fn rust_architecture(&self) -> &'static str {
        self.row.rust
    }

    /// `e_machine` of its ELF files.
    pub fn elf_machine(&self) -> u16 {
        self.row.machine
    }

    /// Word size of its ELF files: 32 or 64.
    pub fn elf_bits(&self) -> u8 {
        self.row.bits
    }

    /// What qemu-user calls it: `qemu-<this>-static`.
    pub fn qemu_name(&self) -> &'static str {
        self.row.qemu
    }

    /// The Rust target whose programs need nothing from the image, where Rust has one with a ready way to it.
    pub fn static_triple(&self) -> Option<String> {
        match self.architecture() {
            "amd64" | "arm64" => Some(format!("{}-unknown-linux-musl", self.rust_architecture())),
            "arm" => Some(format!("{}-unknown-linux-musleabihf", self.rust_architecture())),
            "riscv64" => Some("riscv64gc-unknown-linux-musl".to_string()),
            _ => None,
        }
    }

    /// The Rust target of a usual Linux on it: what a toolchain image for it compiles for.
    pub fn native_triple(&self) -> String {
        let environment = if self.architecture() == "arm" { "gnueabihf" } else { "gnu" };
        format!("{}-unknown-linux-{environment}", self.rust_architecture())
    }

    /// A name that is also a file name, e.g. `linux-arm64`.
    pub fn slug(&self) -> String {
        self.to_string().replace('/', "-")
    }
}

/// The Rust target triple this program was compiled for; what cargo calls `host-tuple` when the harness runs where it was built.
pub fn host_triple() -> String {
    let environment = if cfg!(target_env = "musl") { "musl" } else { "gnu" };
    format!("{}-unknown-linux-{environment}", Platform::host().rust_architecture())
}

/// The architecture an ELF machine number belongs to, in image vocabulary where there is a word for it.
pub fn machine_name(machine: u16) -> String {
    match ROWS.iter().find(|row| row.machine == machine) {
        Some(row) => row.architecture.to_string(),
        None => format!("ELF machine {machine}"),
    }
}

fn known() -> String {
    let names: Vec<String> = Platform::all().map(|platform| format!("`{platform}`")).collect();
    names.join(", ")
}

impl FromStr for Platform {
    type Err = UnknownPlatform;

    fn from_str(text: &str) -> Result<Platform, UnknownPlatform> {
        let unknown = || UnknownPlatform { text: text.to_string() };
        let rest = text.strip_prefix("linux/").ok_or_else(unknown)?;
        // `arm64/v8` is the long way to write `arm64`.
        let rest = if rest == "arm64/v8" { "arm64" } else { rest };
        let (architecture, variant) = match rest.split_once('/') {
            Some((architecture, variant)) => (architecture, Some(variant)),
            None => (rest, None),
        };
        ROWS.iter()
            .find(|row| row.architecture == architecture && row.variant == variant)
            .map(|row| Platform { row })
            .ok_or_else(unknown)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os(), self.architecture())?;
        match self.variant() {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Platform, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_vocabularies_agree() {
        let check = |text: &str, rust: &str, machine: u16| {
            let platform: Platform = text.parse().unwrap();
            assert_eq!((platform.rust_architecture(), platform.elf_machine()), (rust, machine));
        };
        check("linux/amd64", "x86_64", 62);
        check("linux/arm64", "aarch64", 183);
        check("linux/arm64/v8", "aarch64", 183);
        check("linux/arm/v7", "armv7", 40);
    }

    #[test]
    fn writing_and_reading_a_platform_is_the_identity() {
        for row in &ROWS {
            let platform = Platform { row };
            assert_eq!(platform.to_string().parse::<Platform>().unwrap(), platform);
        }
    }

    #[test]
    fn an_unknown_platform_names_the_known_ones() {
        let error = "linux/amd46".parse::<Platform>().unwrap_err().to_string();
        assert!(error.contains("`linux/amd46`") && error.contains("`linux/amd64`"), "{error}");
        assert!("windows/amd64".parse::<Platform>().is_err());
        assert!("amd64".parse::<Platform>().is_err());
    }

    #[test]
    fn the_host_is_a_known_platform() {
        assert_eq!(Platform::host().rust_architecture(), std::env::consts::ARCH);
    }
}
