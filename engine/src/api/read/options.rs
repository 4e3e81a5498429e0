//! What the query of a read asks for: which objects, and as of which revision.

use crate::api::request::RequestInfo;
use crate::api::selector::{FieldSelector, LabelSelector, ParseError, Selection};
use crate::schema::Resource;
use crate::status::{Cause, Status};

/// The objects a collection request (or the watch of one object) means.
pub fn selection(resource: &Resource, info: &RequestInfo) -> Result<Selection, Status> {
    let refused = |error: ParseError| Status::bad_request(error.to_string());
    let mut fields = info.param("fieldSelector").to_owned();
    if !info.name.is_empty() {
        fields.push_str(&format!(",metadata.name={}", info.name));
    }
    let fields =
        FieldSelector::parse(&fields, &resource.group, &resource.plural, &resource.selectable_fields)
            .map_err(|error| Status::bad_request(error.0))?;
    let labels = LabelSelector::parse(info.param("labelSelector")).map_err(refused)?;
    let namespaced = resource.namespaced && !info.namespace.is_empty();
    Ok(Selection { namespace: namespaced.then(|| info.namespace.clone()), labels, fields })
}

/// The `resourceVersion` of the query; `None` when absent.
pub fn revision(info: &RequestInfo) -> Result<Option<u64>, Status> {
    match info.param("resourceVersion") {
        "" => Ok(None),
        text => {
            let parsed = text.parse().map(Some);
            parsed.map_err(|_| {
                Status::bad_request(format!("Invalid value: {text:?}: invalid resource version"))
            })
        }
    }
}

/// Refuses a revision the store has not reached: it is of another server's life.
pub fn not_too_new(wanted: Option<u64>, current: u64) -> Result<(), Status> {
    match wanted {
        Some(wanted) if wanted > current => {
            let message = format!("Too large resource version: {wanted}, current: {current}");
            let cause = Cause::new("ResourceVersionTooLarge", "", "Too large resource version");
            Err(Status::timeout(message).with_causes(&[cause]).with_retry_after(1))
        }
        _ => Ok(()),
    }
}

/// As of when a list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Any moment not before the revision, if one is given; here that is always now.
    Now(Option<u64>),
    /// Exactly at the revision.
    Exactly(u64),
}

/// The moment a list without a continue token asks for.
pub fn list_at(info: &RequestInfo) -> Result<At, Status> {
    let revision = revision(info)?;
    let version_match = info.param("resourceVersionMatch");
    let forbid =
        |why: &str| Err(refuse("resourceVersionMatch", format!("Forbidden: {why}"), "FieldValueForbidden"));
    if !info.param("sendInitialEvents").is_empty() {
        let why = "Forbidden: sendInitialEvents is forbidden for list";
        return Err(refuse("sendInitialEvents", why.to_owned(), "FieldValueForbidden"));
    }
    if !version_match.is_empty() && !info.param("continue").is_empty() {
        return forbid("resourceVersionMatch is forbidden when continue is provided");
    }
    match (version_match, revision) {
        ("", None) => Ok(At::Now(None)),
        ("", Some(0)) => Ok(At::Now(None)),
        // A limit without a match means the exact revision, for the clients of old.
        ("", Some(revision)) if limit(info).is_some() => Ok(At::Exactly(revision)),
        ("", Some(revision)) => Ok(At::Now(Some(revision))),
        ("Exact" | "NotOlderThan", None) => {
            forbid("resourceVersionMatch is forbidden unless resourceVersion is provided")
        }
        ("NotOlderThan", Some(revision)) => Ok(At::Now(Some(revision))),
        ("Exact", Some(0)) => forbid("resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\""),
        ("Exact", Some(revision)) => Ok(At::Exactly(revision)),
        (other, _) => Err(not_supported(other, &["Exact", "NotOlderThan"])),
    }
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchStart {
    /// Revision the client has seen; `None` for whatever is current.
    pub revision: Option<u64>,
    /// The objects there are come first, as `ADDED`.
    pub existing: bool,
    /// A bookmark says where those end.
    pub marked: bool,
}

/// How a watch begins.
pub fn watch_start(info: &RequestInfo) -> Result<WatchStart, Status> {
    let revision = revision(info)?;
    let version_match = info.param("resourceVersionMatch");
    let initial = info.param("sendInitialEvents");
    let forbid =
        |why: &str| Err(refuse("resourceVersionMatch", format!("Forbidden: {why}"), "FieldValueForbidden"));
    match (initial, version_match) {
        ("", "") => {
            let revision = revision.filter(|revision| *revision > 0);
            Ok(WatchStart { revision, existing: revision.is_none(), marked: false })
        }
        ("", _) => forbid("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"),
        (_, "NotOlderThan") => {
            let existing = info.flag("sendInitialEvents");
            let revision = revision.filter(|revision| *revision > 0);
            let marked = existing && info.flag("allowWatchBookmarks");
            Ok(WatchStart { revision, existing, marked })
        }
        (_, "") => forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
        (_, other) => Err(not_supported(other, &["NotOlderThan"])),
    }
}

/// The largest number of objects in one answer; zero and negative numbers are none.
pub fn limit(info: &RequestInfo) -> Option<usize> {
    info.param("limit")
        .parse::<i64>()
        .ok()
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| *limit > 0)
}

