//! The walk over the layers of an image, bottom to top: what is an executable is examined, what upper layers hide no longer counts.

use std::io::{self, Read};

use super::contents::{self, Contents};
use super::elf::{self, Linkage};
use super::{Boot, Layer, Problem, ProofRow, Subject, Verdict, boot};
use crate::document::ImageConfig;
use crate::layer::read::each_entry;
use crate::layer::{Content, with_parents};
use crate::layout::Layout;
use crate::platform::machine_name;

/// An executable larger than this is refused rather than read into memory.
const LARGEST_EXECUTABLE: u64 = 2 << 30;

pub(super) fn examine(layout: &Layout, subject: &Subject<'_>) -> Result<Vec<ProofRow>, Problem> {
    check_config(subject)?;
    let mut stack = Stack::default();
    for (name, layer) in &subject.layers {
        let mut top = Top { subject, name, contents: Contents::default(), rows: Vec::new() };
        match layer {
            Layer::Entries(entries) => {
                for (path, (_, content)) in with_parents(entries) {
                    let path = format!("/{path}");
                    match content {
                        _ if stack.hide(&path) => {}
                        Content::Directory => {}
                        Content::File(_) => top.contents.add_file(path),
                        Content::Bytes(bytes) => {
                            if elf::is_elf(bytes) {
                                top.executable(&path, bytes)?;
                            }
                            top.contents.add_file(path);
                        }
                    }
                }
            }
            Layer::Packed(layer) => {
                let visited = each_entry(layout.open_blob(&layer.digest)?, |path, entry| {
                    if stack.hide(&path) {
                        return Ok(());
                    }
                    if let Some(bytes) = read_elf(entry)? {
                        top.executable(&path, &bytes).map_err(Stop::Problem)?;
                    }
                    top.contents.add(path, entry);
                    Ok(())
                });
                visited.map_err(|stop| match stop {
                    Stop::Problem(problem) => problem,
                    Stop::Read(source) => Problem::Read { part: format!("layer `{name}`"), source },
                })?;
            }
        }
        let Top { contents, rows, .. } = top;
        stack.put(contents, rows);
    }
    stack.check(subject.entrypoint)
}

/// The layers so far, as a container would see them.
#[derive(Default)]
struct Stack {
    contents: Contents,
    rows: Vec<ProofRow>,
}

impl Stack {
    /// Takes away what a whiteout hides; says whether the path is one.
    fn hide(&mut self, path: &str) -> bool {
        let hidden = contents::hidden(path);
        if let Some(hidden) = &hidden {
            self.contents.hide(hidden);
        }
        hidden.is_some()
    }

    /// Puts a layer on top. What it hides is below it, wherever in the layer that is said.
    fn put(&mut self, upper: Contents, rows: Vec<ProofRow>) {
        let contents = &self.contents;
        self.rows.retain(|row| contents.has(&row.file) && !upper.has(&row.file));
        self.rows.extend(rows);
        self.contents.stack(upper);
    }

    /// Whether what is there works together; only now is it known which loaders the image brings along.
    fn check(self, entrypoint: &str) -> Result<Vec<ProofRow>, Problem> {
        for row in &self.rows {
            if let Linkage::Dynamic { interpreter: Some(interpreter) } = &row.linkage
                && !self.contents.leads_to_file(interpreter)
            {
                let (file, interpreter) = (row.file.clone(), interpreter.clone());
                return Err(Problem::NoInterpreter { file, interpreter });
            }
        }
        if !self.rows.iter().any(|row| row.file == entrypoint) {
            return Err(Problem::NoEntrypoint { file: entrypoint.to_string() });
        }
        Ok(self.rows)
    }
}

/// The layer that is walked.
struct Top<'a> {
    subject: &'a Subject<'a>,
    name: &'a str,
    contents: Contents,
    rows: Vec<ProofRow>,
}

impl Top<'_> {
    fn executable(&mut self, path: &str, bytes: &[u8]) -> Result<(), Problem> {
        self.rows.push(examine_file(self.subject, self.name, path.to_string(), bytes)?);
        Ok(())
    }
}

/// Why reading a layer stopped.
enum Stop {
    Read(io::Error),
    Problem(Problem),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Read(error)
    }
}

fn check_config(subject: &Subject<'_>) -> Result<(), Problem> {
    let config: ImageConfig = serde_json::from_slice(subject.config)
        .map_err(|error| Problem::Read { part: "config".to_string(), source: error.into() })?;
    let ImageConfig { os, architecture, variant, .. } = config;
    let found = match variant {
        // The only variant there is; some bases name it.
        Some(variant) if variant == "v8" && architecture == "arm64" => format!("{os}/{architecture}"),
        Some(variant) => format!("{os}/{architecture}/{variant}"),
        None => format!("{os}/{architecture}"),
    };
    if found == subject.platform.to_string() {
        return Ok(());
    }
    Err(Problem::ConfigDisagrees { found })
}

/// The content of an entry that begins like an ELF file.
fn read_elf(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Option<Vec<u8>>> {
    let size = entry.size();
    if !entry.header().entry_type().is_file() || size < 4 {
        return Ok(None);
    }
    let mut bytes = vec![0; 4];
    entry.read_exact(&mut bytes)?;
    if !elf::is_elf(&bytes) {
        return Ok(None);
    }
    if size > LARGEST_EXECUTABLE {
        return Err(io::Error::other(format!("an executable of {size} bytes is too large to examine")));
    }
    entry.read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn examine_file(subject: &Subject<'_>, layer: &str, file: String, bytes: &[u8]) -> Result<ProofRow, Problem> {
    let platform = subject.platform;
    let facts = elf::examine(bytes).map_err(|problem| Problem::Unsound { file: file.clone(), problem })?;
    let elf::Facts { machine, bits, linkage } = facts;
    if (machine, bits) != (platform.elf_machine(), platform.elf_bits()) {
        return Err(Problem::WrongArchitecture {
            layer: layer.to_string(),
            file,
            found: machine_name(machine),
            expected: platform.architecture().to_string(),
        });
    }
    let boot = if file == subject.entrypoint && !linkage.needs_loader() {
        boot::boot(bytes, platform, subject.scratch)
            .map_err(|problem| Problem::DoesNotBoot { file: file.clone(), problem })?
    } else {
        let reason =
            if file == subject.entrypoint { "needs the image's own loader" } else { "not the entrypoint" };
        Boot::NotRun { reason: reason.to_string() }
    };
    Ok(ProofRow {
        image: subject.image.to_string(),
        platform: platform.to_string(),
        file,
        machine: machine_name(machine),
        bits,
        linkage,
        verdict: Verdict::Proven,
        boot,
    })
}
