//! What the mirror's commands print for people.

mod why;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use images::client::Quota;
use images::mirror::bundle::Written;
use images::mirror::{Action, Age, Forecast, Plan, Step, Synced, Verified};

pub(super) use why::why;

/// A plan: what differs, and what that costs.
pub(super) fn plan(plan: &Plan, forecast: &[Forecast]) -> String {
    let mut text = String::new();
    let mut kept = 0;
    for step in &plan.steps {
        match sentence(step) {
            Some(sentence) => _ = writeln!(text, "{sentence}"),
            None => kept += 1,
        }
    }
    let _ = writeln!(text, "{kept} unchanged, {} to do", plan.writes().count());
    for registry in forecast.iter().filter(|forecast| forecast.needed > 0) {
        let _ = writeln!(text, "{}", self::forecast(registry));
    }
    text
}

/// What a registry will count, against what it said is left.
pub(super) fn forecast(forecast: &Forecast) -> String {
    let Forecast { registry, needed, at_least, quota } = forecast;
    let about = if *at_least { "at least" } else { "about" };
    let Some(Quota { remaining, limit, window, counted_for }) = quota else {
        return format!("{registry}: {about} {needed} metered reads; it does not say how many are left");
    };
    let mut text = format!("{registry}: {about} {needed} metered reads; {remaining}");
    text += &limit.map(|limit| format!(" of {limit}")).unwrap_or_default();
    text += if forecast.exceeds() { " are left, which is not enough" } else { " are left" };
    text += &window.map(|window| format!(", in windows of {}", period(window))).unwrap_or_default();
    text += &counted_for.as_ref().map(|who| format!(", counted for {who}")).unwrap_or_default();
    text
}

fn period(window: Duration) -> String {
    let seconds = window.as_secs();
    let units = [(86400, "d"), (3600, "h"), (60, "min")];
    let whole = units.into_iter().find(|(length, _)| seconds >= *length && seconds.is_multiple_of(*length));
    whole.map_or(format!("{seconds} s"), |(length, unit)| format!("{} {unit}", seconds / length))
}

fn sentence(step: &Step) -> Option<String> {
    let Step { source, destination, tag, action, size, metered: _, at_least: _ } = step;
    let image = format!("{destination}:{tag}");
    let size = size.map(|size| format!(", {}", bytes(size))).unwrap_or_default();
    Some(match action {
        Action::Keep => return None,
        Action::Add { to } => format!("add      {image} from {source}, {to}{size}"),
        Action::Update { from, to } => format!("update   {image} from {from} to {to}{size}"),
        Action::Moved { from, to } => {
            format!("moved    {image} stays {from}; {source} has {to} (move it with --update)")
        }
        Action::Restore { to, instead: None } => format!("restore  {image}, which is gone: {to}{size}"),
        Action::Restore { to, instead: Some(instead) } => {
            format!("restore  {image} to {to}; it is {instead}{size}")
        }
        Action::Absent => format!("absent   {image}: {source} does not have the tag its rule names"),
        Action::Vanished => format!("vanished {image} stays; {source} does not have it any more"),
        Action::Unselected => format!("unlisted {image} stays; no rule takes it any more"),
    })
}

/// What a run did.
pub(super) fn synced(synced: &Synced, plan: &Plan) -> String {
    let moves = &synced.moves;
    let kept = plan.steps.iter().filter(|step| step.action == Action::Keep).count();
    let mut text = format!(
        "{} mirrored, {kept} unchanged, {} failed; {} blobs fetched ({}), {} sent, {} mounted, {} were there\n",
        synced.promoted.len(),
        synced.failures.len(),
        moves.fetched,
        bytes(moves.fetched_bytes),
        moves.sent,
        moves.mounted,
        moves.present,
    );
    for step in &plan.steps {
        if let (
            Action::Moved { .. } | Action::Absent | Action::Vanished | Action::Unselected,
            Some(sentence),
        ) = (&step.action, sentence(step))
        {
            let _ = writeln!(text, "{sentence}");
        }
    }
    text
}

/// What a bundle has.
pub(super) fn bundled(written: &Written, directory: &Path) -> String {
    let Written { images, blobs, fetched: (fetched, size), left_out, failures } = written;
    let state = if failures.is_empty() { "is finished" } else { "is NOT finished" };
    format!(
        "{} {state}: {images} images, {blobs} blobs ({fetched} fetched now, {}), {left_out} left out, {} failed\n",
        directory.display(),
        bytes(*size),
        failures.len()
    )
}

/// What was loaded.
pub(super) fn loaded(loaded: &Synced) -> String {
    let moves = &loaded.moves;
    format!(
        "{} loaded, {} failed; {} blobs sent, {} mounted, {} were there\n",
        loaded.promoted.len(),
        loaded.failures.len(),
        moves.sent,
        moves.mounted,
        moves.present
    )
}