fn refuse(field: &str, message: String, reason: &str) -> Status {
    Status::invalid("meta.k8s.io", "ListOptions", "", &[Cause::new(reason, field, message)])
}

fn not_supported(value: &str, supported: &[&str]) -> Status {
    let quoted: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
    let message = format!("Unsupported value: {value:?}: supported values: {}", quoted.join(", "));
    refuse("resourceVersionMatch", message, "FieldValueNotSupported")
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn info(query: &str) -> RequestInfo {
        RequestInfo::parse(&Method::GET, "/api/v1/pods", query)
    }

    #[track_caller]
    fn check_list(query: &str, expected: Result<At, u16>) {
        assert_eq!(list_at(&info(query)).map_err(|status| status.code()), expected, "{query}");
    }

    #[track_caller]
    fn check_watch(query: &str, expected: Result<(Option<u64>, bool, bool), u16>) {
        let start = watch_start(&info(query)).map(|start| (start.revision, start.existing, start.marked));
        assert_eq!(start.map_err(|status| status.code()), expected, "{query}");
    }

    #[test]
    fn lists_are_as_of_the_revision_asked_for() {
        check_list("", Ok(At::Now(None)));
        check_list("resourceVersion=0", Ok(At::Now(None)));
        check_list("resourceVersion=7", Ok(At::Now(Some(7))));
        check_list("resourceVersion=7&limit=1", Ok(At::Exactly(7)));
        check_list("resourceVersion=7&limit=1&resourceVersionMatch=NotOlderThan", Ok(At::Now(Some(7))));
        check_list("resourceVersion=7&resourceVersionMatch=Exact", Ok(At::Exactly(7)));
        check_list("resourceVersion=0&resourceVersionMatch=Exact", Err(422));
        check_list("resourceVersionMatch=Exact", Err(422));
        check_list("resourceVersion=7&resourceVersionMatch=Newest", Err(422));
        check_list("sendInitialEvents=true", Err(422));
        check_list("resourceVersion=x", Err(400));
    }

    #[test]
    fn watches_start_with_what_is_there_unless_they_follow_a_list() {
        check_watch("", Ok((None, true, false)));
        check_watch("resourceVersion=0", Ok((None, true, false)));
        check_watch("resourceVersion=7", Ok((Some(7), false, false)));
        let initial = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        check_watch(&format!("{initial}&allowWatchBookmarks=true"), Ok((None, true, true)));
        check_watch(&format!("{initial}&resourceVersion=7"), Ok((Some(7), true, false)));
        check_watch("sendInitialEvents=false&resourceVersionMatch=NotOlderThan", Ok((None, false, false)));
        check_watch("sendInitialEvents=true", Err(422));
        check_watch("sendInitialEvents=true&resourceVersionMatch=Exact", Err(422));
        check_watch("resourceVersionMatch=NotOlderThan", Err(422));
    }

    #[test]
    fn a_revision_of_another_life_is_refused() {
        let refused = not_too_new(Some(9), 8).unwrap_err();
        assert_eq!((refused.code(), refused.retry_after()), (504, Some(1)));
        assert_eq!(refused.to_json()["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
        assert!(not_too_new(Some(8), 8).is_ok());
    }
}
