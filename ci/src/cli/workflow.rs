//! `workflow`: prints a generated workflow, for `cargo xtask codegen`.

use ci::exit::{Failure, Reason};
use ci::{spec, workflows};
use clap::{Args, ValueEnum};
use images::{mirror, recipe};

use super::workspace::Workspace;
use super::{Outcome, print};

/// Print a workflow for GitHub as the declarations say it
#[derive(Args)]
pub(super) struct Arguments {
    /// Which
    workflow: Workflow,
}

#[derive(Clone, Copy, ValueEnum)]
enum Workflow {
    /// Every pipeline on each architecture
    Ci,
    /// The scheduled mirror
    Mirror,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let root = Workspace::find()?.root;
    let mistake = |error: &(dyn std::error::Error + 'static)| Failure::new(Reason::Declaration, error, None);
    match arguments.workflow {
        Workflow::Ci => {
            let mut specs = Vec::new();
            for name in spec::names(&root) {
                specs.push(spec::load(&root, &name).map_err(|error| mistake(&error))?);
            }
            // What needs no cluster says sooner what is wrong.
            specs.sort_by_key(|spec| spec.cluster.is_some());
            let recipes = recipe::load(&root).map_err(|error| mistake(&error))?;
            print(workflows::pipelines(&specs, &recipes))
        }
        Workflow::Mirror => {
            let mirror = mirror::declaration::load(&root).map_err(|error| mistake(&error))?;
            print(workflows::mirror(&mirror))
        }
    }
}
