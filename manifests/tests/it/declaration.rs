//! This workspace's own declaration, as a run would render it.

use std::collections::BTreeMap;
use std::path::Path;

use manifests::render::pod;
use manifests::{Components, render};

#[test]
fn the_workspace_renders_with_every_image_by_digest() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let components = Components::load(&root).unwrap_or_else(|error| panic!("{error}"));
    let placeholders: BTreeMap<String, String> = components
        .iter()
        .flat_map(|component| &component.objects)
        .flat_map(|object| pod::containers(&object.value))
        .filter(|(_, _, image)| !image.contains('/'))
        .map(|(_, _, image)| {
            (image.to_owned(), format!("slipway.localhost/{image}@sha256:{}", "0".repeat(64)))
        })
        .collect();
    let rendered = render(&components, &placeholders, &[]).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(rendered.images().len(), placeholders.len());
    assert!(rendered.images().iter().all(|image| image.contains("@sha256:")), "{:?}", rendered.images());
    assert_eq!(rendered.components.first().map(|component| component.name.as_str()), Some("namespaces"));
}
