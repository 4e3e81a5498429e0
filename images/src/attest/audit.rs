//! The list of crates a program was compiled from, in the program itself, where scanners find it that see nothing but the file: the format of
//! `cargo auditable`, a compressed JSON document in the section `.dep-v0`.
//!
//! The section is added to the linked program rather than linked into it: no linker is asked, no flag changes, and what cargo has compiled
//! is used as it is. Nothing of it is loaded when the program runs.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use flate2::write::ZlibEncoder;
use object::elf;
use serde::Serialize;

use super::metadata::{Metadata, Package, edges, reachable};

/// Where scanners look.
const SECTION: &[u8] = b".dep-v0";

#[derive(Serialize)]
struct Document<'a> {
    packages: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    version: &'a str,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<usize>,
    #[serde(skip_serializing_if = "is_false")]
    root: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The compressed list of a program of `package`; nothing if the workspace has no such crate. Pure.
pub fn list(metadata: &Metadata, package: &str) -> Option<Vec<u8>> {
    let packages: BTreeMap<&str, &Package> =
        metadata.packages.iter().map(|package| (package.id.as_str(), package)).collect();
    let root = metadata.packages.iter().find(|found| found.name == package && found.source.is_none())?;
    let edges = edges(metadata);
    let inside = reachable(&root.id, &edges, |id| !packages.get(id).is_some_and(|found| found.is_macro()));
    let everything: BTreeSet<&str> = reachable(&root.id, &edges, |_| true);
    let mut sorted: Vec<&Package> = everything.iter().filter_map(|id| packages.get(id).copied()).collect();
    sorted.sort_by(|a, b| (&a.name, &a.version, &a.id).cmp(&(&b.name, &b.version, &b.id)));
    let position: BTreeMap<&str, usize> =
        sorted.iter().enumerate().map(|(position, package)| (package.id.as_str(), position)).collect();
    let mut rows = Vec::new();
    for package in &sorted {
        let id = package.id.as_str();
        let needed = edges.get(id).into_iter().flatten().filter_map(|id| position.get(id).copied());
        rows.push(Row {
            name: &package.name,
            version: &package.version,
            source: source(package),
            kind: (!inside.contains(id)).then_some("build"),
            dependencies: needed.collect::<BTreeSet<usize>>().into_iter().collect(),
            root: package.id == root.id,
        });
    }
    let document = Document { packages: rows };
    // Neither can fail: plain data, written to memory.
    let json = serde_json::to_vec(&document).ok()?;
    let mut zlib = ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(&json).ok()?;
    zlib.finish().ok()
}

fn source(package: &Package) -> &'static str {
    match package.source.as_deref() {
        None => "local",
        Some(source) if source.starts_with("git+") => "git",
        Some("registry+https://github.com/rust-lang/crates.io-index") => "crates.io",
        Some(_) => "registry",
    }
}

/// Where the fields of an ELF file are that have to change, for its word size.
struct Places {
    /// Offset of the section table, in the header; as wide as a word.
    table: usize,
    /// Size of an entry of that table, then how many there are, then which of them names the others.
    entry_size: usize,
    /// Offset of the content of a section, in its entry; its size follows.
    content: usize,
    word: usize,
}

/// Adds the list to a program. Refuses what is no ELF file; the message says what is wrong with it.
pub fn embed(program: Vec<u8>, list: &[u8]) -> Result<Vec<u8>, String> {
    let places = match program.get(elf::ELFMAG.len()) {
        Some(&elf::ELFCLASS64) if program.starts_with(&elf::ELFMAG) => {
            Places { table: 0x28, entry_size: 0x3a, content: 0x18, word: 8 }
        }
        Some(&elf::ELFCLASS32) if program.starts_with(&elf::ELFMAG) => {
            Places { table: 0x20, entry_size: 0x2e, content: 0x10, word: 4 }
        }
        _ => return Err("it is no ELF file".to_string()),
    };
    let mut image = Image { big_endian: program.get(5) == Some(&elf::ELFDATA2MSB), bytes: program };
    let Places { table, entry_size, content, word } = places;
    let table_at = image.get(table, word)?;
    let size = image.get(entry_size, 2)?;
    let count = image.get(entry_size + 2, 2)?;
    let names = image.get(entry_size + 4, 2)?;
    if names >= count || size < content + 4 * word {
        return Err("it has no names of sections".to_string());
    }
    let mut sections = image.slice(table_at, count * size)?.to_vec();
    let names_entry = names * size;
    let old_names = image.slice(
        image.read(&sections, names_entry + content, word)?,
        image.read(&sections, names_entry + content + word, word)?,
    )?;
    let name_at = old_names.len();
    let new_names = [old_names, SECTION, b"\0"].concat();

    let mut entry = vec![0; size];
    let list_at = image.append(list, 1);
    image.write(&mut entry, 0, 4, name_at)?;
    image.write(&mut entry, 4, 4, elf::SHT_PROGBITS as usize)?;
    image.write(&mut entry, content, word, list_at)?;
    image.write(&mut entry, content + word, word, list.len())?;
    // Alignment is the last but one of the fields that follow: link and info (four bytes each), alignment, entry size.
    image.write(&mut entry, content + 2 * word + 8, word, 1)?;
    let names_at = image.append(&new_names, 1);
    image.write(&mut sections, names_entry + content, word, names_at)?;
    image.write(&mut sections, names_entry + content + word, word, new_names.len())?;
    sections.extend(entry);
    let sections_at = image.append(&sections, word);

    let mut bytes = std::mem::take(&mut image.bytes);
    image.write(&mut bytes, table, word, sections_at)?;
    image.write(&mut bytes, entry_size + 2, 2, count + 1)?;
    Ok(bytes)
}

