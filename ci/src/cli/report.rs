//! `report`: a run told again.

use std::io::{self, IsTerminal};

use ci::exit::{Failure, Reason};
use ci::report;
use ci::run::Run;
use clap::{Args, ValueEnum};

use super::workspace::Workspace;
use super::{Outcome, print, unforeseen};

/// Tell the last run again: terminal, JUnit, JSON, Markdown, HTML
#[derive(Args)]
#[command(after_help = "Examples:
  cargo xtask report                     the last run, for the terminal
  cargo xtask report --format markdown   the same as Markdown
  cargo xtask report --run 2026-01-09T15-41-07-e2e --format json")]
pub(super) struct Arguments {
    /// The run's name; the last one unless given
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// In which form
    #[arg(long, value_enum, default_value_t = Format::Terminal)]
    format: Format,
    /// The same as `--format json`
    #[arg(long, conflicts_with = "format")]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Terminal,
    Junit,
    Json,
    Markdown,
    Html,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let workspace = Workspace::find()?;
    let run = match &arguments.run {
        Some(id) => Run::named(&workspace.home, id),
        None => Run::latest(&workspace.home),
    };
    let run = run.ok_or_else(|| {
        let what = arguments
            .run
            .as_ref()
            .map_or("there was none yet".to_owned(), |id| format!("there is no run `{id}`"));
        let hint = Some(format!("the runs are in `{}`", workspace.home.display()));
        Failure::says(Reason::Usage, format!("tell a run again: {what}"), hint)
    })?;
    let told =
        report::load(&run.directory).map_err(|error| Failure::new(Reason::Unforeseen, &error, None))?;
    let unwritable = |error: io::Error| unforeseen("write the report", &error);
    match if arguments.json { Format::Json } else { arguments.format } {
        Format::Terminal => print(report::summary(&told, io::stdout().is_terminal())),
        Format::Junit => print(report::junit(&told).map_err(unwritable)?),
        Format::Json => print(report::json(&told).map_err(|error| unwritable(error.into()))?),
        Format::Markdown => print(report::markdown(&told)),
        Format::Html => print(report::html(&told)),
    }
}
