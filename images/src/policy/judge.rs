//! The judgement: mentions against the policy on one day. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::pattern::{Pattern, in_scope};
use super::{Exception, FILE, Finding, Mention, Name, Place, Policy, Prohibition, Rule};

/// Everything the policy objects to on `today`, in the order of the mentions. `own` are names the workspace builds itself.
pub fn check(policy: &Policy, mentions: &[Mention], own: &BTreeSet<String>, today: Date) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut used = BTreeSet::new();
    for mention in mentions {
        match &mention.image {
            Err(problem) => findings.push(unresolved(mention, problem)),
            Ok(written) if mention.place == Place::Compiler => findings.push(fetched(mention, written)),
            // Built here and deployed by digest: it has no registry before the deployment gives it one.
            Ok(image) if mention.place == Place::Manifest && own.contains(image) => {}
            Ok(image) => findings.extend(judge(policy, mention, image, today, &mut used)),
        }
    }
    findings.extend(diverging(mentions));
    for (index, exception) in policy.exceptions.iter().enumerate() {
        findings.extend(upkeep(policy, exception, used.contains(&index), today));
    }
    findings
}

fn judge(
    policy: &Policy,
    mention: &Mention,
    image: &str,
    today: Date,
    used: &mut BTreeSet<usize>,
) -> Vec<Finding> {
    let Ok(name) = Name::parse(image) else {
        let message = format!("`{image}` is not an image reference");
        let fix = "write `<registry>/<repository>[:<tag>][@sha256:<digest>]`".to_owned();
        return vec![finding(mention, image, Rule::MalformedReference, message, fix)];
    };
    let mut findings = Vec::new();
    let objection = match standing(policy, &name) {
        Standing::Approved => None,
        Standing::Prohibited(prohibition) => Some(prohibited(policy, mention, image, &name, prohibition)),
        Standing::Unknown => Some(unapproved(policy, mention, image, &name)),
    };
    if let Some(objection) = objection {
        match excepted(policy, mention, &name) {
            None => findings.push(objection),
            Some((index, exception)) => {
                used.insert(index);
                if exception.expires < today {
                    findings.push(expired(mention, image, exception));
                }
            }
        }
    }
    if name.short && findings.is_empty() {
        let message = format!("`{image}` names no registry");
        let fix = format!("write `{name}`");
        findings.push(finding(mention, image, Rule::ShortName, message, fix));
    }
    if name.digest().is_none() && policy.digest_required.contains(&mention.place) && findings.is_empty() {
        let message = format!("`{image}` is not pinned by digest");
        let fix = format!("write `{name}@sha256:<digest>`: the tag can become another image");
        findings.push(finding(mention, image, Rule::DigestRequired, message, fix));
    }
    findings
}

enum Standing<'a> {
    Approved,
    Prohibited(&'a Prohibition),
    Unknown,
}

/// The most specific pattern decides; of equally specific ones the prohibition.
fn standing<'a>(policy: &'a Policy, name: &Name) -> Standing<'a> {
    let repository = name.repository();
    let best =
        |patterns: &[Pattern]| patterns.iter().filter_map(|pattern| pattern.matches(&repository)).max();
    let approved = policy.tiers.iter().filter_map(|tier| best(&tier.registries)).max();
    let prohibited = policy
        .prohibited
        .iter()
        .filter_map(|prohibition| Some((best(&prohibition.registries)?, prohibition)))
        .max_by_key(|(specific, _)| *specific);
    match (approved, prohibited) {
        (Some(approved), Some((prohibited, _))) if approved > prohibited => Standing::Approved,
        (_, Some((_, prohibition))) => Standing::Prohibited(prohibition),
        (Some(_), None) => Standing::Approved,
        (None, None) => Standing::Unknown,
    }
}

/// The exception for this digest of this repository in this file.
fn excepted<'a>(policy: &'a Policy, mention: &Mention, name: &Name) -> Option<(usize, &'a Exception)> {
    policy.exceptions.iter().enumerate().find(|(_, exception)| {
        let same = Name::parse(&exception.image).is_ok_and(|allowed| {
            allowed.repository() == name.repository()
                && allowed.digest().is_some()
                && allowed.digest() == name.digest()
        });
        same && exception.scope.iter().any(|scope| in_scope(scope, &mention.file))
    })
}

fn finding(mention: &Mention, image: &str, rule: Rule, message: String, fix: String) -> Finding {
    Finding {
        rule,
        severity: rule.severity(),
        file: mention.file.clone(),
        line: mention.line,
        image: image.to_owned(),
        message,
        fix,
    }
}

