//! `report.html`: one page that needs nothing else, readable in light and dark, on paper and without scripts.

mod element;
mod tests_by_tier;
mod timeline;

use images::proof::Boot;

use self::element::{escape, prose};
use super::{ArchitectureRow, Counts, Issue, Report, State, TierReport, text};
use crate::event::Verdict;

const STYLE: &str = include_str!("html/style.css");
/// Filters the tests by what is typed; without scripts everything is shown.
const SCRIPT: &str = include_str!("html/filter.js");

/// The report as one page.
pub fn html(report: &Report) -> String {
    let pipeline = report.run.as_ref().map_or("run", |run| run.pipeline.as_str());
    let (class, word) = verdict(report);
    let sections = [
        head(report),
        issues(report),
        tiers(report),
        timeline::timeline(report),
        coverage(report),
        deployment(report),
        architecture(report),
        tests_by_tier::tests(report),
        next_steps(report),
    ];
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{} {word}</title>\n<style>\n{STYLE}</style>\n<body class=\"{class}\">\n<main>\n{}</main>\n\
         <script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        escape(pipeline),
        sections.concat(),
    )
}

fn verdict(report: &Report) -> (&'static str, &'static str) {
    match report.verdict {
        Some(Verdict::Passed) => ("passed", "passed"),
        Some(Verdict::Failed) => ("failed", "failed"),
        Some(Verdict::Interrupted) => ("failed", "interrupted"),
        None => ("failed", "did not finish"),
    }
}

fn section(title: &str, aside: &str, body: &str) -> String {
    if body.is_empty() {
        return String::new();
    }
    let aside =
        if aside.is_empty() { String::new() } else { format!("<span class=\"aside\">{aside}</span>") };
    format!("<section>\n<h2>{title}{aside}</h2>\n{body}</section>\n")
}

fn head(report: &Report) -> String {
    let (_, word) = verdict(report);
    let mut facts = Vec::new();
    if let Some(run) = &report.run {
        if let Some(began) = report.began {
            facts.push(began.strftime("%Y-%m-%d %H:%M UTC").to_string());
        }
        facts.push(format!("<code>{}</code>", escape(&run.command)));
        facts.extend(run.commit.as_ref().map(|commit| format!("commit {}", escape(commit))));
        facts.push(format!("{}, {}", escape(&run.platform), text::number(run.cores, "core")));
    }
    facts.extend(report.cluster.as_ref().map(|cluster| format!("cluster: {}", escape(&cluster.provider))));
    let facts: String = facts.iter().map(|fact| format!("<li>{fact}")).collect();
    let left_out = report.left_out();
    let left_out: String = left_out
        .iter()
        .map(|left_out| format!("<p class=\"left-out\">Without {}</p>\n", prose(left_out)))
        .collect();
    let pipeline = report.run.as_ref().map_or("run", |run| run.pipeline.as_str());
    format!(
        "<header>\n<p class=\"verdict\">{word}</p>\n<h1>{}</h1>\n<p class=\"took\">{}</p>\n<ul class=\"facts\">{facts}</ul>\n\
         {left_out}{}</header>\n",
        escape(pipeline),
        text::duration(report.took()),
        numbers(report.counts()),
    )
}

/// The counts, large; what is zero is quiet.
fn numbers(counts: Counts) -> String {
    let Counts { passed, flaky, failed, skipped, not_run } = counts;
    let numbers = [
        ("passed", "passed", passed),
        ("failed", "failed", failed),
        ("flaky", "flaky", flaky),
        ("skipped", "skipped", skipped),
        ("not-run", "not run", not_run),
    ];
    let numbers: String = numbers
        .iter()
        .map(|(class, word, number)| {
            let zero = if *number == 0 { " zero" } else { "" };
            format!("<div class=\"{class}{zero}\"><b>{number}</b>{word}</div>")
        })
        .collect();
    format!("<div class=\"numbers\">{numbers}</div>\n")
}

fn issues(report: &Report) -> String {
    let issues = report.issues();
    let body: String = issues.iter().map(issue).collect();
    let blocking = issues.iter().filter(|issue| issue.blocking).count();
    section("Issues", &format!("{blocking} blocking, {} to look at", issues.len() - blocking), &body)
}

