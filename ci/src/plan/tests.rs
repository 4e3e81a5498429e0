use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use images::{Platform, recipe};
use manifests::{Component, Readiness};

use super::*;
use crate::facts::Commit;

const PIPELINE: &str = r#"
description = "Serve tea"
deadline = "20m"
[images]
[cluster]
provider = "auto"
declaration = "cluster.yaml"
deadline = "1m"
[deploy]
[[tier]]
name = "build"
kind = "compile"
deadline = "10m"
[[tier]]
name = "unit"
kind = "tests"
tests = ["lib", "bin"]
needs = ["build"]
deadline = "90s"
[[tier]]
name = "e2e-code"
kind = "compiles"
tests = ["scenarios"]
needs = ["build"]
[[tier]]
name = "architecture"
kind = "architecture"
needs = ["build"]
[[tier]]
name = "e2e-runtime"
kind = "tests"
tests = ["scenarios"]
needs = ["unit", "e2e-code", "architecture"]
threshold = 90
cluster = true
environment = { CUP = "{image:cup}" }
skip-without = { pot = ["pouring::"] }
[[tier]]
name = "requirements"
kind = "requirements"
needs = ["unit", "e2e-runtime"]
"#;

const RECIPES: &str = r#"
[defaults]
user = "1:1"
platforms = ["linux/amd64", "linux/arm64", "linux/s390x"]
[image.cup]
package = "cup"
[image.kettle]
package = "kettle"
"#;

fn component(name: &str, needs: &[&str]) -> Component {
    Component {
        name: name.to_owned(),
        folder: name.into(),
        needs: needs.iter().map(|need| (*need).to_owned()).collect(),
        deadline: Duration::from_secs(90),
        readiness: Readiness::Endpoints,
        provides: Vec::new(),
        restarts: 2,
        objects: Vec::new(),
        admission_probe: None,
    }
}

fn declaration(pipeline: &str) -> Declaration {
    let cluster = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nname: tea\nnodes: [{role: control-plane}, {role: worker}]\n";
    Declaration {
        spec: spec::parse("tea", Path::new("tea.toml"), pipeline).unwrap(),
        recipes: Some(recipe::parse("images.toml", RECIPES).unwrap()),
        cluster: Some(ClusterSpec::parse(Path::new("cluster.yaml"), cluster).unwrap()),
        components: Some(Components::from_parts(vec![
            component("kettle", &[]),
            component("pot", &["kettle"]),
            component("table", &["pot", "kettle"]),
        ])),
        requirements: None,
        provenance: None,
        lock: Lock::empty(),
    }
}

fn facts() -> Facts {
    Facts {
        commit: Some(Commit { id: "0123456789ab".to_owned(), changed: true }),
        platform: Platform::host(),
        cores: 2,
        source_date_epoch: 0,
        toolchains: images::toolchain::Facts {
            host: Platform::host(),
            directory: "/w/target/slipway/cache/toolchains".into(),
            cargo_home: "/home/me/.cargo".into(),
            compiler: None,
            built_libraries: Default::default(),
            can_fetch_sources: false,
            zig: None,
            can_install_zig: false,
        },
        cluster: kind::Facts {
            container_engine: None,
            kind_installed: false,
            linux: true,
            root: true,
            user_namespaces: true,
            kubeconfig: Some("/home/me/.kube/config".into()),
        },
        absent: BTreeSet::new(),
    }
}

/// The plan as people see it, or why there is none.
fn planned(pipeline: &str, request: Request) -> String {
    planned_where(&facts(), pipeline, request)
}

fn planned_where(facts: &Facts, pipeline: &str, request: Request) -> String {
    let request = Request { root: "/w".into(), home: "/w/target/slipway".into(), ..request };
    let text = match plan(&declaration(pipeline), facts, &request) {
        Ok(plan) => plan.to_string(),
        Err(error) => format!("error: {error}\n  = hint: {}", error.hint().unwrap_or_default()),
    };
    let host = Platform::host().to_string();
    text.replace(&host, "linux/HOST").replace(&images::platform::host_triple(), "HOST-TRIPLE")
}

