//! When everything happened: one bar for each stage, component and tier.

use std::time::Duration;

use super::element::escape;
use crate::report::{Report, Span, State, text};

/// What a bar needs at least, in percent, to be seen.
const NARROWEST: f64 = 0.4;

struct Bar<'a> {
    kind: &'static str,
    name: &'a str,
    state: State,
    /// Seconds since the run began.
    from: f64,
    took: Duration,
}

/// The section.
pub(super) fn timeline(report: &Report) -> String {
    let whole = report.took().as_secs_f64();
    let mut bars = bars(report);
    if bars.is_empty() || whole <= 0.0 {
        return String::new();
    }
    bars.sort_by(|one, other| one.from.total_cmp(&other.from));
    let rows: String = bars
        .iter()
        .map(|Bar { kind, name, state, from, took }| {
            let width = (took.as_secs_f64() / whole * 100.0).clamp(NARROWEST, 100.0);
            let left = (from / whole * 100.0).min(100.0 - width);
            // A long bar has room for its label; one that ends late has none behind it.
            let side = match (width, left + width) {
                (12.0.., _) => " inside",
                (_, 82.0..) => " before",
                _ => "",
            };
            let class = state.word().replace(' ', "-");
            let took = text::duration(*took);
            format!(
                "<div class=\"row\"><span class=\"name\">{name} <span class=\"quiet\">{kind}</span></span><span class=\"track\">\
                 <i class=\"{class}{side}\" style=\"left:{left:.2}%;width:{width:.2}%\" title=\"{name}: {took}\" data-took=\"{took}\"></i>\
                 </span></div>\n",
                name = escape(name),
            )
        })
        .collect();
    let ticks: String = ticks(whole)
        .iter()
        .map(|at| {
            let left = at / whole * 100.0;
            format!("<span style=\"left:{left:.2}%\">{}</span>", tick(*at))
        })
        .collect();
    format!(
        "<section>\n<h2>Timeline<span class=\"aside\">{}</span></h2>\n<div class=\"timeline\">\n{rows}\
         <div class=\"row axis\"><span class=\"name\"></span><span class=\"track\">{ticks}</span></div>\n</div>\n</section>\n",
        text::duration(report.took()),
    )
}

fn bars(report: &Report) -> Vec<Bar<'_>> {
    let stages = report.stages.iter().map(|stage| ("stage", stage.stage.name(), stage.state, stage.span));
    let components = report.components.iter().map(|component| {
        let state = if component.ready { State::Passed } else { State::Failed };
        ("component", component.name.as_str(), state, component.span)
    });
    let tiers = report.tiers.iter().map(|tier| ("tier", tier.title.as_str(), tier.state, tier.span));
    let bar = |(kind, name, state, span): (&'static str, _, _, Span)| {
        let began = report.began?;
        let from = span.began?.duration_since(began).as_secs_f64();
        // What never ended lasted until the run did.
        let rest = report.took().as_secs_f64() - from;
        let took = span.took.unwrap_or(Duration::from_secs_f64(rest.max(0.0)));
        Some(Bar { kind, name, state, from, took })
    };
    stages.chain(components).chain(tiers).filter_map(bar).collect()
}

/// Round numbers of seconds, four to eight of them.
fn ticks(whole: f64) -> Vec<f64> {
    const STEPS: [f64; 14] =
        [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];
    let step = STEPS.into_iter().find(|step| whole / step <= 8.0).unwrap_or(3600.0);
    let mut ticks = Vec::new();
    let mut at = 0.0;
    while at <= whole {
        ticks.push(at);
        at += step;
    }
    ticks
}

fn tick(at: f64) -> String {
    match at {
        at if at < 10.0 && at.fract() > 0.01 => format!("{at:.1} s"),
        at if at < 60.0 => format!("{at:.0} s"),
        at if at % 60.0 < 1.0 => format!("{:.0} m", at / 60.0),
        at => format!("{:.0}m {:02.0}s", (at / 60.0).floor(), at % 60.0),
    }
}
