//! Declarations as they are read, and mistakes in them.

use super::*;

const GOOD: &str = r#"
schedule = "17 4 * * 1"

[defaults]
platforms = ["linux/amd64", "linux/arm64"]
minimum-age = "3d"

[[image]]
source = "docker.io/library/golang"
destination = "quay.io/jordigilh/golang"
tags = ["1.25-bookworm"]

[[image]]
source = "ghcr.io/tektoncd/controller"
destination = "quay.io/jordigilh/tekton-controller"
versions = ">=1.7, <2"
newest = 2
maximum-size = "500MB"
"#;

#[test]
fn defaults_are_filled_in() {
    let mirror = parse("mirror.toml", GOOD).unwrap();
    let [golang, tekton] = mirror.rules.as_slice() else { panic!("{mirror:?}") };
    assert_eq!((golang.line, golang.referrers, golang.maximum_size), (8, true, MAXIMUM_SIZE));
    assert_eq!(golang.minimum_age, Duration::from_secs(3 * 86400));
    assert_eq!((tekton.platforms.len(), tekton.maximum_size), (2, 500_000_000));
    assert_eq!(tekton.source.to_string(), "ghcr.io/tektoncd/controller");
}

#[track_caller]
fn mistake(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    parse("images/mirror.toml", &GOOD.replacen(from, to, 1)).unwrap_err().to_string()
}

#[test]
fn mistakes_are_shown_in_their_line() {
    let shown = [
        mistake(
            "destination = \"quay.io/jordigilh/tekton-controller\"",
            "destination = \"quay.io/jordigilh/golang\"",
        ),
        mistake("docker.io/library/golang", "golang"),
        mistake("docker.io/library/golang", "docker.io/library/golang:1"),
        mistake("tags = [\"1.25-bookworm\"]\n", ""),
        mistake("tags = [\"1.25-bookworm\"]", "tags = [\"1.25-bookworm\"]\nnewest = 2"),
        mistake(">=1.7, <2", "1.7 to 2"),
        mistake("\"3d\"", "\"3 days\""),
        mistake("17 4 * * 1", "weekly"),
        mistake("linux/arm64", "linux/aarch64"),
        mistake("newest = 2", "newst = 2"),
        mistake("newest = 2", "referrers = false\nsignature-key = \"key.pub\""),
    ];
    insta::assert_snapshot!(shown.join("\n\n"), @r#"
    images/mirror.toml:13:1: `quay.io/jordigilh/golang` is the destination of line 8 already
       |
    13 | [[image]]
       | ^^^^^^^^^
       = hint: give each source a destination of its own

    images/mirror.toml:9:10: `golang` is not an image reference: it does not name a registry host
      |
    9 | source = "golang"
      |          ^^^^^^^^
      = hint: write `<registry>/<repository>`

    images/mirror.toml:9:10: a repository has no tag
      |
    9 | source = "docker.io/library/golang:1"
      |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: name tags in `tags`

    images/mirror.toml:8:1: the rule takes no tag
      |
    8 | [[image]]
      | ^^^^^^^^^
      = hint: add `tags`, `globs` or `versions`

    images/mirror.toml:12:10: `newest` has nothing to choose from
       |
    12 | newest = 2
       |          ^
       = hint: add `globs` or `versions`; exact tags are always taken

    images/mirror.toml:16:12: it is not a range of versions: expected comma after minor version number, found 't'
       |
    16 | versions = "1.7 to 2"
       |            ^^^^^^^^^^
       = hint: write ranges as cargo does, as in ">=1.25, <2"

    images/mirror.toml:6:15: `3 days` is not a duration
      |
    6 | minimum-age = "3 days"
      |               ^^^^^^^^
      = hint: write a number and a unit, as in "90s", "30m", "12h" or "3d"

    images/mirror.toml:2:12: it is not a schedule
      |
    2 | schedule = "weekly"
      |            ^^^^^^^^
      = hint: write minute, hour, day, month and weekday, as in "17 4 * * 1"

    images/mirror.toml:5:29: unknown platform `linux/aarch64`, expected one of `linux/amd64`, `linux/arm64`, `linux/arm/v7`, `linux/ppc64le`, `linux/riscv64`, `linux/s390x`
      |
    5 | platforms = ["linux/amd64", "linux/aarch64"]
      |                             ^^^^^^^^^^^^^^^

    images/mirror.toml:17:1: unknown field `newst`, expected one of `source`, `destination`, `tags`, `globs`, `versions`, `suffix`, `newest`, `exclude`, `platforms`, `referrers`, `minimum-age`, `maximum-size`, `signature-key`
       |
    17 | newst = 2
       | ^^^^^
       = hint: did you mean `newest`?

    images/mirror.toml:18:17: signatures are referrers, which this rule leaves out
       |
    18 | signature-key = "key.pub"
       |                 ^^^^^^^^^
       = hint: leave out `referrers = false`
    "#);
}