#[test]
fn everything_that_is_declared() {
    insta::assert_snapshot!(planned(PIPELINE, Request::default()));
}

#[test]
fn without_tiers_on_the_cluster_there_is_no_cluster() {
    let before_cluster = PIPELINE.split("[[tier]]\nname = \"e2e-runtime\"").next().unwrap();
    insta::assert_snapshot!(planned(before_cluster, Request::default()));
}

#[test]
fn what_is_left_out_is_written_down() {
    let without = Request { without: vec!["pot".to_owned()], keep: true, ..Request::default() };
    let tier = Request { tiers: vec!["unit".to_owned()], ..Request::default() };
    let from = Request { from: Some(Stage::Deploy), ..Request::default() };
    let shown = [without, tier, from].map(|request| planned(PIPELINE, request));
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_tier_whose_program_is_absent_is_skipped_with_all_that_need_it_and_refused_when_it_is_asked_for() {
    let pipeline = format!(
        "{}[[tier]]\nname = \"water\"\nkind = \"tests\"\ntests = [\"water\"]\nneeds-programs = {{ boil = {{ install = \"get boil\" }} }}\n\
         [[tier]]\nname = \"taste\"\nkind = \"tests\"\ntests = [\"taste\"]\nneeds = [\"water\"]\n",
        PIPELINE.split("[[tier]]\nname = \"e2e-code\"").next().unwrap()
    );
    let absent = declaration(&pipeline).spec.tiers.iter().flat_map(|tier| tier.programs.clone()).collect();
    let lacking = Facts { absent, ..facts() };
    let asked = Request { tiers: vec!["water".to_owned()], ..Request::default() };
    let shown = [
        planned(&pipeline, Request::default()),
        planned_where(&lacking, &pipeline, Request::default()),
        planned_where(&lacking, &pipeline, asked),
    ];
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn images_of_others_are_pulled_from_their_copies() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let lock = format!(
        "version = 1\n[[image]]\nsource = \"docker.io/kindest/node\"\ndestination = \"quay.io/own/node\"\ntag = \"v1\"\ndigest = \"{digest}\"\nmedia-type = \"x\"\nsize = 1\nsince = \"2026-01-01T00:00:00Z\"\n"
    );
    let cluster = "kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes:\n  - image: kindest/node:v1\n";
    let declaration = Declaration {
        lock: Lock::parse(&lock).unwrap(),
        cluster: Some(ClusterSpec::parse(Path::new("cluster.yaml"), cluster).unwrap()),
        ..declaration(PIPELINE)
    };
    let request = Request { root: "/w".into(), home: "/w/target/slipway".into(), ..Request::default() };
    let plan = plan(&declaration, &facts(), &request).unwrap();
    let copy = format!("quay.io/own/node:v1@{digest}");
    assert!(plan.to_string().contains(&format!("  kindest/node:v1 is pulled from {copy}\n")), "{plan}");
    let cluster = plan.cluster.unwrap();
    assert_eq!(cluster.spec.nodes[0].image.as_ref(), Some(&copy));
    assert!(cluster.spec.text.ends_with(&format!("  - image: {copy}\n")), "{}", cluster.spec.text);
}

#[test]
fn what_cannot_be_done_is_refused_with_a_hint() {
    let refused = [
        planned(PIPELINE, Request { without: vec!["pots".to_owned()], ..Request::default() }),
        planned(PIPELINE, Request { tiers: vec!["e2e-runtme".to_owned()], ..Request::default() }),
        planned(
            PIPELINE,
            Request { tiers: vec!["unit".to_owned()], from: Some(Stage::Deploy), ..Request::default() },
        ),
        planned(PIPELINE, Request { provider: Some(Provider::Kind), ..Request::default() }),
        planned(PIPELINE, Request { provider: Some(Provider::Existing(None)), ..Request::default() }),
        planned(&PIPELINE.replace("{image:cup}", "{image:cap}"), Request::default()),
    ];
    insta::assert_snapshot!(refused.join("\n"));
}
