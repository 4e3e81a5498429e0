//! What is in a volume that shows API objects: files by relative path. Pure.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume};

use super::token::Tokens;
use crate::node::container::field::{Placement, field, resource};
use crate::node::references::{Found, content};

/// Permissions of a file that says nothing about its own.
const DEFAULT_MODE: i32 = 0o644;

/// Files by path.
pub(super) type Payload = BTreeMap<PathBuf, File>;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    pub(super) mode: u32,
}

/// The content of a volume; nothing for a volume that is not of this kind.
pub(super) fn of(
    volume: &Volume,
    pod: &Pod,
    found: &Found,
    placement: &Placement,
    tokens: &Tokens,
) -> Option<Result<Payload, String>> {
    let mut builder = Builder { payload: Payload::new(), pod, found, placement, tokens };
    let outcome = if let Some(source) = &volume.config_map {
        let items = source.items.as_deref();
        builder.config_map(&source.name, items, source.optional, source.default_mode)
    } else if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        builder.secret(name, source.items.as_deref(), source.optional, source.default_mode)
    } else if let Some(source) = &volume.downward_api {
        builder.downward(source.items.as_deref().unwrap_or_default(), source.default_mode)
    } else if let Some(source) = &volume.projected {
        let mode = source.default_mode;
        source.sources.iter().flatten().try_for_each(|source| {
            if let Some(source) = &source.config_map {
                builder.config_map(&source.name, source.items.as_deref(), source.optional, mode)
            } else if let Some(source) = &source.secret {
                builder.secret(&source.name, source.items.as_deref(), source.optional, mode)
            } else if let Some(source) = &source.downward_api {
                builder.downward(source.items.as_deref().unwrap_or_default(), mode)
            } else if let Some(source) = &source.service_account_token {
                let token = builder.tokens.get(source).ok_or("the token has not been fetched")?;
                builder.add(&source.path, token.into_bytes(), mode, None)
            } else {
                Err("this node has no projections of this type".to_owned())
            }
        })
    } else {
        return None;
    };
    Some(outcome.map(|()| builder.payload))
}

struct Builder<'a> {
    payload: Payload,
    pod: &'a Pod,
    found: &'a Found,
    placement: &'a Placement,
    tokens: &'a Tokens,
}

impl Builder<'_> {
    fn config_map(
        &mut self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: Option<i32>,
    ) -> Result<(), String> {
        let content = match self.found.config_map(name) {
            Err(_) if optional == Some(true) => return Ok(()),
            found => content(found?),
        };
        self.keys(content, "config", items, optional, mode)
    }

    fn secret(
        &mut self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: Option<i32>,
    ) -> Result<(), String> {
        let secret = match self.found.secret(name) {
            Err(_) if optional == Some(true) => return Ok(()),
            found => found?,
        };
        let content = secret.data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone()));
        self.keys(content.collect(), "secret", items, optional, mode)
    }

    fn keys(
        &mut self,
        mut content: BTreeMap<String, Vec<u8>>,
        kind: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: Option<i32>,
    ) -> Result<(), String> {
        let Some(items) = items.filter(|items| !items.is_empty()) else {
            return content.into_iter().try_for_each(|(key, bytes)| self.add(&key, bytes, mode, None));
        };
        for item in items {
            match content.remove(&item.key) {
                Some(bytes) => self.add(&item.path, bytes, mode, item.mode)?,
                None if optional == Some(true) => {}
                None => return Err(format!("references non-existent {kind} key: {}", item.key)),
            }
        }
        Ok(())
    }

    fn downward(&mut self, files: &[DownwardAPIVolumeFile], mode: Option<i32>) -> Result<(), String> {
        for file in files {
            let value = match (&file.field_ref, &file.resource_field_ref) {
                (Some(selector), _) => field(selector, self.pod, self.placement)?,
                (None, Some(selector)) => resource(selector, self.pod, None, self.placement)?,
                (None, None) => String::new(),
            };
            self.add(&file.path, value.into_bytes(), mode, file.mode)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        path: &str,
        bytes: Vec<u8>,
        default_mode: Option<i32>,
        mode: Option<i32>,
    ) -> Result<(), String> {
        let mode = mode.or(default_mode).unwrap_or(DEFAULT_MODE);
        let path = Path::new(path);
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !inside || path.as_os_str().is_empty() || path.starts_with("..data") {
            return Err(format!("{:?} is not a path inside the volume", path.display().to_string()));
        }
        let mode = u32::try_from(mode).unwrap_or(0o644) & 0o777;
        self.payload.insert(path.to_owned(), File { bytes, mode });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn payload(source: Value) -> Result<Vec<(String, String, u32)>, String> {
        let mut volume = source;
        volume["name"] = json!("v");
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let pod = serde_json::from_value(json!({"metadata": {"name": "p", "labels": {"a": "b"}}})).unwrap();
        let found = Found::default()
            .with_config_map("map", json!({"one": "1", "two": "2"}))
            .with_secret("secret", "key", b"\xff");
        let mut tokens = Tokens::default();
        tokens.insert("vault", 600, "token");
        let payload = of(&volume, &pod, &found, &Placement::default(), &tokens).unwrap()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(payload
            .into_iter()
            .map(|(path, file)| (path.display().to_string(), text(file.bytes), file.mode))
            .collect())
    }

    fn files(expected: &[(&str, &str, u32)]) -> Vec<(String, String, u32)> {
        expected.iter().map(|(path, text, mode)| ((*path).to_owned(), (*text).to_owned(), *mode)).collect()
    }

    #[test]
    fn volumes_show_their_objects() {
        for (source, expected) in [
            (json!({"configMap": {"name": "map"}}), files(&[("one", "1", 0o644), ("two", "2", 0o644)])),
            (
                json!({"configMap": {"name": "map", "defaultMode": 0o400, "items": [
                    {"key": "one", "path": "deep/er"}, {"key": "two", "path": "two", "mode": 0o755},
                ]}}),
                files(&[("deep/er", "1", 0o400), ("two", "2", 0o755)]),
            ),
            (json!({"secret": {"secretName": "secret"}}), files(&[("key", "\u{fffd}", 0o644)])),
            (json!({"secret": {"secretName": "no", "optional": true}}), files(&[])),
            (
                json!({"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}),
                files(&[("labels", "a=\"b\"", 0o644)]),
            ),
            (
                json!({"projected": {"defaultMode": 0o440, "sources": [
                    {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}},
                    {"configMap": {"name": "map", "items": [{"key": "one", "path": "ca.crt"}]}},
                    {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                ]}}),
                files(&[("ca.crt", "1", 0o440), ("name", "p", 0o440), ("token", "token", 0o440)]),
            ),
        ] {
            assert_eq!(payload(source.clone()).unwrap(), expected, "{source}");
        }
    }

    #[test]
    fn what_cannot_be_shown_is_named() {
        for (source, expected) in [
            (json!({"configMap": {"name": "no"}}), "configmap \"no\" not found"),
            (json!({"secret": {"secretName": "no"}}), "secret \"no\" not found"),
            (
                json!({"configMap": {"name": "map", "items": [{"key": "x", "path": "x"}]}}),
                "references non-existent config key: x",
            ),
            (
                json!({"configMap": {"name": "map", "items": [{"key": "one", "path": "../x"}]}}),
                "\"../x\" is not a path inside the volume",
            ),
        ] {
            assert_eq!(payload(source.clone()).unwrap_err(), expected, "{source}");
        }
    }
}
