//! `policy`: where images come from, judged.

use std::collections::BTreeSet;

use ci::exit::{Failure, Reason};
use clap::{Args, Subcommand};
use images::policy::{self, Finding, Severity};
use images::recipe;
use jiff::Zoned;
use serde_json::json;

use super::workspace::Workspace;
use super::{Outcome, Unsuccessful, print, print_json};

/// Judge where images come from
#[derive(Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(Check),
}

/// Hold every image reference of the workspace against `images/registries.toml`
#[derive(Args)]
#[command(
    after_help = "Reads every Containerfile, recipe, manifest (custom resources included), node image, workflow and mirror destination. An exception
warns for the last 14 days before its end (`warn-days`), and fails from the day after it.

Examples:
  cargo xtask policy check                     findings with file, line, rule and fix
  cargo xtask policy check --sarif > out.sarif for a code scanner

Exit codes: 0 nothing is violated (warnings are printed), 3 a declaration has a mistake, 5 the policy is violated"
)]
struct Check {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// Print the findings as SARIF 2.1.0
    #[arg(long, conflicts_with = "json")]
    sarif: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Command::Check(arguments) = &arguments.command;
    let workspace = Workspace::find()?;
    let declaration =
        |error: &(dyn std::error::Error + 'static)| Failure::new(Reason::Declaration, error, None);
    let rules = policy::load(&workspace.root).map_err(|error| declaration(&error))?;
    let recipes = recipe::load(&workspace.root).map_err(|error| declaration(&error))?;
    let mentions = policy::collect(&workspace.root).map_err(|error| declaration(&error))?;
    let own: BTreeSet<String> = recipes.names().map(str::to_owned).collect();
    let mut findings = policy::check(&rules, &mentions, &own, Zoned::now().date());
    findings.extend(policy::unlocked(&workspace.root));
    match (arguments.json, arguments.sarif) {
        (true, _) => print_json(&json!({"references": mentions.len(), "findings": findings}))?,
        (_, true) => print_json(&policy::sarif(&findings))?,
        _ => print(told(mentions.len(), &findings))?,
    }
    match findings.iter().any(|finding| finding.severity == Severity::Error) {
        true => Err(Unsuccessful::Reported(Reason::Policy)),
        false => Ok(()),
    }
}

fn told(references: usize, findings: &[Finding]) -> String {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = findings.len() - errors;
    let lines: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let checked = plural(references, "image reference");
    format!("{lines}{checked}: {}, {}\n", plural(errors, "violation"), plural(warnings, "warning"))
}

#[cfg(test)]
mod tests {
    use images::policy::Rule;

    use super::*;

    #[test]
    fn findings_are_told_with_a_sum() {
        let finding = Finding {
            rule: Rule::ProhibitedRegistry,
            severity: Severity::Error,
            file: "pod.yaml".into(),
            line: 3,
            image: "redis:7".into(),
            message: "`redis:7` is from a prohibited registry".into(),
            fix: "mirror it".into(),
        };
        insta::assert_snapshot!(told(2, &[finding]), @r#"
        pod.yaml:3: error[prohibited-registry]: `redis:7` is from a prohibited registry
          = hint: mirror it
        2 image references: 1 violation, 0 warnings
        "#);
        assert_eq!(told(1, &[]), "1 image reference: 0 violations, 0 warnings\n");
    }
}
