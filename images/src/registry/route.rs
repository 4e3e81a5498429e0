//! Reads a request's path: repository names contain slashes, so it is read from its end. Pure.

use uuid::Uuid;

use super::answer::Fault;
use crate::digest::Digest;
use crate::reference::{is_repository, is_tag};

/// A repository's name, known to be well formed: safe as a path below the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Repository(String);

impl Repository {
    pub fn parse(name: &str) -> Option<Repository> {
        is_repository(name).then(|| Repository(name.to_string()))
    }

    pub fn name(&self) -> &str {
        &self.0
    }
}

/// How a manifest is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Tag(String),
    Digest(Digest),
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Base,
    Catalog,
    Tags(Repository),
    Referrers(Repository, Digest),
    Manifest(Repository, Version),
    Blob(Repository, Digest),
    Uploads(Repository),
    Upload(Repository, Uuid),
}

/// Reads the path of a request.
pub(super) fn parse(path: &str) -> Result<Route, Fault> {
    let unknown = || Fault::NoSuchPath(path.to_string());
    let decoded = decode(path).ok_or_else(unknown)?;
    let rest = match decoded.strip_prefix("/v2") {
        Some("" | "/") => return Ok(Route::Base),
        Some(rest) => rest.strip_prefix('/').ok_or_else(unknown)?,
        None => return Err(unknown()),
    };
    if rest == "_catalog" {
        return Ok(Route::Catalog);
    }
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Ok(Route::Tags(repository(name)?));
    }
    if let Some(name) = rest.strip_suffix("/blobs/uploads").or(rest.strip_suffix("/blobs/uploads/")) {
        return Ok(Route::Uploads(repository(name)?));
    }
    let (head, last) = rest.rsplit_once('/').ok_or_else(unknown)?;
    if let Some(name) = head.strip_suffix("/blobs/uploads") {
        let upload = last.parse().map_err(|_| Fault::UploadUnknown(last.to_string()))?;
        return Ok(Route::Upload(repository(name)?, upload));
    }
    let (name, kind) = head.rsplit_once('/').ok_or_else(unknown)?;
    match kind {
        "manifests" => Ok(Route::Manifest(repository(name)?, version(last)?)),
        "blobs" => Ok(Route::Blob(repository(name)?, digest(last)?)),
        "referrers" => Ok(Route::Referrers(repository(name)?, digest(last)?)),
        _ => Err(unknown()),
    }
}

/// Reads a digest somebody sent.
pub(super) fn digest(text: &str) -> Result<Digest, Fault> {
    text.parse().map_err(|_| Fault::DigestInvalid(format!("`{text}` is not a digest this registry knows")))
}

fn repository(name: &str) -> Result<Repository, Fault> {
    Repository::parse(name).ok_or_else(|| Fault::NameInvalid(name.to_string()))
}

fn version(text: &str) -> Result<Version, Fault> {
    if text.contains(':') {
        return Ok(Version::Digest(digest(text)?));
    }
    match is_tag(text) {
        true => Ok(Version::Tag(text.to_string())),
        false => Err(Fault::ManifestUnknown(text.to_string())),
    }
}

/// The parameters behind the question mark.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: &str) -> Query {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let plain = |text: &str| decode(&text.replace('+', "%20"));
            Some((plain(name)?, plain(value)?))
        };
        Query(text.split('&').filter(|part| !part.is_empty()).filter_map(pair).collect())
    }

    /// The first parameter of that name, unless it is empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    /// Every parameter of that name.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Undoes percent encoding; nothing if it is broken or no UTF-8.
fn decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_string());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn name(name: &str) -> Repository {
        Repository::parse(name).unwrap()
    }

    #[test]
    fn paths_are_read_from_their_end() {
        let check = |path: &str, expected: Route| assert_eq!(parse(path).unwrap(), expected, "{path}");
        let digest: Digest = DIGEST.parse().unwrap();
        let upload = Uuid::from_u128(7);
        check("/v2/", Route::Base);
        check("/v2", Route::Base);
        check("/v2/_catalog", Route::Catalog);
        check("/v2/a/b/tags/list", Route::Tags(name("a/b")));
        check("/v2/a/manifests/v1", Route::Manifest(name("a"), Version::Tag("v1".into())));
        check(
            &format!("/v2/a/manifests/{DIGEST}"),
            Route::Manifest(name("a"), Version::Digest(digest.clone())),
        );
        check(&format!("/v2/blobs/blobs/{DIGEST}"), Route::Blob(name("blobs"), digest.clone()));
        check(&format!("/v2/a/blobs/{}", DIGEST.replace(':', "%3A")), Route::Blob(name("a"), digest.clone()));
        check(&format!("/v2/a/referrers/{DIGEST}"), Route::Referrers(name("a"), digest));
        check("/v2/a/blobs/uploads/", Route::Uploads(name("a")));
        check("/v2/a/b/blobs/uploads", Route::Uploads(name("a/b")));
        check(&format!("/v2/a/blobs/uploads/{upload}"), Route::Upload(name("a"), upload));
    }

    #[test]
    fn what_is_malformed_has_its_own_code() {
        let check = |path: &str, code: &str| assert_eq!(parse(path).unwrap_err().code(), code, "{path}");
        check("/v1/", "UNSUPPORTED");
        check("/v2x", "UNSUPPORTED");
        check("/v2/a", "UNSUPPORTED");
        check("/v2/A/tags/list", "NAME_INVALID");
        check("/v2/../../etc/tags/list", "NAME_INVALID");
        check("/v2/a%2F..%2Fb/manifests/v1", "NAME_INVALID");
        check("/v2/a/blobs/sha256:short", "DIGEST_INVALID");
        check("/v2/a/blobs/latest", "DIGEST_INVALID");
        check("/v2/a/manifests/md5:x", "DIGEST_INVALID");
        check("/v2/a/manifests/.hidden", "MANIFEST_UNKNOWN");
        check("/v2/a/blobs/uploads/no-uuid", "BLOB_UPLOAD_UNKNOWN");
        check("/v2/a/%zz/v1", "UNSUPPORTED");
    }

    #[test]
    fn parameters_are_decoded_and_may_repeat() {
        let query = Query::parse("digest=sha256%3Aab&tag=a&tag=b&n=&broken=%f&name=a+b");
        assert_eq!(query.get("digest"), Some("sha256:ab"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((query.get("n"), query.get("broken"), query.get("name")), (None, None, Some("a b")));
    }
}
