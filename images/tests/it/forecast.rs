//! What a run will cost the source, said before it is asked, and why each tag is mirrored or not.

use images::client::Source;
use images::document::{Descriptor, Manifest, Raw};
use images::mirror::{self, Forecast, Plan, Why, examine, why};

use crate::content::{client, manifest, noise, quiet};
use crate::sides::{BOTH, Sides};

/// Tags of the source, each an index of two platforms.
const TAGS: [&str; 5] = ["1.9", "1.10", "1.10-alpine", "2.0", "nightly"];

/// A source with these tags, which says what it counts; `generation` makes them other images.
async fn source() -> Sides {
    let sides = Sides::new().await;
    sides.source_seen.say("ratelimit-limit", "100;w=21600");
    sides.source_seen.say("ratelimit-remaining", "76;w=21600");
    sides.source_seen.say("docker-ratelimit-source", "192.0.2.1");
    publish(&sides, 1).await;
    sides
}

async fn publish(sides: &Sides, generation: u64) {
    for tag in TAGS {
        sides.publish("library/one", tag, BOTH, &[&noise(500, generation)]).await;
    }
}

fn rule(name: &str, rest: &str) -> String {
    format!(
        "[[image]]\nsource = \"SOURCE/library/one\"\ndestination = \"DESTINATION/mirror/{name}\"\n{rest}\n"
    )
}

impl Sides {
    fn forecast(&self, mirror: &mirror::Mirror, plan: &Plan) -> Forecast {
        let forecast = plan.forecast(&mirror::quotas(&self.client, &mirror.rules));
        let [forecast] = forecast.try_into().unwrap();
        forecast
    }

    /// Manifests that were read of the source since it was last asked to forget.
    fn reads(&self) -> u32 {
        let seen = self.source_seen.seen();
        let reads = seen.iter().filter(|seen| seen.method == "GET" && seen.path.contains("/manifests/"));
        u32::try_from(reads.count()).unwrap()
    }
}

