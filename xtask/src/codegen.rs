//! Files that are generated from the code and committed.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, ExitCode, Stdio};

use clap::Args;
use xshell::cmd;

use crate::exit::{DECLARATION, Failure, GATE, UNFORESEEN, say};
use crate::workspace;

/// What to do with the generated files.
#[derive(Args)]
pub struct Arguments {
    /// Compare only; exit with 1 when a file is not what the code says
    #[arg(long)]
    pub check: bool,
}

/// What is generated, as data: this crate does not name the product.
const FILE: &str = "xtask/generated.txt";

/// Writes or compares.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let declaration = workspace::root().join(FILE);
    let declaration = fs::read_to_string(&declaration).map_err(|error| {
        Failure::new(DECLARATION, format!("failed to read `{FILE}`: {error}"), "restore it")
    })?;
    let generated = parse(&declaration)?;
    build(&generated)?;
    let mut stale = false;
    for Generated { file, bin, arguments: printing } in generated {
        let content = print(bin, &printing)?;
        let path = workspace::root().join(file);
        if fs::read(&path).is_ok_and(|current| current == content) {
            continue;
        }
        if arguments.check {
            say(&format!("error: `{file}` is not what the code says"));
            stale = true;
        } else {
            fs::write(&path, &content).map_err(|error| {
                Failure::new(
                    UNFORESEEN,
                    format!("failed to write `{file}`: {error}"),
                    "is there space, and may it be written?",
                )
            })?;
            say(&format!("wrote {file}"));
        }
    }
    match stale {
        true => Err(Failure::new(
            GATE,
            "generated files are not current",
            "run `cargo xtask codegen` and commit the result",
        )),
        false => Ok(ExitCode::SUCCESS),
    }
}

/// A generated file and the program that prints it.
#[derive(Debug, PartialEq, Eq)]
struct Generated<'a> {
    file: &'a str,
    bin: &'a str,
    arguments: Vec<&'a str>,
}

/// One file a line: its path, the binary that prints it, that binary's arguments. `#` begins a comment.
fn parse(declaration: &str) -> Result<Vec<Generated<'_>>, Failure> {
    let mut generated = Vec::new();
    for (number, line) in declaration.lines().enumerate() {
        match line.split_whitespace().collect::<Vec<_>>().as_slice() {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            [file, bin, arguments @ ..] => {
                generated.push(Generated { file, bin, arguments: arguments.to_vec() });
            }
            [_] => {
                let message = format!("{FILE}:{}: a file without the binary that prints it", number + 1);
                return Err(Failure::new(DECLARATION, message, "write `<file> <binary> [<argument>…]`"));
            }
        }
    }
    Ok(generated)
}

/// Builds the programs with the features of the whole workspace: nothing is compiled only for this.
fn build(generated: &[Generated<'_>]) -> Result<(), Failure> {
    let bins: BTreeSet<&str> = generated.iter().map(|generated| generated.bin).collect();
    let picked = bins.into_iter().flat_map(|bin| ["--bin", bin]);
    let shell = workspace::shell()?;
    let mut command: Command = cmd!(shell, "cargo build --workspace {picked...}").into();
    workspace::without_own_crate(&mut command);
    let status = command.status().map_err(|error| Failure::cannot_run("cargo build", error))?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::build()),
    }
}

fn print(bin: &str, arguments: &[&str]) -> Result<Vec<u8>, Failure> {
    let own = std::env::current_exe().map_err(|error| Failure::cannot_run(bin, error))?;
    let mut command = Command::new(own.with_file_name(bin));
    let output = command.args(arguments).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| Failure::cannot_run(bin, error))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => {
            let message =
                format!("failed to generate: `{bin} {}` ended with {}", arguments.join(" "), output.status);
            Err(Failure { code: UNFORESEEN, message, hint: None })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_file_and_the_command_that_prints_it() {
        let generated = parse("# file printer\n\na/b.json   tool openapi --pretty\nc.yaml tool\n").unwrap();
        assert_eq!(
            generated,
            [
                Generated { file: "a/b.json", bin: "tool", arguments: vec!["openapi", "--pretty"] },
                Generated { file: "c.yaml", bin: "tool", arguments: vec![] },
            ],
        );
    }

    #[test]
    fn a_file_that_nobody_prints_is_named_by_its_line() {
        let failure = parse("# comment\nlonely.json\n").unwrap_err();
        assert!(failure.message.contains("generated.txt:2:"), "{}", failure.message);
    }
}
