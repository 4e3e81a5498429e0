//! Writes the files that are generated from the types; with `--check` only compares them.

use std::path::Path;
use std::process::ExitCode;
use std::{env, io::Write};

fn main() -> ExitCode {
    let check = match env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--check" => true,
        other => {
            report(&format!("unknown arguments: {}\nusage: codegen [--check]", other.join(" ")));
            return ExitCode::from(2);
        }
    };
    let root = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| ".".into(), |dir| Path::new(&dir).join(".."));
    let outcome =
        if check { api::generated::check(&root).map(|()| Vec::new()) } else { api::generated::write(&root) };
    match outcome {
        Ok(written) => {
            written.iter().for_each(|path| report(&format!("wrote {path}")));
            ExitCode::SUCCESS
        }
        Err(error) => {
            report(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// One line for the person at the terminal; nobody is left to tell when that fails.
fn report(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
