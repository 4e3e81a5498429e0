//! Policies as they are read, and judgements on the references a real system had.

use std::collections::BTreeSet;

use jiff::civil::date;

use super::*;

mod vectors;

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn policy_text() -> String {
    format!(
        r#"
digest-required = ["node-image"]

[[tier]]
name = "vendor"
registries = ["registry.access.redhat.com"]

[[tier]]
name = "own"
registries = ["quay.io/jordigilh/*"]

[[prohibited]]
registries = ["docker.io", "ghcr.io", "quay.io"]
reason = "its pulls are limited"
instead = "mirror it to `quay.io/jordigilh/`"

[[exception]]
image = "docker.io/library/golang:1.25-bookworm@{DIGEST}"
scope = ["docker/*.Dockerfile"]
owner = "one"
approver = "two"
reason = "no toolset runs"
expires = 2026-02-09
review = 2026-01-20
"#
    )
}

fn policy() -> Policy {
    parse("images/registries.toml", &policy_text()).unwrap()
}

#[track_caller]
fn check(place: Place, file: &str, image: &str, expected: &[&str]) {
    let mention = Mention { file: file.to_owned(), line: 3, place, image: Ok(image.to_owned()) };
    let own = BTreeSet::from(["app".to_owned()]);
    let findings = super::check(&policy(), &[mention], &own, date(2026, 1, 10));
    let found: Vec<&str> =
        findings.iter().filter(|finding| finding.file != FILE).map(|finding| finding.rule.name()).collect();
    assert_eq!(found, expected, "{image}: {findings:#?}");
}

#[test]
fn registries_are_judged_by_the_most_specific_pattern() {
    let file = "docker/app.Dockerfile";
    for (image, expected) in [
        ("registry.access.redhat.com/ubi10/go-toolset:1.26", &[][..]),
        ("quay.io/jordigilh/golang:1.25-bookworm", &[]),
        ("quay.io/ansible/awx", &["prohibited-registry"]),
        ("quay.io/centos/centos:stream9", &["prohibited-registry"]),
        ("docker.io/library/redis:7", &["prohibited-registry"]),
        ("postgres:16-alpine", &["prohibited-registry"]),
        ("ghcr.io/dexidp/dex:latest", &["prohibited-registry"]),
        ("registry.k8s.io/pause:3.9", &["unapproved-registry"]),
        ("Not An Image", &["malformed-reference"]),
    ] {
        check(Place::Containerfile, file, image, expected);
    }
}

#[test]
fn an_exception_is_for_a_digest_and_for_files() {
    let pinned = format!("docker.io/library/golang:1.25-bookworm@{DIGEST}");
    let shorter = format!("golang@{DIGEST}");
    check(Place::Containerfile, "docker/app.Dockerfile", &pinned, &[]);
    check(Place::Containerfile, "other/app.Dockerfile", &pinned, &["prohibited-registry"]);
    check(Place::Containerfile, "docker/app.Dockerfile", "golang:1.25-bookworm", &["prohibited-registry"]);
    check(Place::Containerfile, "docker/app.Dockerfile", &shorter, &["short-name"]);
}

