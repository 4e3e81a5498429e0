//! The commands, one file each. Data goes to stdout and talk to stderr; how a command ends is an exit code of [`Reason`].

mod bench;
mod build_images;
mod cluster;
mod completions;
mod deploy;
mod diagnose;
mod doctor;
mod mirror;
mod pipeline;
mod plan;
mod policy;
mod registry;
mod report;
mod workflow;
mod workspace;

use std::io::{self, Write};
use std::process::ExitCode;

use ci::exit::{Failure, Reason};
use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

/// Builds, launches and gates Kubernetes controllers from one declarative workspace
#[derive(Parser)]
#[command(
    name = "slipway",
    bin_name = "cargo xtask",
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done, 1 unforeseen, 2 usage, 3 declaration, 4 build, 5 policy, 6 cluster, 7 deploy, 8 gate, 10 drift, 11 auth, 12 rate limit, 13 partial, 14 registry unavailable, 130 interrupted"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    E2e(pipeline::E2e),
    Test(pipeline::Test),
    Ci(pipeline::Ci),
    Plan(plan::Arguments),
    BuildImages(Box<build_images::Arguments>),
    Bench(bench::Arguments),
    Cluster(cluster::Arguments),
    Deploy(deploy::Arguments),
    Diagnose(diagnose::Arguments),
    Mirror(mirror::Arguments),
    Policy(policy::Arguments),
    Report(report::Arguments),
    Doctor(doctor::Arguments),
    Completions(completions::Arguments),
    #[command(hide = true)]
    Workflow(workflow::Arguments),
    #[command(name = ci::registry::COMMAND, hide = true)]
    ServeRegistry(registry::Arguments),
}

/// Why a command did not succeed.
enum Unsuccessful {
    /// It has to be said.
    Failed(Box<Failure>),
    /// It was reported already.
    Reported(Reason),
}

impl<E: Into<Failure>> From<E> for Unsuccessful {
    fn from(error: E) -> Unsuccessful {
        Unsuccessful::Failed(Box::new(error.into()))
    }
}

type Outcome = Result<(), Unsuccessful>;

/// The mirror moves bytes from socket to socket; what hashes and writes them has threads of its own. With its sockets on one thread a piece
/// is handed on twice instead of five times, which is a tenth of its processor time.
fn runtime(command: &Command) -> io::Result<Runtime> {
    match command {
        Command::Mirror(_) => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    }
    .enable_all()
    .build()
}

/// Does what the command line says.
pub fn run() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    // Fails only if somebody was first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome = match runtime(&command) {
        Ok(runtime) => {
            // On the main thread: what is started here ends when this thread ends.
            let outcome = runtime.block_on(dispatch(command));
            // cargo may still be at work for a run that was stopped.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(unforeseen("start the runtime", &error).into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Unsuccessful::Reported(reason)) => ExitCode::from(reason.code()),
        Err(Unsuccessful::Failed(failure)) => {
            // With stderr closed nobody can be told.
            let _ = writeln!(io::stderr(), "{failure}");
            ExitCode::from(failure.reason.code())
        }
    }
}

async fn dispatch(command: Command) -> Outcome {
    match command {
        Command::E2e(arguments) => pipeline::e2e(arguments).await,
        Command::Test(arguments) => pipeline::test(arguments).await,
        Command::Ci(arguments) => pipeline::ci(arguments).await,
        Command::Plan(arguments) => plan::run(arguments).await,
        Command::BuildImages(arguments) => build_images::run(*arguments).await,
        Command::Bench(arguments) => bench::run(arguments).await,
        Command::Cluster(arguments) => cluster::run(arguments).await,
        Command::Deploy(arguments) => deploy::run(arguments).await,
        Command::Diagnose(arguments) => diagnose::run(arguments).await,
        Command::Mirror(arguments) => mirror::run(arguments).await,
        Command::Policy(arguments) => policy::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Doctor(arguments) => doctor::run(arguments).await,
        Command::Completions(arguments) => completions::run(&arguments),
        Command::Workflow(arguments) => workflow::run(&arguments),
        Command::ServeRegistry(arguments) => registry::run(arguments).await,
    }
}

/// Data, on stdout. Whoever stopped reading it does not want the rest.
fn print(data: impl AsRef<[u8]>) -> Outcome {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(data.as_ref()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(unforeseen("write to stdout", &error).into())
        }
        _ => Ok(()),
    }
}

fn print_json(value: &impl serde::Serialize) -> Outcome {
    let text =
        serde_json::to_string_pretty(value).map_err(|error| unforeseen("write JSON", &error.into()))?;
    print(text + "\n")
}

fn unforeseen(doing: &str, error: &io::Error) -> Failure {
    Failure::says(Reason::Unforeseen, format!("{doing}: {error}"), None)
}
