//! YAML files with several documents, read into objects that are known to have an identity.

use std::path::Path;

use mistake::Mistake;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::object::Object;

/// Reads the objects of one YAML file. `file` is only used in messages.
///
/// Empty documents are skipped; a document without `apiVersion`, `kind` or `metadata.name` is a mistake at its place.
pub fn read(file: &Path, input: &str) -> Result<Vec<Object>, Mistake> {
    let documents: Vec<Spanned<Value>> =
        serde_saphyr::from_multiple(input).map_err(|error| Mistake::from_yaml(file, input, &error))?;
    let mut objects = Vec::new();
    for document in documents {
        let line = usize::try_from(document.referenced.line()).unwrap_or(1).max(1);
        let value = document.value;
        if value.is_null() {
            continue;
        }
        if !value.is_object() {
            return Err(Mistake::at(file, input, line, 1, 1, "this document is not a Kubernetes object")
                .hint("an object is a mapping with `apiVersion`, `kind` and `metadata`"));
        }
        for (pointer, field) in
            [("/apiVersion", "apiVersion"), ("/kind", "kind"), ("/metadata/name", "metadata.name")]
        {
            let present = value.pointer(pointer).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
            if !present {
                let message = format!("this document has no `{field}`");
                return Err(Mistake::at(file, input, line, 1, 1, message)
                    .hint(format!("add `{field}`, or remove the document")));
            }
        }
        objects.push(Object { file: file.to_path_buf(), line, value });
    }
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(input: &str) -> String {
        read(Path::new("manifests/web/service.yaml"), input).unwrap_err().to_string()
    }

    #[test]
    fn every_document_keeps_the_line_it_began_at() {
        let input = "# first\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\n";
        let objects = read(Path::new("x.yaml"), input).unwrap();
        let places: Vec<_> = objects.iter().map(|object| (object.name(), object.line)).collect();
        assert_eq!(places, [("a", 2), ("b", 7)]);
    }

    #[test]
    fn mistakes_show_the_place() {
        insta::assert_snapshot!(mistake("apiVersion: v1\nkind: Service\nspec: {}\n"), @r#"
        manifests/web/service.yaml:1:1: this document has no `metadata.name`
          |
        1 | apiVersion: v1
          | ^
          = hint: add `metadata.name`, or remove the document
        "#);
        insta::assert_snapshot!(mistake("apiVersion: v1\nkind: Service\n  metadata: {name: web}\n"), @r#"
        manifests/web/service.yaml:3:11: mapping values are not allowed in this context
          |
        3 |   metadata: {name: web}
          |           ^
        "#);
        insta::assert_snapshot!(mistake("apiVersion: v1\nkind: A\nkind: B\nmetadata: {name: web}\n"), @r#"
        manifests/web/service.yaml:3:1: duplicate mapping key `kind` is not allowed here
          |
        3 | kind: B
          | ^^^^
        "#);
        insta::assert_snapshot!(mistake("- a\n- b\n"), @r#"
        manifests/web/service.yaml:1:1: this document is not a Kubernetes object
          |
        1 | - a
          | ^
          = hint: an object is a mapping with `apiVersion`, `kind` and `metadata`
        "#);
    }
}