/// What a real system had, file by file, and what is to be said about it.
#[test]
fn a_real_tree_is_read_in_every_corner() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let ubi = format!("registry.access.redhat.com/ubi10/go-toolset:1.26@{DIGEST}");
    write(
        "docker/app.Dockerfile",
        &format!(
            "ARG BUILDER={ubi}\nFROM --platform=$BUILDPLATFORM ${{BUILDER}} AS builder\nARG GOARCH=amd64\nFROM registry.access.redhat.com/ubi10/ubi-minimal@{DIGEST}\nCOPY --from=builder /app /app\n"
        ),
    );
    write(
        "docker/webhooks.Dockerfile",
        &format!("FROM docker.io/library/golang:1.25-bookworm@{DIGEST} AS builder\nFROM builder\n"),
    );
    write("cmd/must-gather/Dockerfile", "FROM registry.access.redhat.com/ubi10:10.2\n");
    write("test/services/mock-llm/go.Dockerfile", &format!("ENV GOTOOLCHAIN=auto\nFROM {ubi}\n"));
    write("test/services/other/Dockerfile", "ARG GO_VERSION\nFROM golang:${GO_VERSION}\nFROM alpine\n");
    write(
        "test/integration/podman-compose.test.yml",
        "services:\n  db:\n    image: docker.io/library/postgres:16-alpine\n  cache:\n    image: quay.io/jordigilh/redis:7-alpine\n  proxy: {image: docker.io/envoyproxy/envoy:v1.37}\n  queue:\n    image: valkey/valkey:8\n",
    );
    write(
        "deploy/stack.yaml",
        "containers:\n  - image: ghcr.io/dexidp/dex:latest\n  - image: ghcr.io/resmoio/kubernetes-event-exporter:latest\n  - image: registry.k8s.io/pause:3.9\n  - image: quay.io/ansible/awx:24\n  - image: quay.io/centos/centos:stream9\n",
    );
    write(
        "deploy/cr.yaml",
        "kind: Recipe\nspec:\n  workflowRef:\n    containerImage: ghcr.io/containers/kubernetes-mcp-server:latest\n    executionBundle: quay.io/kubernaut-cicd/bundle:v1\n",
    );
    write(
        "test/kind.yaml",
        "apiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n  - role: control-plane\n    image: kindest/node:v1.36.1\n",
    );
    write(".github/workflows/ci.yml", "jobs:\n  a:\n    services:\n      db:\n        image: postgres:16\n");
    write("images/images.toml", &format!("[image.a]\nbase = \"gcr.io/distroless/static@{DIGEST}\"\n"));
    let mentions = collect(root.path()).unwrap();
    let findings = super::check(&policy(), &mentions, &BTreeSet::new(), date(2026, 1, 10));
    let told: Vec<String> = findings
        .iter()
        .map(|found| format!("{}:{} {} `{}`", found.file, found.line, found.rule.name(), found.image))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    .github/workflows/ci.yml:5 prohibited-registry `postgres:16`
    deploy/cr.yaml:4 prohibited-registry `ghcr.io/containers/kubernetes-mcp-server:latest`
    deploy/cr.yaml:5 prohibited-registry `quay.io/kubernaut-cicd/bundle:v1`
    deploy/stack.yaml:2 prohibited-registry `ghcr.io/dexidp/dex:latest`
    deploy/stack.yaml:3 prohibited-registry `ghcr.io/resmoio/kubernetes-event-exporter:latest`
    deploy/stack.yaml:4 unapproved-registry `registry.k8s.io/pause:3.9`
    deploy/stack.yaml:5 prohibited-registry `quay.io/ansible/awx:24`
    deploy/stack.yaml:6 prohibited-registry `quay.io/centos/centos:stream9`
    images/images.toml:2 unapproved-registry `gcr.io/distroless/static@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`
    test/integration/podman-compose.test.yml:3 prohibited-registry `docker.io/library/postgres:16-alpine`
    test/integration/podman-compose.test.yml:6 prohibited-registry `docker.io/envoyproxy/envoy:v1.37`
    test/integration/podman-compose.test.yml:8 prohibited-registry `valkey/valkey:8`
    test/kind.yaml:4 prohibited-registry `kindest/node:v1.36.1`
    test/services/mock-llm/go.Dockerfile:1 fetched-compiler `GOTOOLCHAIN=auto`
    test/services/other/Dockerfile:2 unresolved-argument ``
    test/services/other/Dockerfile:3 prohibited-registry `alpine`
    "#);
    // Everything else is as it should be.
    assert_eq!(mentions.len(), told.len() + 6);
}

#[test]
fn places_can_need_a_digest() {
    check(Place::NodeImage, "cluster.yaml", "quay.io/jordigilh/node:v1.36.1", &["digest-required"]);
    check(Place::NodeImage, "cluster.yaml", &format!("quay.io/jordigilh/node@{DIGEST}"), &[]);
}

#[test]
fn what_the_workspace_builds_needs_no_registry_in_a_manifest() {
    check(Place::Manifest, "manifests/app.yaml", "app", &[]);
    check(Place::Containerfile, "Containerfile", "app", &["prohibited-registry"]);
}

#[test]
fn an_exception_warns_before_its_end_and_fails_after_it() {
    let image = format!("docker.io/library/golang@{DIGEST}");
    let mention = Mention {
        file: "docker/app.Dockerfile".to_owned(),
        line: 1,
        place: Place::Containerfile,
        image: Ok(image),
    };
    let on = |year, month, day| {
        let findings =
            super::check(&policy(), std::slice::from_ref(&mention), &BTreeSet::new(), date(year, month, day));
        findings.iter().map(|finding| (finding.rule.name(), finding.severity)).collect::<Vec<_>>()
    };
    assert_eq!(on(2026, 1, 10), []);
    assert_eq!(on(2026, 1, 21), [("exception-review-overdue", Severity::Warning)]);
    assert_eq!(on(2026, 1, 26), [("exception-expires-soon", Severity::Warning)]);
    assert_eq!(on(2026, 2, 9), [("exception-expires-soon", Severity::Warning)]);
    assert_eq!(on(2026, 2, 10), [("exception-expired", Severity::Error)]);
}

