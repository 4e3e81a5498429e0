//! Which images YAML and JSON name: `image:` anywhere (pods, custom resources, job containers, services, nodes), keys that end in `Image` or
//! `Bundle`, images in parts (`repository:` and `tag:`), kustomize's `newName:`, Tekton's parameter `bundle`, `container:` of a workflow job,
//! and `uses: docker://…`.
//!
//! Lines are read, not documents: a manifest with templates in it, or one broken elsewhere, still shows its images, and every
//! finding has its line.

use super::{Mention, Place};

/// Every image in `text`, in order.
pub(super) fn mentions(file: &str, text: &str, place: Place) -> Vec<Mention> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    let mut block: Option<usize> = None;
    for (index, line) in lines.iter().enumerate() {
        // The text of a block scalar is data, not YAML.
        match block {
            Some(outer) if line.trim().is_empty() || indent(line) > outer => continue,
            _ => block = None,
        }
        let entries = entries(line);
        if entries.iter().any(|(_, value)| value.starts_with(['|', '>'])) {
            block = Some(indent(line));
            continue;
        }
        for (key, value) in entries {
            let Some(image) = image(place, key, value, &lines, index) else { continue };
            let image = match image.contains("${{") {
                true => Err(format!("`{image}` is only known when the workflow runs")),
                false => Ok(image),
            };
            found.push(Mention { file: file.to_owned(), line: index + 1, place, image });
        }
    }
    found
}

/// The image one entry names.
fn image(place: Place, key: &str, value: &str, lines: &[&str], index: usize) -> Option<String> {
    let is_image = key == "image" || key.ends_with("Image");
    let scalar = (!value.is_empty() && !value.starts_with(['{', '[', '&', '*'])).then_some(value);
    match (place, key) {
        (Place::Workflow, "uses") => scalar?.strip_prefix("docker://").map(str::to_owned),
        (Place::Workflow, "container") => scalar.map(str::to_owned),
        _ if is_image && value.is_empty() => {
            in_parts(lines, index, ["registry", "repository", "tag", "digest"])
        }
        _ if is_image => scalar.map(str::to_owned),
        (Place::Manifest, "newName") => {
            let parts = in_parts(lines, item(lines, index), ["", "newName", "newTag", "digest"]);
            parts.or_else(|| scalar.map(str::to_owned))
        }
        // Certificates are bundles, too.
        (Place::Manifest, "bundle") => scalar.map(str::to_owned),
        (Place::Manifest, _) if key.ends_with("Bundle") && key != "caBundle" => {
            scalar.filter(|value| value.contains('/')).map(str::to_owned)
        }
        (Place::Manifest, "value") => {
            let before = entries(lines.get(index.checked_sub(1)?)?);
            (before.contains(&("name", "bundle"))).then(|| scalar.map(str::to_owned))?
        }
        _ => None,
    }
}

/// An image in parts: what is indented below the line, or the item of a list that begins there.
fn in_parts(lines: &[&str], begin: usize, names: [&str; 4]) -> Option<String> {
    let outer = indent(lines.get(begin)?);
    let below = lines[begin + 1..].iter().take_while(|line| line.trim().is_empty() || indent(line) > outer);
    let parts: Vec<(&str, &str)> =
        lines[begin..=begin].iter().chain(below).flat_map(|line| entries(line)).collect();
    let part = |name: &str| {
        parts.iter().find(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| *value)
    };
    let [registry, repository, tag, digest] = names;
    let mut image = part(registry).map(|registry| format!("{registry}/")).unwrap_or_default();
    image += part(repository)?;
    image += &part(tag).map(|tag| format!(":{tag}")).unwrap_or_default();
    image += &part(digest).map(|digest| format!("@{digest}")).unwrap_or_default();
    Some(image)
}