fn issue(issue: &Issue) -> String {
    let Issue { title, blocking, symptoms, causes, fixes } = issue;
    let class = if *blocking { "blocking" } else { "minor" };
    let mut body = format!("<article class=\"issue {class}\">\n<h3>{}</h3>\n", prose(title));
    let list = |class: &str, label: &str, items: &[String]| -> String {
        let items: String = items.iter().map(|item| format!("<li>{}", prose(item))).collect();
        match items.is_empty() {
            true => String::new(),
            false => format!("<div class=\"{class}\"><h4>{label}</h4><ol>{items}</ol></div>\n"),
        }
    };
    body.push_str(&list("causes", "Cause", causes));
    body.push_str(&list("fixes", "Fix", fixes));
    if !symptoms.is_empty() {
        // A long output starts closed.
        let open = if symptoms.lines().count() <= 25 { " open" } else { "" };
        let lines = text::number(symptoms.lines().count(), "line");
        body.push_str(&format!(
            "<details{open}><summary>what was seen <span class=\"quiet\">{lines}</span></summary><pre>{}</pre></details>\n",
            escape(symptoms.trim_end()),
        ));
    }
    body.push_str("</article>\n");
    body
}

fn tiers(report: &Report) -> String {
    let rows: String = report.tiers.iter().map(tier).collect();
    let passed = report.tiers.iter().filter(|tier| tier.state == State::Passed).count();
    let body = if rows.is_empty() { String::new() } else { format!("<div class=\"tiers\">\n{rows}</div>\n") };
    section("Tiers", &format!("{passed} of {} passed", report.tiers.len()), &body)
}

fn tier(tier: &TierReport) -> String {
    let counts = tier.counts();
    let Counts { passed, flaky, failed, skipped, not_run } = counts;
    let parts = [
        ("passed", passed),
        ("flaky", flaky),
        ("failed", failed),
        ("skipped", skipped),
        ("not-run", not_run),
    ];
    let class = tier.state.word().replace(' ', "-");
    let (bar, detail) = match (tier.tests.is_empty(), &tier.reason) {
        (true, reason) => {
            let detail = reason.as_deref().or(tier.problem.as_ref().map(|problem| problem.message.as_str()));
            let first_line = detail.and_then(|detail| detail.lines().next());
            (format!("<i class=\"{class}\" style=\"flex:1\"></i>"), first_line.map(prose).unwrap_or_default())
        }
        (false, reason) => {
            let parts = parts.iter().filter(|(_, number)| *number > 0);
            let bar = parts.map(|(class, number)| {
                format!("<i class=\"{class}\" style=\"flex:{number}\" title=\"{number} {class}\"></i>")
            });
            let reason = reason.as_ref().map_or_else(String::new, |reason| format!("; {}", prose(reason)));
            (bar.collect(), format!("{}{reason}", text::counts(counts)))
        }
    };
    format!(
        "<div class=\"tier\"><span class=\"name\">{}</span><span class=\"chip {class}\">{}</span>\
         <span class=\"bar\">{bar}</span><span class=\"detail\">{detail}</span><span class=\"time\">{}</span></div>\n",
        escape(&tier.title),
        tier.state.word(),
        tier.span.took.map_or_else(String::new, text::duration),
    )
}

fn coverage(report: &Report) -> String {
    let covered = report.coverage.iter().filter(|covered| covered.holds()).count();
    let cards: String = report
        .coverage
        .iter()
        .map(|covered| {
            let class = if covered.holds() { "covered" } else { "uncovered" };
            let tests: String = covered
                .tests
                .iter()
                .map(|test| {
                    let state = test.state.to_string();
                    format!(
                        "<li class=\"{}\"><code>{}</code> {state}",
                        state.replace(' ', "-"),
                        escape(&test.test.to_string())
                    )
                })
                .collect();
            let number = text::number(covered.tests.len(), "test");
            format!(
                "<details class=\"requirement {class}\"><summary><b>{}</b> {}<span class=\"quiet\">{number}</span></summary>\
                 <ul>{tests}</ul></details>\n",
                escape(&covered.id),
                prose(&covered.title),
            )
        })
        .collect();
    let body =
        if cards.is_empty() { cards } else { format!("<div class=\"requirements\">\n{cards}</div>\n") };
    section("Requirements", &format!("{covered} of {} covered", report.coverage.len()), &body)
}

