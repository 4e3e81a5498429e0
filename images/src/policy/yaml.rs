//! Which images YAML names: `image:` anywhere (pods, custom resources, job containers, services, nodes), keys that end in
//! `Image`, `container:` of a workflow job, and `uses: docker://…`.
//!
//! Lines are read, not documents: a manifest with templates in it, or one broken elsewhere, still shows its images, and every
//! finding has its line.

use super::{Mention, Place};

/// Every image in `text`, in order.
pub(super) fn mentions(file: &str, text: &str, place: Place) -> Vec<Mention> {
    let mut found = Vec::new();
    let mut block: Option<usize> = None;
    for (index, line) in text.lines().enumerate() {
        let indent = line.len() - line.trim_start().len();
        // The text of a block scalar is data, not YAML.
        match block {
            Some(outer) if line.trim().is_empty() || indent > outer => continue,
            _ => block = None,
        }
        let Some((key, value)) = entry(line) else { continue };
        if value.starts_with(['|', '>']) {
            block = Some(indent);
            continue;
        }
        let image = match place {
            Place::Workflow if key == "uses" => value.strip_prefix("docker://"),
            Place::Workflow if key == "container" => Some(value),
            _ if key == "image" || key.ends_with("Image") => Some(value),
            _ => None,
        };
        if let Some(image) =
            image.filter(|image| !image.is_empty() && !image.starts_with(['{', '[', '&', '*']))
        {
            let image = match image.contains("${{") {
                true => Err(format!("`{image}` is only known when the workflow runs")),
                false => Ok(image.to_owned()),
            };
            found.push(Mention { file: file.to_owned(), line: index + 1, place, image });
        }
    }
    found
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
            &["3: quay.io/a/b:1", "6: c", "8: d@sha256:1"],
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