/// What was found at the destination.
pub(super) fn verified(verified: &Verified, images: usize) -> String {
    let mut text = String::new();
    for fault in &verified.faults {
        let _ = writeln!(text, "{}: {}", fault.image, fault.problem);
    }
    for failure in &verified.failures {
        let _ = writeln!(text, "{failure}");
    }
    let _ = writeln!(
        text,
        "{} of {images} images are as locked; {} manifests and blobs looked at, {} faults",
        verified.sound,
        verified.looked_at,
        verified.faults.len()
    );
    text
}

/// How old the lock is.
pub(super) fn age(age: &Age, images: usize) -> String {
    let days = |seconds: i64| format!("{:.1} days", seconds as f64 / 86400.0);
    let limit = days(i64::try_from(age.limit).unwrap_or(i64::MAX));
    let checked = match (age.seconds, age.stale) {
        (None, true) => {
            "it was never compared with its sources\n  = hint: cargo xtask mirror sync".to_owned()
        }
        (None, false) => "nothing is mirrored".to_owned(),
        (Some(seconds), true) => {
            format!(
                "it was compared {} ago, more than {limit}\n  = hint: cargo xtask mirror sync",
                days(seconds)
            )
        }
        (Some(seconds), false) => format!("it was compared {} ago, of at most {limit}", days(seconds)),
    };
    format!("the lock has {images} images; {checked}\n")
}

/// A size for people, in powers of ten as registries show it.
pub(super) fn bytes(bytes: u64) -> String {
    let units = [("GB", 1_000_000_000.0), ("MB", 1_000_000.0), ("kB", 1_000.0)];
    let found = units.into_iter().find(|(_, factor)| bytes as f64 >= *factor);
    match found {
        Some((unit, factor)) => format!("{:.1} {unit}", bytes as f64 / factor),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use images::Digest;

    use super::*;

    #[test]
    fn a_plan_says_what_each_tag_is_in_for() {
        let digest = |digit: &str| -> Digest { format!("sha256:{}", digit.repeat(64)).parse().unwrap() };
        let step = |tag: &str, action: Action, size: Option<u64>, metered: u32| Step {
            source: "docker.io/library/rust".into(),
            destination: "quay.io/own/rust".into(),
            tag: tag.into(),
            action,
            size,
            metered,
            at_least: false,
        };
        let told = Plan {
            update: true,
            steps: vec![
                step("1.95", Action::Keep, Some(1), 0),
                step("1.96", Action::Add { to: digest("a") }, None, 3),
                step("1.97", Action::Update { from: digest("a"), to: digest("b") }, Some(320_000_000), 3),
                step("1.98", Action::Moved { from: digest("a"), to: digest("b") }, Some(1), 0),
                step("1.99", Action::Restore { to: digest("c"), instead: None }, Some(2_048), 3),
                step("2", Action::Absent, None, 0),
                step("old", Action::Unselected, Some(1), 0),
            ],
        };
        let quota = Quota {
            remaining: 62,
            limit: Some(100),
            window: Some(Duration::from_secs(21600)),
            counted_for: Some("192.0.2.1".into()),
        };
        let forecast = told.forecast(&[("docker.io".to_owned(), quota)].into());
        insta::assert_snapshot!(plan(&told, &forecast), @r#"
        add      quay.io/own/rust:1.96 from docker.io/library/rust, sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        update   quay.io/own/rust:1.97 from sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa to sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb, 320.0 MB
        moved    quay.io/own/rust:1.98 stays sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; docker.io/library/rust has sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb (move it with --update)
        restore  quay.io/own/rust:1.99, which is gone: sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc, 2.0 kB
        absent   quay.io/own/rust:2: docker.io/library/rust does not have the tag its rule names
        unlisted quay.io/own/rust:old stays; no rule takes it any more
        1 unchanged, 3 to do
        docker.io: about 9 metered reads; 62 of 100 are left, in windows of 6 h, counted for 192.0.2.1
        "#);
    }

    #[test]
    fn a_forecast_says_what_is_known() {
        let quota = |limit, window: Option<u64>, counted_for: Option<&str>| Quota {
            remaining: 5,
            limit,
            window: window.map(Duration::from_secs),
            counted_for: counted_for.map(str::to_owned),
        };
        let told = |needed, at_least, quota| {
            forecast(&Forecast { registry: "r.example".into(), needed, at_least, quota })
        };
        let shown = [
            told(3, true, None),
            told(5, false, Some(quota(None, None, None))),
            told(6, true, Some(quota(Some(200), Some(90), Some("somebody")))),
        ];
        insta::assert_snapshot!(shown.join("\n"), @r"
        r.example: at least 3 metered reads; it does not say how many are left
        r.example: about 5 metered reads; 5 are left
        r.example: at least 6 metered reads; 5 of 200 are left, which is not enough, in windows of 90 s, counted for somebody
        ");
    }

    #[test]
    fn the_age_of_a_lock_comes_with_the_command_that_helps() {
        let told = |seconds, stale| age(&Age { checked: None, seconds, limit: 8 * 86400, stale }, 3);
        assert_eq!(
            told(Some(86400), false),
            "the lock has 3 images; it was compared 1.0 days ago, of at most 8.0 days\n"
        );
        assert!(told(Some(864_000), true).contains("hint: cargo xtask mirror sync"));
        assert!(told(None, true).contains("never"));
    }
}
