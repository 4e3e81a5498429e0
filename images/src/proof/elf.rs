//! What an ELF file says about itself: machine, word size, how it is linked.

use std::fmt;

use object::elf;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};
use object::{Endianness, FileKind};
use serde::{Deserialize, Serialize};

/// How an executable is linked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Linkage {
    /// Needs nothing from the image.
    Static,
    /// Needs libraries, and usually a loader.
    Dynamic {
        /// The loader it asks for; a library has none.
        interpreter: Option<String>,
    },
}

impl Linkage {
    /// Whether it only runs with a loader from its image.
    pub fn needs_loader(&self) -> bool {
        matches!(self, Linkage::Dynamic { interpreter: Some(_) })
    }
}

impl fmt::Display for Linkage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Linkage::Static => f.write_str("static"),
            Linkage::Dynamic { interpreter: Some(interpreter) } => write!(f, "dynamic ({interpreter})"),
            Linkage::Dynamic { interpreter: None } => f.write_str("dynamic"),
        }
    }
}

/// The facts of one ELF file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub machine: u16,
    pub bits: u8,
    pub linkage: Linkage,
}

pub(super) fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(&elf::ELFMAG)
}

/// Reads the headers; the error says what is wrong with them.
pub(super) fn examine(bytes: &[u8]) -> Result<Facts, String> {
    match FileKind::parse(bytes).map_err(|error| error.to_string())? {
        FileKind::Elf32 => examine_class::<elf::FileHeader32<Endianness>>(bytes, 32),
        FileKind::Elf64 => examine_class::<elf::FileHeader64<Endianness>>(bytes, 64),
        other => Err(format!("it is {other:?}, not an ELF file")),
    }
}

fn examine_class<H: FileHeader<Endian = Endianness>>(bytes: &[u8], bits: u8) -> Result<Facts, String> {
    let read = || -> object::read::Result<Facts> {
        let header = H::parse(bytes)?;
        let endian = header.endian()?;
        let mut interpreter = None;
        let mut needs_libraries = false;
        for segment in header.program_headers(endian, bytes)? {
            if let Some(path) = segment.interpreter(endian, bytes)? {
                interpreter = Some(String::from_utf8_lossy(path).into_owned());
            }
            let dynamic = segment.dynamic(endian, bytes)?.unwrap_or_default();
            needs_libraries |= dynamic.iter().any(|entry| entry.tag(endian) == elf::DT_NEEDED);
        }
        let linkage = match interpreter.is_some() || needs_libraries {
            true => Linkage::Dynamic { interpreter },
            false => Linkage::Static,
        };
        Ok(Facts { machine: header.e_machine(endian), bits, linkage })
    };
    read().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shortest 64-bit little-endian ELF header: no segments, no sections.
    fn header(machine: u16) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        bytes[16] = 2;
        bytes[18..20].copy_from_slice(&machine.to_le_bytes());
        bytes[20] = 1;
        bytes[52] = 64;
        bytes[54] = 56;
        bytes
    }

    #[test]
    fn a_bare_header_is_static_and_tells_its_machine() {
        let facts = examine(&header(183)).unwrap();
        assert_eq!(facts, Facts { machine: 183, bits: 64, linkage: Linkage::Static });
    }

    #[test]
    fn the_running_test_is_for_this_machine() {
        let facts = examine(&std::fs::read(std::env::current_exe().unwrap()).unwrap()).unwrap();
        assert_eq!(facts.machine, crate::Platform::host().elf_machine());
    }

    #[test]
    fn broken_headers_are_errors() {
        let mut beyond_the_end = header(62);
        beyond_the_end[32] = 0xff;
        beyond_the_end[56] = 3;
        for bytes in [&header(62)[..20], &beyond_the_end, b"\x7fELF", b"MZ"] {
            assert!(examine(bytes).is_err(), "{bytes:?}");
        }
    }
}
