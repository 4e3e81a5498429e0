//! What a real system had in its tree, judged by the policy of this workspace, which is the one that system had written down and nothing enforced.

use super::*;

/// Two digests, as if of two builds.
const A: &str = "@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn root() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn told(mentions: &[Mention]) -> Vec<String> {
    let findings = super::super::check(&load(root()).unwrap(), mentions, &BTreeSet::new(), date(2026, 1, 10));
    let findings = findings.into_iter().filter(|finding| finding.file != FILE);
    findings.map(|finding| format!("{}:{} {}", finding.file, finding.line, finding.rule.name())).collect()
}

#[track_caller]
fn check(place: Place, image: &str, expected: &str) {
    let mention = Mention { file: "x".to_owned(), line: 1, place, image: Ok(image.to_owned()) };
    let expected: Vec<String> = expected.split_whitespace().map(|rule| format!("x:1 {rule}")).collect();
    assert_eq!(told(&[mention]), expected, "{image}");
}

#[test]
fn every_image_that_was_built_on_is_approved_and_pinned() {
    for image in ["go-toolset:1.26", "go-toolset:10.2", "ubi-minimal:latest"] {
        for digest in [A, B] {
            check(Place::Containerfile, &format!("registry.access.redhat.com/ubi10/{image}{digest}"), "");
        }
        check(Place::Containerfile, &format!("registry.access.redhat.com/ubi10/{image}"), "digest-required");
    }
}

#[test]
fn images_of_tests_and_deployments_came_from_prohibited_registries() {
    for image in [
        "docker.io/library/postgres:16-alpine",
        "docker.io/library/redis:7",
        "docker.io/valkey/valkey:8",
        "docker.io/envoyproxy/envoy:v1.37",
        "ghcr.io/dexidp/dex:latest",
        "ghcr.io/resmoio/kubernetes-event-exporter:latest",
        "ghcr.io/containers/kubernetes-mcp-server:latest",
        "ghcr.io/kukymbr/goose-docker:3.26",
        "quay.io/ansible/awx-ee:latest",
        "quay.io/centos/centos:stream9",
        "docker.io/prom/prometheus:latest",
        "prom/alertmanager:latest",
        "pgvector/pgvector:latest",
    ] {
        check(Place::Manifest, image, "prohibited-registry");
        // A digest does not make it approved.
        check(Place::Manifest, &format!("{image}{A}"), "prohibited-registry");
    }
    check(Place::Manifest, "registry.k8s.io/pause:3.9", "unapproved-registry");
}

#[test]
fn a_mirrored_image_is_approved_and_needs_its_digest() {
    check(Place::Manifest, "quay.io/jordigilh/redis:7-alpine", "digest-required");
    check(Place::Manifest, &format!("quay.io/jordigilh/redis:7-alpine{A}"), "");
    // The weekly refresh would have changed the compiler without anybody noticing.
    check(Place::Containerfile, "quay.io/jordigilh/golang:1.25-bookworm", "digest-required");
    check(Place::Containerfile, &format!("quay.io/jordigilh/golang:1.25-bookworm{A}"), "");
}

#[test]
fn what_other_rules_of_the_house_recommended_is_prohibited_all_the_same() {
    for image in
        ["alpine", "alpine:3.19", "gcr.io/distroless/static:nonroot", "docker.io/library/golang:1.25"]
    {
        check(Place::Containerfile, image, "prohibited-registry");
    }
}

#[test]
fn two_versions_of_one_builder_and_two_digests_of_one_base_are_told() {
    let from = |file: &str, images: &[&str]| {
        let text: String =
            images.iter().map(|image| format!("FROM registry.access.redhat.com/ubi10/{image}\n")).collect();
        containerfile::mentions(file, &text)
    };
    let builder = format!("go-toolset:1.26{A}");
    let base = format!("ubi-minimal:latest{A}");
    let tree = [
        from("docker/gateway.Dockerfile", &[&builder, &base]),
        from("docker/storage.Dockerfile", &[&builder, &format!("ubi-minimal:latest{B}")]),
        from("docker/apifrontend.Dockerfile", &[&format!("go-toolset:10.2{B}"), &base]),
        from(
            "docker/db-migrate.Dockerfile",
            &[&format!("go-toolset:10.2{B}"), &format!("ubi-minimal:latest{B}")],
        ),
    ];
    let expected = [
        "docker/storage.Dockerfile:2 diverging-versions",
        "docker/apifrontend.Dockerfile:1 diverging-versions",
    ];
    assert_eq!(told(&tree.concat()), expected);
}

#[test]
fn a_builder_that_lets_go_fetch_another_compiler_is_refused() {
    let builder = format!("FROM registry.access.redhat.com/ubi10/go-toolset:1.26{A} AS builder\n");
    for (line, expected) in [
        ("ENV GOTOOLCHAIN=auto", &["x:2 fetched-compiler"][..]),
        ("ENV GOTOOLCHAIN auto", &["x:2 fetched-compiler"]),
        ("RUN GOTOOLCHAIN=go1.26.3 go build", &["x:2 fetched-compiler"]),
        ("ENV GOTOOLCHAIN=local", &[]),
        ("RUN go build", &[]),
    ] {
        assert_eq!(told(&containerfile::mentions("x", &format!("{builder}{line}\n"))), expected, "{line}");
    }
}

/// It names no image: who compiles what is released is said by the provenance of an image, not by this check.
#[test]
fn a_compiler_of_the_machine_a_workflow_runs_on_is_no_image() {
    let workflow = "jobs:\n  arm64:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/setup-go@v5\n      - run: go build\n";
    assert_eq!(yaml::mentions("x", workflow, Place::Workflow), []);
}

/// The one exception there was: approved by who asked for it, for a tag, without an end.
#[test]
fn the_exception_as_it_was_granted_is_refused_line_by_line() {
    let granted = |image: &str, approver: &str, expires: &str| {
        let text = format!(
            "[[tier]]\nname = \"vendor\"\nregistries = [\"registry.access.redhat.com\"]\n[[exception]]\nimage = \"{image}\"\nscope = [\"docker/controller.Dockerfile\"]\nowner = \"jordigilh\"\napprover = \"{approver}\"\nreason = \"no toolset runs on arm64\"\n{expires}review = 2026-02-09\n"
        );
        parse(FILE, &text)
    };
    let tag = "quay.io/elsewhere/golang:1.25-bookworm";
    let pinned = format!("{tag}{A}");
    let told = |result: Result<Policy, PolicyError>| result.unwrap_err().to_string();
    let end = "expires = 2026-03-09\n";
    assert!(told(granted(&pinned, "jordigilh", end)).contains("cannot approve an exception of their own"));
    assert!(told(granted(tag, "somebody else", end)).contains("an exception is for one digest"));
    assert!(told(granted(&pinned, "somebody else", "")).contains("missing field `expires`"));
    let policy = granted(&pinned, "somebody else", end).unwrap();
    // Granted to one controller, it does not reach the webhooks.
    for (file, expected) in [("docker/controller.Dockerfile", 0), ("docker/webhooks.Dockerfile", 1)] {
        let mention = Mention {
            file: file.to_owned(),
            line: 1,
            place: Place::Containerfile,
            image: Ok(pinned.clone()),
        };
        let findings = super::super::check(&policy, &[mention], &BTreeSet::new(), date(2026, 1, 10));
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        assert_eq!(errors, expected, "{file}: {findings:#?}");
    }
}
