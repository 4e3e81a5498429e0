use std::path::Path;

use super::*;
use crate::document;

/// Components of one YAML stream each, in the order given.
fn components(table: &[(&str, &str)]) -> Components {
    let component = |(name, yaml): &(&str, &str)| {
        let file = PathBuf::from(format!("manifests/{name}/all.yaml"));
        Component {
            name: (*name).to_owned(),
            folder: Path::new("manifests").join(name),
            needs: Vec::new(),
            deadline: Duration::from_secs(1),
            readiness: Readiness::Objects,
            provides: Vec::new(),
            restarts: 2,
            objects: document::read(&file, yaml).unwrap(),
            admission_probe: None,
        }
    };
    Components::from_parts(table.iter().map(component).collect())
}

fn images() -> BTreeMap<String, String> {
    [("web", "slipway.localhost/web@sha256:11"), ("worker", "slipway.localhost/worker@sha256:22")]
        .map(|(name, reference)| (name.to_owned(), reference.to_owned()))
        .into()
}

fn refused(yaml: &str) -> String {
    render(&components(&[("shop", yaml)]), &images(), &[]).unwrap_err().to_string()
}

/// A Deployment whose pod spec is `pod`, in the default namespace.
fn deployment(pod: &str) -> String {
    let indented: String = pod.lines().map(|line| format!("      {line}\n")).collect();
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web, namespace: default}}\nspec:\n  template:\n    spec:\n{indented}"
    )
}

#[test]
fn placeholders_become_digests_in_every_pod_template() {
    let yaml = deployment(
        "initContainers: [{name: prepare, image: worker}]\ncontainers: [{name: web, image: web}]",
    ) + "---\napiVersion: batch/v1\nkind: CronJob\nmetadata: {name: tidy, namespace: default}\nspec: {jobTemplate: {spec: {template: {spec: {containers: [{name: tidy, image: worker}]}}}}}\n"
        + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: once, namespace: default}\nspec: {containers: [{name: once, image: registry.example.com/tool:1}]}\n";
    let rendered = render(&components(&[("shop", &yaml)]), &images(), &[]).unwrap();
    let found: Vec<String> = rendered
        .objects()
        .flat_map(|object| pod::containers(&object.value))
        .map(|(list, name, image)| format!("{list} {name} {image}"))
        .collect();
    assert_eq!(
        found,
        [
            "initContainers prepare slipway.localhost/worker@sha256:22",
            "containers web slipway.localhost/web@sha256:11",
            "containers tidy slipway.localhost/worker@sha256:22",
            "containers once registry.example.com/tool:1",
        ]
    );
}

#[test]
fn objects_are_labelled_and_pod_templates_are_not() {
    let yaml = deployment("containers: [{name: web, image: web}]");
    let rendered = render(&components(&[("shop", &yaml)]), &images(), &[]).unwrap();
    let value = &rendered.objects().next().unwrap().value;
    assert_eq!(
        value["metadata"]["labels"],
        json!({"app.kubernetes.io/managed-by": "slipway", "slipway.localhost/component": "shop"})
    );
    assert_eq!(value.pointer("/spec/template/metadata"), None);
}