fn fetched(mention: &Mention, written: &str) -> Finding {
    let message = format!("`{written}` fetches a compiler that no approved image has");
    let fix = match written.starts_with("GOTOOLCHAIN") {
        true => "write `GOTOOLCHAIN=local`, and build on an image with the compiler that is wanted",
        false => "build on an image that has the compiler",
    };
    finding(mention, written, Rule::FetchedCompiler, message, fix.to_owned())
}

/// What images are built with, named in more than one version: each first mention of another one.
fn diverging(mentions: &[Mention]) -> Vec<Finding> {
    let mut known: BTreeMap<String, Vec<(String, &Mention)>> = BTreeMap::new();
    let mut findings = Vec::new();
    for mention in
        mentions.iter().filter(|mention| matches!(mention.place, Place::Containerfile | Place::Recipe))
    {
        let Ok(image) = &mention.image else { continue };
        let Ok(name) = Name::parse(image) else { continue };
        let versions = known.entry(name.repository()).or_default();
        if versions.iter().any(|(version, _)| *version == name.to_string()) {
            continue;
        }
        if let Some((first, place)) = versions.first() {
            let message =
                format!("`{image}` is another version than the one at {}:{}", place.file, place.line);
            let fix = format!("build everything with one, as in `{first}`");
            findings.push(finding(mention, image, Rule::DivergingVersions, message, fix));
        }
        versions.push((name.to_string(), mention));
    }
    findings
}

fn unresolved(mention: &Mention, problem: &str) -> Finding {
    let fix = "give the argument a default, so that the file says what is pulled".to_owned();
    finding(mention, "", Rule::UnresolvedArgument, problem.to_owned(), fix)
}

fn prohibited(
    policy: &Policy,
    mention: &Mention,
    image: &str,
    name: &Name,
    prohibition: &Prohibition,
) -> Finding {
    let message = format!("`{image}` is from a prohibited registry: {}", prohibition.reason);
    let fix = match (&prohibition.instead, near_miss(policy, name)) {
        (_, Some(near)) => near,
        (Some(instead), None) => instead.clone(),
        (None, None) => approved_ones(policy),
    };
    finding(mention, image, Rule::ProhibitedRegistry, message, fix)
}

fn unapproved(policy: &Policy, mention: &Mention, image: &str, name: &Name) -> Finding {
    let message = format!("`{}` is not an approved registry", name.reference.registry);
    let fix = near_miss(policy, name).unwrap_or_else(|| approved_ones(policy));
    finding(mention, image, Rule::UnapprovedRegistry, message, fix)
}

/// There is an exception for the repository, but not for this digest or this file.
fn near_miss(policy: &Policy, name: &Name) -> Option<String> {
    let near = policy.exceptions.iter().find(|exception| {
        Name::parse(&exception.image).is_ok_and(|allowed| allowed.repository() == name.repository())
    })?;
    Some(format!(
        "the exception at {FILE}:{} is for `{}` in {}",
        near.line,
        near.image,
        near.scope.join(", ")
    ))
}

fn approved_ones(policy: &Policy) -> String {
    let registries =
        policy.tiers.iter().flat_map(|tier| &tier.registries).map(|pattern| format!("`{pattern}`"));
    let registries: Vec<String> = registries.collect();
    format!("use {}, mirror it there, or add an exception to {FILE}", registries.join(", "))
}

fn expired(mention: &Mention, image: &str, exception: &Exception) -> Finding {
    let message = format!("the exception for `{image}` was over on {}", exception.expires);
    let fix = format!("replace the image, or have {FILE}:{} approved again", exception.line);
    finding(mention, image, Rule::ExceptionExpired, message, fix)
}

/// What is to be said of an exception itself.
fn upkeep(policy: &Policy, exception: &Exception, used: bool, today: Date) -> Option<Finding> {
    let about = |rule: Rule, message: String, fix: String| Finding {
        rule,
        severity: rule.severity(),
        file: FILE.to_owned(),
        line: exception.line,
        image: exception.image.clone(),
        message,
        fix,
    };
    let Exception { image, owner, expires, review, .. } = exception;
    if !used {
        let fix = "remove it".to_owned();
        return Some(about(Rule::ExceptionUnused, format!("nothing uses the exception for `{image}`"), fix));
    }
    let left = today.until(*expires).map_or(0, |span| span.get_days());
    if left >= 0 && left <= i32::from(policy.warn_days) {
        let message = format!("the exception for `{image}` is over in {left} days, on {expires}");
        let fix = format!("{owner} replaces the image or has it approved again");
        return Some(about(Rule::ExceptionExpiresSoon, message, fix));
    }
    if left >= 0 && *review < today {
        let message = format!("the exception for `{image}` was to be reviewed on {review}");
        let fix = format!("{owner} decides whether it is still needed and sets the next `review`");
        return Some(about(Rule::ExceptionReviewOverdue, message, fix));
    }
    None
}
