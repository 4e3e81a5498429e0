use std::fs;

use serde_json::json;

use super::*;

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: default}\nspec: {args: [--plain]}\n";
const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: tls, namespace: default}\n";

/// What the option `tls` of a component with one Deployment comes to.
fn with_option(kustomization: &str) -> Result<Components, String> {
    let root = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("components.toml", "[component.web]\n"),
        ("kustomization.yaml", "resources: [web]\n"),
        ("web/kustomization.yaml", "resources: [web.yaml]\n"),
        ("web/web.yaml", DEPLOYMENT),
        ("options/tls/kustomization.yaml", kustomization),
        ("options/tls/map.yaml", MAP),
    ] {
        let path = root.path().join("manifests").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let components = Components::load(root.path()).map_err(|error| error.to_string())?;
    components.with_option(root.path(), "tls").map_err(|error| error.to_string())
}

fn patched(name: &str, patch: &str) -> String {
    let indented: String = patch.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "resources:\n  - ../../web\n  - map.yaml\npatches:\n  - target: {{kind: Deployment, name: {name}}}\n    patch: |\n{indented}"
    )
}

#[test]
fn an_option_adds_objects_to_a_component_and_patches_those_it_has() {
    let patch =
        "- {op: add, path: /spec/args/-, value: --tls}\n- {op: test, path: /spec/args/0, value: --plain}";
    let components = with_option(&patched("web", patch)).unwrap();
    let web = components.get("web").unwrap();
    let kinds: Vec<&str> = web.objects.iter().map(|object| object.kind()).collect();
    assert_eq!(kinds, ["Deployment", "ConfigMap"]);
    assert_eq!(web.objects[0].value["spec"]["args"], json!(["--plain", "--tls"]));
}

#[test]
fn what_an_option_cannot_mean_is_shown_where_it_is_written() {
    let add = "- {op: add, path: /spec/none/-, value: --tls}";
    let wrong = [
        patched("wbe", add),
        patched("web", add),
        patched("web", "- {op: invent, path: /spec}"),
        "resources: [../../wep]\n".to_owned(),
        "resources: [map.yaml]\n".to_owned(),
        "resources: [../../web]\nnamePrefix: x-\n".to_owned(),
        "resources: [../../web, map.yaml, map.yaml]\n".to_owned(),
        "resources: [../../web, mpa.yaml]\n".to_owned(),
        "resources: [../../web]\n".to_owned(),
    ];
    let shown: Vec<String> = wrong.iter().map(|text| with_option(text).unwrap_err()).collect();
    insta::assert_snapshot!(shown.join("\n\n"), @r"
    manifests/options/tls/kustomization.yaml:5:38: component `web` has no Deployment `wbe`
      |
    5 |   - target: {kind: Deployment, name: wbe}
      |                                      ^^^
      = hint: did you mean `web`?

    manifests/options/tls/kustomization.yaml:7:7: the patch does not fit Deployment `web`: operation '/0' failed at path '/spec/none/-': path is invalid
      |
    7 |       - {op: add, path: /spec/none/-, value: --tls}
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

    manifests/options/tls/kustomization.yaml:7:7: the patch is not a list of operations: unknown variant `invent`, expected one of `add`, `remove`, `replace`, `move`, `copy`, `test`
      |
    7 |       - {op: invent, path: /spec}
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = hint: write operations as in RFC 6902: `- op: add`, with `path` and `value`

    manifests/options/tls/kustomization.yaml:1:13: `../../wep` is not a component's folder
      |
    1 | resources: [../../wep]
      |             ^^^^^^^^^

    manifests/options/tls/kustomization.yaml: an option changes one component, this one lists 0
      = hint: list one component's folder, as in `- ../../web`

    manifests/options/tls/kustomization.yaml:2:1: unknown field `namePrefix`, expected one of apiVersion, kind, resources, patches
      |
    2 | namePrefix: x-
      | ^^^^^^^^^^

    manifests/options/tls/map.yaml:1:1: ConfigMap default/tls is declared twice, first at manifests/options/tls/map.yaml:1
      |
    1 | apiVersion: v1
      | ^
      = hint: keep one of the two documents

    manifests/options/tls/kustomization.yaml:1:24: `mpa.yaml` is not a YAML file of manifests/options/tls
      |
    1 | resources: [../../web, mpa.yaml]
      |                        ^^^^^^^^
      = hint: did you mean `map.yaml`?

    manifests/options/tls/kustomization.yaml: `map.yaml` lies in the folder and is not listed, so nobody would deploy it
      = hint: add `- map.yaml` to `resources`
    ");
}

#[test]
fn an_option_that_does_not_exist_is_answered_with_those_that_do() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join(OPTIONS).join("tls")).unwrap();
    let none = || Components::from_parts(Vec::new());
    let error = |name: &str| none().with_option(root.path(), name).unwrap_err().to_string();
    assert_eq!(
        error("tsl"),
        "deploy with the option `tsl`: there is none of that name\n  = hint: did you mean `tls`?"
    );
    assert_eq!(
        error("../x"),
        "deploy with the option `../x`: there is none of that name\n  = hint: there are: tls"
    );
}
