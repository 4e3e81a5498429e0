//! This workspace's own declaration, as a run would render it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use manifests::render::pod;
use manifests::{Components, RenderError, Rendered, render};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What comes of components whose images are all known, and those images.
fn rendered(components: &Components) -> (BTreeSet<String>, Result<Rendered, RenderError>) {
    let containers = components.iter().flat_map(|component| &component.objects);
    let placeholders: BTreeMap<String, String> = containers
        .flat_map(|object| pod::containers(&object.value))
        .filter(|(_, _, image)| !image.contains('/'))
        .map(|(_, _, image)| {
            (image.to_owned(), format!("slipway.localhost/{image}@sha256:{}", "0".repeat(64)))
        })
        .collect();
    let rendered = render(components, &placeholders, &[]);
    (placeholders.into_values().collect(), rendered)
}

#[test]
fn the_workspace_renders_with_every_image_by_digest() {
    let components = Components::load(&root()).unwrap_or_else(|error| panic!("{error}"));
    let (images, rendered) = rendered(&components);
    let rendered = rendered.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(rendered.images().iter().map(ToString::to_string).collect::<BTreeSet<_>>(), images);
    assert_eq!(rendered.components.first().map(|component| component.name.as_str()), Some("namespaces"));
}

#[test]
fn each_option_of_deployment_changes_a_component_that_still_renders() {
    let plain = Components::load(&root()).unwrap_or_else(|error| panic!("{error}"));
    let objects = |components: &Components| -> Vec<manifests::Object> {
        components.iter().flat_map(|component| component.objects.clone()).collect()
    };
    let mut options = 0;
    for folder in std::fs::read_dir(root().join("manifests/options")).unwrap() {
        let option = folder.unwrap().file_name().into_string().unwrap();
        let changed = plain.clone().with_option(&root(), &option).unwrap_or_else(|error| panic!("{error}"));
        assert_ne!(objects(&plain), objects(&changed), "{option}");
        let (images, rendered) = rendered(&changed);
        assert_eq!(rendered.unwrap_or_else(|error| panic!("{error}")).images().len(), images.len());
        options += 1;
    }
    assert!(options > 0);
}