/// Where the item of a list begins that a line belongs to.
fn item(lines: &[&str], index: usize) -> usize {
    (0..=index).rev().find(|at| lines[*at].trim_start().starts_with("- ")).unwrap_or(index)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Key and scalar of everything a line says, `{key: value, …}` included.
fn entries(line: &str) -> Vec<(&str, &str)> {
    let flow = line.trim_start().trim_start_matches("- ").trim_start();
    let first = entry(line);
    let flow = match first {
        _ if flow.starts_with('#') => None,
        _ if flow.starts_with(['{', '[']) => Some(flow),
        Some((_, value)) if value.starts_with(['{', '[']) => Some(value),
        _ => None,
    };
    let Some(flow) = flow else { return first.into_iter().collect() };
    let flow = flow.split(" #").next().unwrap_or_default();
    // Braces of `${{ … }}` are not those of a mapping.
    if flow.contains("${{") {
        return first.into_iter().collect();
    }
    let pairs = flow.split(['{', '}', '[', ']', ',']).filter_map(|pair| pair.split_once(':'));
    pairs
        .map(|(key, value)| (key.trim().trim_matches(['"', '\'']), value.trim().trim_matches(['"', '\''])))
        .collect()
}

/// Key and scalar of `key: value`, `- key: value` or `"key": "value"`; `None` for everything else.
fn entry(line: &str) -> Option<(&str, &str)> {
    let mut rest = line.trim();
    while let Some(item) = rest.strip_prefix("- ") {
        rest = item.trim_start();
    }
    if rest.starts_with('#') {
        return None;
    }
    let (key, value) = rest.split_once(": ").or_else(|| Some((rest.strip_suffix(':')?, "")))?;
    let key = key.trim().trim_matches(['"', '\'']);
    let value = value.trim();
    let value = match value.strip_prefix(['"', '\'']) {
        Some(quoted) => quoted.split(['"', '\'']).next().unwrap_or_default(),
        None => value.split(" #").next().unwrap_or_default().trim_end(),
    };
    Some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(place: Place, text: &str, expected: &[&str]) {
        let found: Vec<String> = mentions("x.yaml", text, place)
            .into_iter()
            .map(|mention| {
                format!("{}: {}", mention.line, mention.image.unwrap_or_else(|error| format!("! {error}")))
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn pods_and_custom_resources_name_images() {
        check(
            Place::Manifest,
            "spec:\n  containers:\n    - image: quay.io/a/b:1 # old\n      imagePullPolicy: Always\n    - name: x\n      image: \"c\"\n  workflowRef:\n    containerImage: d@sha256:1\n  # image: e\n  image:\n    repository: x\n",
            &["3: quay.io/a/b:1", "6: c", "8: d@sha256:1", "10: x"],
        );
    }

    #[test]
    fn images_are_named_in_more_than_one_way() {
        check(
            Place::Manifest,
            "containers: [{name: a, image: quay.io/a:1}, {\"image\": \"quay.io/b@sha256:1\"}]\nimage:\n  # of a chart\n  registry: quay.io\n  repository: team/c\n\n  tag: \"2\"\nother:\n  repository: x\n",
            &["1: quay.io/a:1", "1: quay.io/b@sha256:1", "2: quay.io/team/c:2"],
        );
        check(
            Place::Manifest,
            "images:\n  - name: app\n    newTag: v3\n    newName: quay.io/team/app\n  - newName: quay.io/team/other\n    digest: sha256:2\n",
            &["4: quay.io/team/app:v3", "5: quay.io/team/other@sha256:2"],
        );
        check(
            Place::Manifest,
            "params:\n  - name: bundle\n    value: quay.io/team/bundle:v1\n  - name: kind\n    value: pipeline\nexecutionBundle: quay.io/team/b:v2\ncaBundle: a/b=\ntrustBundle: pem\n",
            &["3: quay.io/team/bundle:v1", "6: quay.io/team/b:v2"],
        );
        check(
            Place::Manifest,
            "{\n  \"apiVersion\": \"v1\",\n  \"image\": \"quay.io/a:1\",\n  \"initImage\": \"quay.io/b:1\"\n}\n",
            &["3: quay.io/a:1", "4: quay.io/b:1"],
        );
    }

    #[test]
    fn text_in_block_scalars_is_data() {
        check(
            Place::Manifest,
            "data:\n  run: |\n    image: inner\n\n    image: inner\n  image: outer\n",
            &["6: outer"],
        );
    }

    #[test]
    fn workflows_name_images_in_three_ways() {
        check(
            Place::Workflow,
            "jobs:\n  a:\n    container: quay.io/a/b\n    services:\n      db:\n        image: postgres:16\n    steps:\n      - uses: actions/checkout@v4\n      - uses: docker://alpine:3\n      - run: x\n        with:\n          image: ${{ matrix.image }}\n",
            &[
                "3: quay.io/a/b",
                "6: postgres:16",
                "9: alpine:3",
                "12: ! `${{ matrix.image }}` is only known when the workflow runs",
            ],
        );
    }
}