/// What is said of a rule's tags before anything was read, of what was measured, and of the next version of what was copied: only the first may
/// be too little.
async fn check(text: &str, tags: usize, at_least: u32, reads: u32) {
    let sides = source().await;
    let mirror = sides.mirror(&rule("one", text));
    let (mut planned, _) = sides.plan(&mirror, &sides.lock(), false).await;
    assert_eq!(planned.writes().count(), tags, "{text}");
    let Forecast { needed, at_least: more, quota, .. } = sides.forecast(&mirror, &planned);
    assert_eq!((needed, more), (at_least, true), "{text}");
    let quota = quota.unwrap();
    assert_eq!(
        (quota.remaining, quota.limit, quota.counted_for.as_deref()),
        (76, Some(100), Some("192.0.2.1"))
    );

    let cache = sides.root.path().join("cache");
    assert!(mirror::measure(&sides.client, &mirror, &mut planned, &cache).await.is_empty());
    let measured = sides.forecast(&mirror, &planned);
    assert_eq!((measured.needed, measured.at_least), (reads, false), "{text}");
    sides.source_seen.forget();
    let copied = sides.run(&mirror, false).await.promoted.len();
    assert_eq!(sides.reads(), reads, "{text}");
    if copied == 0 {
        return;
    }
    publish(&sides, 2).await;
    let (planned, _) = sides.plan(&mirror, &sides.lock(), true).await;
    let again = sides.forecast(&mirror, &planned);
    assert_eq!((again.needed, again.at_least), (reads, false), "{text}");
    sides.source_seen.forget();
    sides.run(&mirror, true).await;
    assert_eq!(sides.reads(), reads, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forecast_is_what_is_read() {
    for (text, tags, at_least, reads) in [
        ("tags = [\"1.9\"]", 1, 2, 3),
        ("globs = [\"1.*\"]", 3, 6, 9),
        ("versions = \">=1.9, <2\"", 2, 4, 6),
        ("versions = \">=1.9\"\nnewest = 1", 1, 2, 3),
        ("versions = \">=1.9\"\nsuffix = \"-alpine\"", 1, 2, 3),
        ("tags = [\"1.9\"]\nplatforms = [\"linux/amd64\"]", 1, 2, 2),
        ("tags = [\"1.9\"]\nplatforms = [\"linux/amd64\", \"linux/arm64\"]", 1, 3, 3),
        // Read to be refused.
        ("tags = [\"1.9\"]\nminimum-age = \"36500d\"", 1, 2, 3),
    ] {
        check(text, tags, at_least, reads).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_and_sboms_count_too() {
    let sides = Sides::new().await;
    let index = sides.publish("library/one", "1.9", BOTH, &[]).await;
    let repository = client().repository(&sides.source.host(), "library/one").unwrap();
    let body = noise(100, 77);
    let blob = Descriptor::new("application/spdx+json", images::Digest::of(&body), 100);
    repository.push_blob(&blob, &Source::Bytes(body), None, &quiet()).await.unwrap();
    let sbom = manifest(&blob, std::slice::from_ref(&blob), Some(index.descriptor()));
    let sbom: Manifest = serde_json::from_slice(&sbom.bytes).unwrap();
    let sbom = Manifest { artifact_type: Some("application/spdx+json".to_owned()), ..sbom };
    repository.put_manifest(&Raw::of(images::document::MANIFEST, &sbom).unwrap(), &[]).await.unwrap();
    let signature = format!("sha256-{}.sig", index.digest.hex());
    repository.put_manifest(&manifest(&blob, &[], None), &[&signature]).await.unwrap();

    for (text, reads) in [("tags = [\"1.9\"]", 5), ("tags = [\"1.9\"]\nreferrers = false", 3)] {
        let name = if reads == 5 { "all" } else { "alone" };
        let mirror = sides.mirror(&rule(name, text));
        let (mut planned, _) = sides.plan(&mirror, &sides.lock(), false).await;
        let cache = sides.root.path().join("cache");
        assert!(mirror::measure(&sides.client, &mirror, &mut planned, &cache).await.is_empty());
        assert_eq!(sides.forecast(&mirror, &planned).needed, reads, "{text}");
        sides.source_seen.forget();
        sides.run(&mirror, false).await;
        assert_eq!(sides.reads(), reads, "{text}");
        let lock = sides.lock();
        let locked = lock.get(&mirror.rules[0].destination, "1.9").unwrap();
        assert_eq!(
            (locked.reads, Some(locked.size)),
            (Some(reads), planned.writes().next().unwrap().size),
            "{text}"
        );
    }
}

/// What is said of tags, a line each: `None` asks about the whole source.
async fn told(sides: &Sides, mirror: &mirror::Mirror, tags: &[Option<&str>]) -> String {
    let (_, observed) = sides.plan(mirror, &sides.lock(), false).await;
    let (root, cache) = (sides.root.path(), sides.root.path().join("cache"));
    let mut lines = Vec::new();
    for tag in tags {
        for mut why in why(&mirror.rules, &sides.lock(), &observed, *tag) {
            if tag.is_some() {
                examine(&sides.client, mirror, root, &cache, &mut why).await.unwrap();
            }
            let Why { destination, tag, taken, why, action, since, objections, .. } = why;
            let action = serde_json::to_value(action).unwrap()["do"].as_str().unwrap_or("nothing").to_owned();
            let (sign, name) = (if taken { '+' } else { '-' }, destination.rsplit('/').next().unwrap());
            let mut line = format!("{sign} {name} {tag}: {why} → {action}");
            line += if since.is_some() { ", copied" } else { "" };
            line += &objections.iter().map(|objection| format!(", but {objection}")).collect::<String>();
            // Rules that have nothing to say about a tag say so in one way.
            let says_something = line != format!("- {name} {tag}: nothing in the rule names it → nothing");
            lines.extend(says_something.then_some(line));
        }
    }
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rule_says_why_it_takes_or_skips_a_tag() {
    let sides = source().await;
    let mirror = sides.mirror(
        &[
            rule("exact", "tags = [\"1.9\", \"gone\"]"),
            rule("globs", "globs = [\"1.*\"]\nexclude = [\"*-alpine\"]"),
            rule("versions", "versions = \">=1.9, <2\""),
            rule("newest", "versions = \">=1.9\"\nnewest = 1"),
            rule("young", "tags = [\"2.0\"]\nminimum-age = \"36500d\""),
            rule("platforms", "tags = [\"2.0\"]\nplatforms = [\"linux/amd64\", \"linux/s390x\"]"),
            rule("large", "tags = [\"2.0\"]\nmaximum-size = \"1kB\"\nreferrers = false"),
        ]
        .concat(),
    );
    let all = [Some("1.9"), Some("1.10-alpine"), Some("2.0"), Some("gone"), Some("1.11")];
    insta::assert_snapshot!(told(&sides, &mirror, &all).await, @r"
    + exact 1.9: it is named in `tags` → add
    + globs 1.9: `globs` has `1.*` → add
    + versions 1.9: it is in `versions` `>=1.9, <2` → add
    - newest 1.9: there are newer ones that `newest` prefers (1) → nothing
    - globs 1.10-alpine: `exclude` has `*-alpine` → nothing
    + newest 2.0: it is in `versions` `>=1.9` → add
    + young 2.0: it is named in `tags` → add, but it was made on 2026-01-01T00:00:00Z and may be taken from 2125-12-08T00:00:00Z
    + platforms 2.0: it is named in `tags` → add, but it lacks linux/s390x; it has linux/amd64, linux/arm64
    + large 2.0: it is named in `tags` → add, but it has 5373 bytes, more than 1000
    + exact gone: it is named in `tags` → absent
    - globs 1.11: the source does not have it → nothing
    - versions 1.11: the source does not have it → nothing
    - newest 1.11: the source does not have it → nothing
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_became_of_a_tag_is_said_as_well() {
    let sides = source().await;
    let text = rule("one", "globs = [\"1.*\"]");
    sides.run(&sides.mirror(&text), false).await;
    sides.publish("library/one", "1.9", BOTH, &[&noise(500, 9)]).await;
    let destination = client().repository(&sides.destination.host(), "mirror/one").unwrap();
    destination.delete_manifest("1.10").await.unwrap();
    let narrower = sides.mirror(&text.replace("1.*", "1.*\"]\nexclude = [\"*-alpine"));
    insta::assert_snapshot!(told(&sides, &narrower, &[None]).await, @r"
    + one 1.10: `globs` has `1.*` → restore, copied
    - one 1.10-alpine: `exclude` has `*-alpine` → unselected, copied
    + one 1.9: `globs` has `1.*` → update, copied
    ");
}