#[test]
fn an_unknown_image_names_file_object_and_container() {
    insta::assert_snapshot!(refused(&deployment("containers: [{name: main, image: wbe}]")), @r#"
    manifests/shop/all.yaml:1: Deployment default/web: container `main` wants image `wbe`, which nothing builds
      = hint: did you mean `web`?
    "#);
    insta::assert_snapshot!(refused(&deployment("containers: [{name: main, image: postgres:16}]")), @r#"
    manifests/shop/all.yaml:1: Deployment default/web: container `main` wants image `postgres:16`, which nothing builds
      = hint: built here: web, worker; anything else needs its registry, as in `registry.example.com/postgres:16`
    "#);
}

#[test]
fn dangling_references_are_refused_with_the_likely_fix() {
    let config = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings, namespace: default}\ndata: {log-level: info}\n";
    let pod = |rest: &str| deployment(&format!("{rest}\ncontainers: [{{name: web, image: web}}]"));
    insta::assert_snapshot!(refused(&(pod("volumes: [{name: config, configMap: {name: setings}}]") + config)), @r#"
    manifests/shop/all.yaml:1: Deployment default/web: volume `config` refers to ConfigMap default/setings, which is not declared
      = hint: did you mean `settings`?
    "#);
    insta::assert_snapshot!(refused(&(pod("volumes: [{name: config, configMap: {name: settings, items: [{key: loglevel, path: x}]}}]") + config)), @r#"
    manifests/shop/all.yaml:1: Deployment default/web: volume `config` refers to key `loglevel` of ConfigMap default/settings, which has no such key
      = hint: did you mean `log-level`?
    "#);
    insta::assert_snapshot!(refused(&pod("volumes: [{name: tls, secret: {secretName: web-tls}}]")), @r#"
    manifests/shop/all.yaml:1: Deployment default/web: volume `tls` refers to Secret default/web-tls, which is not declared
      = hint: declare it, mark the reference optional, or add `provides = ["Secret/web-tls"]` to the component that creates it at run time
    "#);
    insta::assert_snapshot!(refused(&pod("serviceAccountName: web")), @r#"
    manifests/shop/all.yaml:1: Deployment default/web: the pod refers to ServiceAccount default/web, which is not declared
      = hint: declare it, mark the reference optional, or add `provides = ["ServiceAccount/web"]` to the component that creates it at run time
    "#);
    insta::assert_snapshot!(refused("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\n"), @"manifests/shop/all.yaml:1: ConfigMap shop/a: `metadata.namespace` refers to Namespace shop, which is not declared");
}

#[test]
fn optional_provided_and_built_in_references_pass() {
    let yaml = deployment(
        "serviceAccountName: default\nvolumes: [{name: a, secret: {secretName: late, optional: true}}, {name: b, secret: {secretName: made-later}}, {name: c, configMap: {name: kube-root-ca.crt}}]\ncontainers: [{name: web, image: web, envFrom: [{configMapRef: {name: gone, optional: true}}]}]",
    );
    let mut components = components(&[("shop", &yaml)]);
    components = Components::from_parts(
        components
            .iter()
            .cloned()
            .map(|mut each| {
                each.provides = vec!["Secret/made-later".into()];
                each
            })
            .collect(),
    );
    assert!(render(&components, &images(), &[]).is_ok());
}

#[test]
fn leaving_a_component_out_drops_the_need_and_says_who_misses_it() {
    let first = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web, namespace: default}\n";
    let second = deployment("serviceAccountName: web\ncontainers: [{name: web, image: web}]");
    let both = components(&[("accounts", first), ("shop", &second)]);
    insta::assert_snapshot!(render(&both, &images(), &["accounts".into()]).unwrap_err(), @r#"
    manifests/shop/all.yaml:1: Deployment default/web: the pod refers to ServiceAccount default/web, which is not declared
      = hint: it belongs to component `accounts`, which is left out of this deployment
    "#);
    insta::assert_snapshot!(render(&both, &images(), &["account".into()]).unwrap_err(), @r#"
    no component is called `account`
      = hint: did you mean `accounts`?
    "#);
    let rendered = render(&both, &images(), &["shop".into()]).unwrap();
    assert_eq!(rendered.components.len(), 1);
}

#[test]
fn rendering_twice_gives_the_same_bytes() {
    let yaml = deployment("containers: [{name: web, image: web}]");
    let once = render(&components(&[("shop", &yaml)]), &images(), &[]).unwrap();
    let twice = render(&components(&[("shop", &yaml)]), &images(), &[]).unwrap();
    assert_eq!(once.components[0].to_yaml(), twice.components[0].to_yaml());
}