/// A file whose numbers have a byte order.
struct Image {
    bytes: Vec<u8>,
    big_endian: bool,
}

impl Image {
    fn get(&self, at: usize, width: usize) -> Result<usize, String> {
        self.read(&self.bytes, at, width)
    }

    fn slice(&self, at: usize, length: usize) -> Result<&[u8], String> {
        let end = at.checked_add(length).ok_or("its sections are beyond its end")?;
        Ok(self.bytes.get(at..end).ok_or("its sections are beyond its end")?)
    }

    fn read(&self, bytes: &[u8], at: usize, width: usize) -> Result<usize, String> {
        let field = bytes.get(at..at + width).ok_or("its header is cut off")?;
        let shift = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        let number = match self.big_endian {
            true => field.iter().fold(0, shift),
            false => field.iter().rev().fold(0, shift),
        };
        usize::try_from(number).map_err(|error| error.to_string())
    }

    fn write(&self, bytes: &mut [u8], at: usize, width: usize, number: usize) -> Result<(), String> {
        let field = bytes.get_mut(at..at + width).ok_or("its header is cut off")?;
        let number = (number as u64).to_be_bytes();
        let (lost, kept) = number.split_at(number.len() - width);
        if lost.iter().any(|byte| *byte != 0) {
            return Err("it is too large for its word size".to_string());
        }
        field.copy_from_slice(kept);
        if !self.big_endian {
            field.reverse();
        }
        Ok(())
    }

    /// Puts bytes at the end; says where they begin.
    fn append(&mut self, bytes: &[u8], alignment: usize) -> usize {
        self.bytes.resize(self.bytes.len().next_multiple_of(alignment), 0);
        let at = self.bytes.len();
        self.bytes.extend(bytes);
        at
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    use flate2::read::ZlibDecoder;
    use object::read::elf::FileHeader;
    use object::{Endianness, SectionIndex};
    use serde_json::{Value, json};

    use super::*;

    fn section(program: &[u8]) -> Option<Vec<u8>> {
        let header = elf::FileHeader64::<Endianness>::parse(program).unwrap();
        let endian = header.endian().unwrap();
        let sections = header.sections(endian, program).unwrap();
        let (_, found) = sections.section_by_name(endian, SECTION)?;
        use object::read::elf::SectionHeader;
        Some(found.data(endian, program).unwrap().to_vec())
    }

    #[test]
    fn a_program_with_its_list_is_still_the_same_program() {
        let program = std::fs::read("/proc/self/exe").unwrap();
        let embedded = embed(program.clone(), b"the list").unwrap();
        assert_eq!(section(&program), None);
        assert_eq!(section(&embedded).as_deref(), Some(b"the list".as_slice()));
        let sections = |bytes: &[u8]| {
            let header = elf::FileHeader64::<Endianness>::parse(bytes).unwrap();
            let endian = header.endian().unwrap();
            let sections = header.sections(endian, bytes).unwrap();
            let named = |index| sections.section_name(endian, sections.section(SectionIndex(index)).unwrap());
            (1..sections.len()).map(|index| named(index).unwrap().to_vec()).collect::<Vec<_>>()
        };
        let mut expected = sections(&program);
        expected.push(SECTION.to_vec());
        assert_eq!(sections(&embedded), expected);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        std::fs::write(&path, embedded).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        // While another test is between fork and exec, the file may still seem open for writing.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        let output = loop {
            match std::process::Command::new(&path).arg("--list").output() {
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                    assert!(std::time::Instant::now() < deadline, "{error}");
                    std::thread::yield_now();
                }
                output => break output.unwrap(),
            }
        };
        assert!(output.status.success(), "{output:?}");
    }

    #[test]
    fn a_broken_program_is_refused() {
        let program = std::fs::read("/proc/self/exe").unwrap();
        let cut = |length: usize| embed(program[..length].to_vec(), b"x").unwrap_err();
        assert!(embed(b"#!/bin/sh".to_vec(), b"x").unwrap_err().contains("no ELF"));
        assert!(embed(Vec::new(), b"x").unwrap_err().contains("no ELF"));
        assert!(cut(20).contains("cut off"));
        assert!(cut(program.len() - 1).contains("beyond its end"));
    }

    #[test]
    fn the_list_names_every_crate_once_with_what_it_needs() {
        let metadata = super::super::metadata::sample();
        let packed = list(&metadata, "app").unwrap();
        let mut text = String::new();
        ZlibDecoder::new(packed.as_slice()).read_to_string(&mut text).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let row = |name: &str, source: &str| json!({ "name": name, "version": "1.0.0+x", "source": source });
        let with = |mut row: Value, key: &str, value: Value| {
            row[key] = value;
            row
        };
        let app = with(with(row("app", "local"), "dependencies", json!([1, 2])), "root", json!(true));
        let derive =
            with(with(row("derive", "registry"), "kind", json!("build")), "dependencies", json!([4]));
        let left = with(row("left", "registry"), "dependencies", json!([3]));
        let syn = with(row("syn", "registry"), "kind", json!("build"));
        assert_eq!(document["packages"], json!([app, derive, left, row("right", "registry"), syn]));
        assert_eq!(list(&metadata, "nobody"), None);
    }
}