fn deployment(report: &Report) -> String {
    let Some(cluster) = &report.cluster else { return String::new() };
    let images: String = report
        .images
        .iter()
        .map(|image| {
            let sent = match image.sent {
                None => "—".to_string(),
                Some(0) => "nothing".to_string(),
                Some(sent) => text::bytes(sent),
            };
            format!(
                "<tr><td>{}<td><code title=\"{}\">{}</code><td>{}<td class=\"n\">{}<td class=\"n\">{sent}\n",
                escape(&image.name),
                escape(&image.digest),
                escape(text::short_digest(&image.digest)),
                escape(&image.platforms.join(", ")),
                text::bytes(image.bytes),
            )
        })
        .collect();
    let components: String = report
        .components
        .iter()
        .map(|component| {
            let (class, status) = match (component.ready, &component.waiting) {
                (true, _) => ("passed", "ready".to_string()),
                (false, Some(waiting)) => ("failed", format!("not ready: {}", prose(waiting))),
                (false, None) => ("failed", "not ready".to_string()),
            };
            format!(
                "<tr><td>{}<td><span class=\"dot {class}\"></span>{status}<td class=\"n\">{}<td class=\"n\">{}<td class=\"n\">{}\n",
                escape(&component.name),
                component.objects,
                component.changed,
                component.span.took.map_or_else(|| "—".to_string(), text::duration),
            )
        })
        .collect();
    let mut body = String::new();
    if !components.is_empty() {
        body.push_str(&format!(
            "<table><thead><tr><th>Component<th>Status<th class=\"n\">Objects<th class=\"n\">Changed<th class=\"n\">Time\
             <tbody>{components}</table>\n"
        ));
    }
    if !images.is_empty() {
        body.push_str(&format!(
            "<table><thead><tr><th>Image<th>Digest<th>Platforms<th class=\"n\">Size<th class=\"n\">Sent<tbody>{images}</table>\n"
        ));
    }
    let ready =
        cluster.took.map_or_else(String::new, |took| format!(", ready after {}", text::duration(took)));
    let aside = format!("{}: {}{ready}", escape(&cluster.provider), prose(&cluster.reason));
    section("Deployment", &aside, &body)
}

fn architecture(report: &Report) -> String {
    let node = report.cluster.as_ref().and_then(|cluster| cluster.architecture.as_deref());
    let rows: String = report
        .architecture
        .iter()
        .map(|ArchitectureRow { image, platform, file, machine, linkage, boot }| {
            let (class, started, title) = match boot {
                Boot::Native { answer } => ("passed", "native".to_string(), answer.clone()),
                Boot::Emulated { emulator, answer } => {
                    ("passed", format!("emulated by {emulator}"), answer.clone())
                }
                Boot::NotRun { reason } => ("not-run", format!("not run: {reason}"), String::new()),
            };
            let suits = match node {
                None => "—",
                Some(node) if platform.split('/').nth(1) == Some(node) => "yes",
                Some(_) => "no",
            };
            format!(
                "<tr><td>{}<td>{}<td><code>{}</code><td><span class=\"dot passed\"></span>{}<td>{}\
                 <td title=\"{}\"><span class=\"dot {class}\"></span>{}<td>{suits}\n",
                escape(image),
                escape(platform),
                escape(file),
                escape(machine),
                escape(&linkage.to_string()),
                escape(&title),
                escape(&started),
            )
        })
        .collect();
    let body = match rows.is_empty() {
        true => rows,
        false => format!(
            "<table><thead><tr><th>Image<th>Platform<th>Executable<th>ELF machine<th>Linkage<th>Started<th>For these nodes\
             <tbody>{rows}</table>\n"
        ),
    };
    let aside = node.map_or_else(String::new, |node| format!("nodes are {}", escape(node)));
    section("Architecture", &aside, &body)
}

fn next_steps(report: &Report) -> String {
    let steps: String = report.next_steps().iter().map(|step| format!("<li>{}", prose(step))).collect();
    let notes: String = report.notes.iter().map(|note| format!("<li>{}", prose(note))).collect();
    let steps = match steps.is_empty() {
        true => "<p>Nothing is left to do.</p>\n".to_string(),
        false => format!("<ol>{steps}</ol>\n"),
    };
    let notes = if notes.is_empty() { notes } else { format!("<h3>Notes</h3>\n<ul>{notes}</ul>\n") };
    section("Next steps", "", &format!("{steps}{notes}"))
}