#[test]
fn an_exception_nobody_needs_is_said() {
    let findings = super::check(&policy(), &[], &BTreeSet::new(), date(2026, 1, 10));
    insta::assert_snapshot!(findings[0].to_string(), @r#"
    images/registries.toml:17: warning[exception-unused]: nothing uses the exception for `docker.io/library/golang:1.25-bookworm@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`
      = hint: remove it
    "#);
}

#[test]
fn findings_say_where_and_what_helps() {
    let mention = |image: &str| Mention {
        file: "test/compose.yaml".to_owned(),
        line: 7,
        place: Place::Manifest,
        image: Ok(image.to_owned()),
    };
    let mentions = ["redis:7", "registry.k8s.io/pause:3.9", "golang:1"].map(mention);
    let findings = super::check(&policy(), &mentions, &BTreeSet::new(), date(2026, 1, 10));
    let text: Vec<String> = findings.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(text.join("\n"), @r#"
    test/compose.yaml:7: error[prohibited-registry]: `redis:7` is from a prohibited registry: its pulls are limited
      = hint: mirror it to `quay.io/jordigilh/`
    test/compose.yaml:7: error[unapproved-registry]: `registry.k8s.io` is not an approved registry
      = hint: use `registry.access.redhat.com`, `quay.io/jordigilh/*`, mirror it there, or add an exception to images/registries.toml
    test/compose.yaml:7: error[prohibited-registry]: `golang:1` is from a prohibited registry: its pulls are limited
      = hint: the exception at images/registries.toml:17 is for `docker.io/library/golang:1.25-bookworm@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` in docker/*.Dockerfile
    images/registries.toml:17: warning[exception-unused]: nothing uses the exception for `docker.io/library/golang:1.25-bookworm@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`
      = hint: remove it
    "#);
    let log = sarif(&findings);
    assert_eq!(log["runs"][0]["results"][1]["ruleId"], "unapproved-registry");
    assert_eq!(log["runs"][0]["results"][1]["locations"][0]["physicalLocation"]["region"]["startLine"], 7);
}

#[track_caller]
fn mistake(from: &str, to: &str) -> String {
    let text = policy_text();
    assert!(text.contains(from), "{from}");
    parse("images/registries.toml", &text.replacen(from, to, 1)).unwrap_err().to_string()
}

#[test]
fn mistakes_are_shown_in_their_line() {
    let shown = [
        mistake("approver = \"two\"", "approver = \"One\""),
        mistake(&format!("@{DIGEST}"), ""),
        mistake("expires = 2026-02-09", "expires = \"2026-02-09\""),
        mistake("review = 2026-01-20", "review = 2026-03-20"),
        mistake("review = 2026-01-20", ""),
        mistake("[\"docker/*.Dockerfile\"]", "[]"),
        mistake("\"registry.access.redhat.com\"", "\"*.redhat.com\""),
        mistake("digest-required = [\"node-image\"]", "digest-required = [\"node\"]"),
    ];
    insta::assert_snapshot!(shown.join("\n\n"), @r#"
    images/registries.toml:21:12: `one` cannot approve an exception of their own
       |
    21 | approver = "One"
       |            ^^^^^
       = hint: ask somebody else

    images/registries.toml:18:9: an exception is for one digest
       |
    18 | image = "docker.io/library/golang:1.25-bookworm"
       |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       = hint: write `<registry>/<repository>@sha256:<digest>`; a tag could become another image

    images/registries.toml:23:11: invalid type: string "2026-02-09", expected a TOML datetime
       |
    23 | expires = "2026-02-09"
       |           ^^^^^^^^^^^^

    images/registries.toml:24:10: the review is after the end
       |
    24 | review = 2026-03-20
       |          ^^^^^^^^^^
       = hint: the review decides whether it is prolonged

    images/registries.toml:17:1: missing field `review`
       |
    17 | [[exception]]
       | ^^^^^^^^^^^^^

    images/registries.toml:19:9: an exception is for some files
       |
    19 | scope = []
       |         ^^
       = hint: name the files it is for, as in ["images/*.Containerfile"]

    images/registries.toml:6:15: `*.redhat.com` is neither `<host>`, `<host>/<path>/*` nor `<host>/<repository>`
      |
    6 | registries = ["*.redhat.com"]
      |               ^^^^^^^^^^^^^^

    images/registries.toml:2:20: unknown variant `node`, expected one of `containerfile`, `compiler`, `manifest`, `node-image`, `workflow`, `recipe`, `mirror`
      |
    2 | digest-required = ["node"]
      |                    ^^^^^^
    "#);
}

#[test]
fn the_workspace_obeys_its_policy() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let policy = load(root).unwrap();
    let own = crate::recipe::load(root).unwrap().names().map(str::to_owned).collect();
    // Dates are the job of the check itself, which runs today; this test must not begin to fail by itself.
    let findings = super::check(&policy, &collect(root).unwrap(), &own, date(2026, 1, 1));
    let errors: Vec<String> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(ToString::to_string)
        .collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}
