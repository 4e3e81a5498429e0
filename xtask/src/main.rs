//! The front door. `cargo xtask` has to answer quickly, so this crate stays light: it knows the names of the commands, checks the
//! sources, and builds and starts `slipway`, which does the work.
//!
//! Please do not add dependencies here: whoever types `cargo xtask --help` on a fresh machine waits for them.

mod check;
mod codegen;
mod exit;
mod heavy;
mod workspace;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Build, mirror, launch and gate Kubernetes controllers
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    disable_help_subcommand = true,
    after_help = "Every command has --help of its own. Exit codes and environment variables: docs/reference.md"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// The main job: build, push, cluster up, deploy, every tier, report
    E2e(Passed),
    /// Checks, unit and integration tiers: what to run before pushing
    Test(Passed),
    /// Run a pipeline by its file in `ci/pipelines/`
    Ci(Passed),
    /// Show what a run would do, and do nothing
    Plan(Passed),
    /// Build proven OCI images
    BuildImages(Passed),
    /// Copy images to an approved registry and pin them there: plan, sync, verify, status, rollback, why, bundle, load
    Mirror(Passed),
    /// Judge where images come from
    Policy(Passed),
    /// A cluster: up, down, status, kubeconfig, logs
    Cluster(Passed),
    /// Apply the components in order and wait until they are ready
    Deploy(Passed),
    /// Explain why something is not ready
    Diagnose(Passed),
    /// Tell the last run again: terminal, JUnit, JSON, Markdown, HTML
    Report(Passed),
    /// Look for what this machine lacks, with the command that installs it
    Doctor(Passed),
    /// Measure against the field's other tools: images, mirror
    Bench(Passed),
    /// Check the sources: format, lints, layers, names, paths, generated files
    Check(check::Arguments),
    /// Write the files that are generated from the code
    Codegen(codegen::Arguments),
    /// Print completions for a shell
    Completions(Passed),
}

/// Arguments for somebody else to read.
#[derive(Args)]
#[command(disable_help_flag = true)]
struct Passed {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<std::ffi::OsString>,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn run(command: Command) -> Result<ExitCode, exit::Failure> {
    let start = |name: &str, passed: Passed| heavy::start(name, &passed.arguments);
    match command {
        Command::E2e(passed) => start("e2e", passed),
        Command::Test(passed) => {
            if !asks_for_help(&passed) {
                check::run(&check::Arguments::default())?;
            }
            start("test", passed)
        }
        Command::Ci(passed) => start("ci", passed),
        Command::Plan(passed) => start("plan", passed),
        Command::BuildImages(passed) => start("build-images", passed),
        Command::Bench(passed) => start("bench", passed),
        Command::Cluster(passed) => start("cluster", passed),
        Command::Deploy(passed) => start("deploy", passed),
        Command::Diagnose(passed) => start("diagnose", passed),
        Command::Mirror(passed) => start("mirror", passed),
        Command::Policy(passed) => start("policy", passed),
        Command::Report(passed) => start("report", passed),
        Command::Doctor(passed) => start("doctor", passed),
        Command::Check(arguments) => check::run(&arguments),
        Command::Codegen(arguments) => codegen::run(&arguments),
        Command::Completions(passed) => start("completions", passed),
    }
}

fn asks_for_help(passed: &Passed) -> bool {
    passed.arguments.iter().any(|argument| argument == "--help" || argument == "-h")
}
