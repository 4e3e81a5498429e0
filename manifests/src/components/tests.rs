use std::fs;

use super::*;

/// A workspace with the given files below `manifests/`; a folder's kustomization lists its YAML files unless it is given.
struct Workspace(tempfile::TempDir);

impl Workspace {
    fn new(components: &str, files: &[(&str, &str)]) -> Workspace {
        let workspace = Workspace(tempfile::tempdir().unwrap());
        workspace.write("components.toml", components);
        for (file, text) in files {
            workspace.write(file, text);
        }
        workspace
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.path().join("manifests").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn load(&self) -> Result<Components, LoadError> {
        Components::load(self.0.path())
    }

    fn mistake(&self) -> String {
        self.load().unwrap_err().to_string()
    }
}

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: default}\n";
const LISTS_MAP: &str = "resources:\n  - map.yaml\n";

fn two(components: &str) -> Workspace {
    Workspace::new(
        components,
        &[
            ("kustomization.yaml", "resources:\n  - web\n  - base\n"),
            ("web/kustomization.yaml", "resources: []\n"),
            ("base/kustomization.yaml", LISTS_MAP),
            ("base/map.yaml", MAP),
        ],
    )
}

#[test]
fn components_come_in_dependency_order_with_their_settings() {
    let workspace = two(
        "[component.web]\nneeds = [\"base\"]\ndeadline = \"90s\"\nreadiness = \"endpoints\"\n[component.base]\n",
    );
    let components = workspace.load().unwrap();
    assert_eq!(components.names(), ["base", "web"]);
    let web = components.get("web").unwrap();
    assert_eq!(
        (web.deadline, web.readiness, web.restarts),
        (Duration::from_secs(90), Readiness::Endpoints, 2)
    );
    assert_eq!(components.get("base").unwrap().objects[0].place(), "manifests/base/map.yaml:1");
}

#[test]
fn mistakes_in_the_declaration_show_file_line_and_caret() {
    insta::assert_snapshot!(two("[component.web]\nneed = [\"base\"]\n").mistake(), @r#"
    manifests/components.toml:2:1: unknown field `need`, expected one of `folder`, `needs`, `deadline`, `readiness`, `provides`, `admission-probe`, `restarts`
      |
    2 | need = ["base"]
      | ^^^^
      = hint: did you mean `needs`?
    "#);
    insta::assert_snapshot!(two("[component.web]\nneeds = [\"bse\"]\n[component.base]\n").mistake(), @r#"
    manifests/components.toml:2:10: component `web` needs `bse`, which is not declared
      |
    2 | needs = ["bse"]
      |          ^^^^^
      = hint: did you mean `base`?
    "#);
    insta::assert_snapshot!(two("[component.web]\ndeadline = \"soon\"\n").mistake(), @r#"
    manifests/components.toml:2:12: `soon` is not a duration
      |
    2 | deadline = "soon"
      |            ^^^^^^
      = hint: write seconds or minutes, as in "90s" or "2m"
    "#);
    insta::assert_snapshot!(two("[component.web]\nreadiness = \"endpoint\"\n").mistake(), @r#"
    manifests/components.toml:2:13: unknown variant `endpoint`, expected one of `objects`, `endpoints`, `admission`
      |
    2 | readiness = "endpoint"
      |             ^^^^^^^^^^
      = hint: did you mean `endpoints`?
    "#);
    insta::assert_snapshot!(two("[component.web]\nprovides = [\"web-tls\"]\n").mistake(), @r#"
    manifests/components.toml:2:13: `web-tls` does not name an object
      |
    2 | provides = ["web-tls"]
      |             ^^^^^^^^^
      = hint: write `Kind/name`, as in "Secret/web-tls"
    "#);
    insta::assert_snapshot!(two("[component.web\n").mistake(), @r#"
    manifests/components.toml:1:15: unclosed table, expected `]`
      |
    1 | [component.web
      |               ^
    "#);
}

#[test]
fn a_cycle_is_named_at_the_need_that_closes_it() {
    let text = "[component.web]\nneeds = [\"base\"]\n[component.base]\nneeds = [\"web\"]\n";
    insta::assert_snapshot!(two(text).mistake(), @r#"
    manifests/components.toml:4:10: these components need each other: web → base → web
      |
    4 | needs = ["web"]
      |          ^^^^^
      = hint: remove one of these `needs`
    "#);
}

#[test]
fn what_kubectl_would_deploy_differently_is_refused() {
    let both = "[component.web]\n[component.base]\n";
    let workspace = two(both);
    workspace.write("base/forgotten.yaml", MAP);
    insta::assert_snapshot!(workspace.mistake(), @r#"
    manifests/base/kustomization.yaml: `forgotten.yaml` lies in the folder and is not listed, so nobody would deploy it
      = hint: add `- forgotten.yaml` to `resources`
    "#);
    let workspace = two(both);
    workspace.write("base/kustomization.yaml", "resources:\n  - mp.yaml\n");
    insta::assert_snapshot!(workspace.mistake(), @r#"
    manifests/base/kustomization.yaml:2:5: `mp.yaml` is not a YAML file of manifests/base
      |
    2 |   - mp.yaml
      |     ^^^^^^^
      = hint: did you mean `map.yaml`?
    "#);
    let workspace = two(both);
    workspace.write("base/kustomization.yaml", "resources:\n  - map.yaml\nnamePrefix: x-\n");
    insta::assert_snapshot!(workspace.mistake(), @r#"
    manifests/base/kustomization.yaml:3:1: unknown field `namePrefix`, expected one of apiVersion, kind, resources
      |
    3 | namePrefix: x-
      | ^^^^^^^^^^
      = hint: only `resources` is read: the files are complete; what changes them is an option, in manifests/options
    "#);
    insta::assert_snapshot!(two("[component.base]\n").mistake(), @r#"
    manifests/kustomization.yaml:2:5: `web` is not a component's folder
      |
    2 |   - web
      |     ^^^
      = hint: declare it in components.toml, or remove the line
    "#);
    let workspace = two(both);
    workspace.write("kustomization.yaml", "resources:\n  - web\n");
    insta::assert_snapshot!(workspace.mistake(), @r#"
    manifests/kustomization.yaml: component `base` is not listed, so `kubectl apply -k` would leave it out
      = hint: add `- base` to `resources`
    "#);
}

#[test]
fn an_object_declared_twice_is_refused_even_across_components() {
    let workspace = two("[component.web]\n[component.base]\n");
    workspace.write("web/kustomization.yaml", LISTS_MAP);
    workspace.write("web/map.yaml", &format!("---\n# again\n{MAP}"));
    insta::assert_snapshot!(workspace.mistake(), @r#"
    manifests/base/map.yaml:1:1: ConfigMap default/a is declared twice, first at manifests/web/map.yaml:3
      |
    1 | apiVersion: v1
      | ^
      = hint: keep one of the two documents
    "#);
}

#[test]
fn a_probe_is_not_an_object_of_the_component() {
    let workspace = two("[component.web]\nadmission-probe = \"probe.yaml\"\n[component.base]\n");
    workspace.write("web/probe.yaml", &MAP.replace("name: a", "name: probe"));
    let components = workspace.load().unwrap();
    let web = components.get("web").unwrap();
    assert_eq!((web.objects.len(), web.admission_probe.as_ref().map(Object::name)), (0, Some("probe")));
}
