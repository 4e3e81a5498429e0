use std::path::Path;

use super::*;

fn read(text: &str) -> String {
    match parse("x", Path::new("ci/pipelines/x.toml"), text) {
        Ok(spec) => format!("{spec:#?}"),
        Err(mistake) => mistake.to_string(),
    }
}

const HEAD: &str = "description = \"x\"\ndeadline = \"10m\"\n";

#[test]
fn mistakes_are_shown_where_they_are() {
    let written = [
        "[[tier]]\nname = \"unit\"\nkind = \"tests\"\ntest = [\"lib\"]\n",
        "[[tier]]\nname = \"unit\"\nkind = \"tests\"\n",
        "[[tier]]\nname = \"unit\"\nkind = \"test\"\ntests = [\"lib\"]\n",
        "[[tier]]\nname = \"build\"\nkind = \"compile\"\n[[tier]]\nname = \"unit\"\nkind = \"tests\"\ntests = [\"lib\"]\nneeds = [\"biuld\"]\n",
        "[[tier]]\nname = \"build\"\nkind = \"compile\"\nthreads = 3\n",
        "[[tier]]\nname = \"build\"\nkind = \"compile\"\ndeadline = \"a fortnight\"\n",
        "[[tier]]\nname = \"build\"\nkind = \"compile\"\ndeadline = \"11m\"\n",
        "[[tier]]\nname = \"run\"\nkind = \"tests\"\ntests = [\"it\"]\ncluster = true\n",
        "[[tier]]\nname = \"run\"\nkind = \"tests\"\ntests = [\"it\"]\nthreshold = 101\n",
        "[[tier]]\nname = \"run\"\nkind = \"tests\"\ntests = [\"it\"]\nneeds-programs = { kettle = { folders = [\"bin\"], install = \"buy one\" } }\n",
        "[[tier]]\nname = \"run\"\nkind = \"tests\"\ntests = [\"it\"]\nneeds-programs = { \"/bin/kettle\" = { install = \"buy one\" } }\n",
        "[cluster]\nprovider = \"docker\"\ndeclaration = \"c.yaml\"\ndeadline = \"1m\"\n",
        "[images]\nplatforms = [\"linux/amd46\"]\n",
        "[deploy]\n",
    ];
    let shown: Vec<String> = written.iter().map(|text| read(&format!("{HEAD}{text}"))).collect();
    insta::assert_snapshot!(shown.join("\n\n"));
}

#[test]
fn every_pipeline_of_this_workspace_can_be_read() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let names = names(&root);
    assert!(names.contains(&"e2e".to_owned()) && names.contains(&"test".to_owned()), "{names:?}");
    for name in names {
        load(&root, &name).unwrap();
    }
}

#[test]
fn an_unknown_pipeline_is_answered_with_the_known_ones() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let error = load(&root, "e3e").unwrap_err();
    assert_eq!(error.to_string(), "read the pipeline `ci/pipelines/e3e.toml`");
    assert!(error.hint().unwrap().contains("e2e"));
}

#[test]
fn images_in_an_environment_become_references() {
    let references = [("a".to_owned(), "r/a@sha256:1".to_owned())].into();
    assert_eq!(with_images("x={image:a};{image:b}", &references), "x=r/a@sha256:1;{image:b}");
    assert_eq!(image_placeholders("x={image:a};{image:b}").collect::<Vec<_>>(), ["a", "b"]);
}
