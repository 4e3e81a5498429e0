//! `workflow`: prints a generated workflow, for `cargo xtask codegen`.

use std::path::Path;

use ci::exit::{Failure, Reason};
use ci::spec::Spec;
use ci::{spec, workflows};
use clap::{Args, ValueEnum};
use images::{Recipes, mirror, policy, recipe};

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
    /// From a tag to images and a release
    Release,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let root = Workspace::find()?.root;
    match arguments.workflow {
        Workflow::Ci => print(workflows::pipelines(&specs(&root)?, &recipes(&root)?)),
        Workflow::Mirror => {
            let mirror = mirror::declaration::load(&root).map_err(|error| mistake(&error))?;
            print(workflows::mirror(&mirror))
        }
        Workflow::Release => {
            let policy = policy::load(&root).map_err(|error| mistake(&error))?;
            let Some(registry) = policy.own_place() else {
                let hint = "end a pattern of a tier of images/registries.toml in `/*`".to_owned();
                let message = "find where releases go: no approved place is for images of one's own";
                return Err(Failure::says(Reason::Declaration, message, Some(hint)).into());
            };
            print(workflows::release(&specs(&root)?, &recipes(&root)?, registry))
        }
    }
}

/// What needs no cluster first: it says sooner what is wrong.
fn specs(root: &Path) -> Result<Vec<Spec>, Failure> {
    let mut specs = Vec::new();
    for name in spec::names(root) {
        specs.push(spec::load(root, &name).map_err(|error| mistake(&error))?);
    }
    specs.sort_by_key(|spec| spec.cluster.is_some());
    Ok(specs)
}

fn recipes(root: &Path) -> Result<Recipes, Failure> {
    recipe::load(root).map_err(|error| mistake(&error))
}

fn mistake(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Reason::Declaration, error, None)
}
