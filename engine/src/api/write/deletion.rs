//! What a deletion does to an object: removes it, marks it, or nothing that is not under way already.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{metadata, options, strategy};
use crate::api::request::RequestInfo;
use crate::schema::{FieldError, Resource};
use crate::status::Status;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What becomes of the objects that the deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted afterwards.
    Background,
    /// They are deleted before.
    Foreground,
    /// They stay.
    Orphan,
}

/// How an object is to be deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds a pod gets; by default what it says itself.
    pub grace: Option<i64>,
    /// About owned objects; by default what the kind says.
    pub propagation: Option<Propagation>,
    /// The object has to have this uid.
    pub uid: Option<String>,
    /// And be in this state.
    pub resource_version: Option<String>,
    /// Nothing is stored.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Reads the body, or the query parameters when there is none.
    pub fn parse(body: Option<&Value>, info: &RequestInfo) -> Result<Self, Status> {
        let from_query;
        let sent = match body {
            Some(body) => body,
            None => {
                from_query = query_options(info)?;
                &from_query
            }
        };
        let text = |value: &Value| value.as_str().map(String::from);
        let mut faults = Vec::new();
        let mut propagation = match sent["propagationPolicy"].as_str() {
            None | Some("") => None,
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(_) => {
                let known = ["Foreground", "Background", "Orphan"];
                faults.push(FieldError::not_supported(
                    "propagationPolicy",
                    &sent["propagationPolicy"],
                    &known,
                ));
                None
            }
        };
        if let Some(orphan) = sent["orphanDependents"].as_bool() {
            if propagation.is_some() {
                let detail = "orphanDependents and deletionPropagation cannot be both set";
                faults.push(FieldError::invalid("propagationPolicy", &sent["propagationPolicy"], detail));
            }
            propagation = Some(if orphan { Propagation::Orphan } else { Propagation::Background });
        }
        let dry_run = sent["dryRun"].as_array().into_iter().flatten();
        for value in dry_run.clone().filter(|value| **value != "All") {
            faults.push(FieldError::not_supported("dryRun", value, &["All"]));
        }
        if !faults.is_empty() {
            return Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &options::causes(faults)));
        }
        Ok(Self {
            grace: sent["gracePeriodSeconds"].as_i64(),
            propagation,
            uid: text(&sent["preconditions"]["uid"]),
            resource_version: text(&sent["preconditions"]["resourceVersion"]),
            dry_run: dry_run.count() > 0,
        })
    }

    /// Whether the object is the one that was meant.
    pub fn check_preconditions(&self, resource: &Resource, object: &Value) -> Result<(), Status> {
        let conflict = |why: String| {
            let name = metadata::text(object, "name");
            Err(Status::conflict(&resource.group, &resource.plural, name, why))
        };
        let uid = metadata::text(object, "uid");
        if let Some(meant) = self.uid.as_ref().filter(|meant| *meant != uid) {
            return conflict(format!(
                "Precondition failed: UID in precondition: {meant}, UID in object meta: {uid}"
            ));
        }
        let version = metadata::text(object, "resourceVersion");
        match self.resource_version.as_ref().filter(|meant| *meant != version) {
            Some(meant) => conflict(format!(
                "Precondition failed: ResourceVersion in precondition: {meant}, ResourceVersion in object meta: {version}"
            )),
            None => Ok(()),
        }
    }

    /// The options object, as admission sees it.
    pub fn to_json(&self) -> Value {
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
        if let Some(grace) = self.grace {
            options["gracePeriodSeconds"] = json!(grace);
        }
        if let Some(propagation) = self.propagation {
            options["propagationPolicy"] = json!(format!("{propagation:?}"));
        }
        for (field, value) in [("uid", &self.uid), ("resourceVersion", &self.resource_version)] {
            if let Some(value) = value {
                options["preconditions"][field] = json!(value);
            }
        }
        if self.dry_run {
            options["dryRun"] = json!(["All"]);
        }
        options
    }
}

fn query_options(info: &RequestInfo) -> Result<Value, Status> {
    let mut sent = json!({"dryRun": info.params("dryRun").collect::<Vec<_>>()});
    match info.param("gracePeriodSeconds") {
        "" => {}
        text => {
            let seconds: i64 = text.parse().map_err(|error| {
                Status::bad_request(format!("gracePeriodSeconds {text:?} is no number: {error}"))
            })?;
            sent["gracePeriodSeconds"] = json!(seconds);
        }
    }
    if !info.param("propagationPolicy").is_empty() {
        sent["propagationPolicy"] = json!(info.param("propagationPolicy"));
    }
    if !info.param("orphanDependents").is_empty() {
        sent["orphanDependents"] = json!(info.flag("orphanDependents"));
    }
    Ok(sent)
}

/// What a deletion does.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// The object goes at once.
    Remove,
    /// It is written like this, and goes when others are done with it.
    Mark(Value),
    /// It is being deleted already, and this adds nothing.
    Nothing,
}

/// Decides on the deletion of `object`.
pub fn decide(resource: &Resource, object: &Value, options: &DeleteOptions, now: Timestamp) -> Decision {
    let mut next = object.clone();
    let finalizers = finalizers(resource, object, options);
    let waits = !finalizers.is_empty();
    metadata::set(&mut next, "finalizers", if waits { json!(finalizers) } else { Value::Null });
    let terminating = metadata::is_terminating(object);
    match strategy::id(resource) {
        ("", "pods") => {
            let running = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
            let grace = match options.grace {
                // Only less time than before may be given.
                asked if terminating => asked.map_or(running, |asked| asked.min(running)),
                asked => grace_of(object, asked),
            };
            if grace <= 0 && !waits {
                return Decision::Remove;
            }
            if !terminating {
                mark(&mut next, now, grace);
            } else if grace < running {
                shorten(&mut next, running, grace);
            }
        }
        ("", "namespaces") => {
            let kept = object["spec"]["finalizers"].as_array().is_some_and(|kept| !kept.is_empty());
            if terminating && !kept && !waits {
                return Decision::Remove;
            }
            next["status"]["phase"] = json!("Terminating");
            if !terminating {
                mark(&mut next, now, 0);
            }
        }
        _ if !waits => return Decision::Remove,
        _ if !terminating => mark(&mut next, now, 0),
        _ => {}
    }
    if next == *object { Decision::Nothing } else { Decision::Mark(next) }
}

/// Whether an object, written without its last finalizer, is to go now.
pub fn is_finished(resource: &Resource, object: &Value) -> bool {
    metadata::is_terminating(object)
        && metadata::finalizers(object).next().is_none()
        && object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && (strategy::id(resource) != ("", "namespaces")
            || object["spec"]["finalizers"].as_array().is_none_or(Vec::is_empty))
}

fn mark(object: &mut Value, now: Timestamp, grace: i64) {
    let end = now.saturating_add(SignedDuration::from_secs(grace)).unwrap_or(now);
    metadata::set(object, "deletionTimestamp", json!(metadata::time_text(end)));
    metadata::set(object, "deletionGracePeriodSeconds", json!(grace));
    // Controllers that compare generations look again.
    if let Some(generation) = object["metadata"]["generation"].as_i64().filter(|generation| *generation > 0) {
        metadata::set(object, "generation", json!(generation + 1));
    }
}

fn shorten(object: &mut Value, running: i64, grace: i64) {
    let end = metadata::text(object, "deletionTimestamp").parse::<Timestamp>();
    if let Ok(end) = end.and_then(|end| end.checked_sub(SignedDuration::from_secs(running - grace))) {
        metadata::set(object, "deletionTimestamp", json!(metadata::time_text(end)));
    }
    metadata::set(object, "deletionGracePeriodSeconds", json!(grace));
}

/// Seconds a pod gets to end; none when nothing of it runs.
fn grace_of(pod: &Value, asked: Option<i64>) -> i64 {
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if ended || pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
        return 0;
    }
    let seconds = asked.or(pod["spec"]["terminationGracePeriodSeconds"].as_i64()).unwrap_or(0);
    if seconds < 0 { 1 } else { seconds }
}

/// The finalizers during the deletion: those of others, and the one that says what the garbage collector has to do.
fn finalizers(resource: &Resource, object: &Value, options: &DeleteOptions) -> Vec<String> {
    let had = |finalizer: &str| metadata::finalizers(object).any(|known| known == finalizer);
    // Jobs leave their pods alone unless told otherwise, as they always did.
    let orphans = matches!(strategy::id(resource), ("batch", "jobs") | ("", "replicationcontrollers"));
    let own = match options.propagation {
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Background) => None,
        None if had(ORPHAN) => Some(ORPHAN),
        None if had(FOREGROUND) => Some(FOREGROUND),
        None => orphans.then_some(ORPHAN),
    };
    let others = metadata::finalizers(object).filter(|finalizer| ![ORPHAN, FOREGROUND].contains(finalizer));
    others.chain(own).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Registry;

    const NOW: &str = "2026-01-01T00:01:00Z";

    fn delete(group: &str, plural: &str, object: &Value, options: Value) -> Decision {
        let resource = Registry::builtin().resource(group, "v1", plural).unwrap();
        let options = DeleteOptions::parse(Some(&options), &RequestInfo::default()).unwrap();
        decide(&resource, object, &options, NOW.parse().unwrap())
    }

    fn marked(decision: Decision) -> Value {
        match decision {
            Decision::Mark(object) => object["metadata"].clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_finalizers_an_object_goes_at_once() {
        let object = json!({"metadata": {"name": "a", "generation": 1}});
        assert_eq!(delete("", "configmaps", &object, json!({})), Decision::Remove);
    }

    #[test]
    fn finalizers_keep_a_marked_object() {
        let object = json!({"metadata": {"name": "a", "generation": 1, "finalizers": ["x/y"]}});
        let metadata =
            marked(delete("apps", "deployments", &object, json!({"propagationPolicy": "Foreground"})));
        assert_eq!(
            metadata,
            json!({"name": "a", "generation": 2, "finalizers": ["x/y", "foregroundDeletion"],
                "deletionTimestamp": NOW, "deletionGracePeriodSeconds": 0})
        );
        let again = json!({"metadata": metadata});
        assert_eq!(delete("apps", "deployments", &again, json!({})), Decision::Nothing);
        let orphaned = marked(delete("apps", "deployments", &again, json!({"orphanDependents": true})));
        assert_eq!(orphaned["finalizers"], json!(["x/y", "orphan"]));
        assert_eq!(orphaned["generation"], 2);
    }

    #[test]
    fn jobs_orphan_their_pods_by_default() {
        let job = json!({"metadata": {"name": "a"}});
        assert_eq!(marked(delete("batch", "jobs", &job, json!({})))["finalizers"], json!(["orphan"]));
        assert_eq!(
            delete("batch", "jobs", &job, json!({"propagationPolicy": "Background"})),
            Decision::Remove
        );
    }

    #[test]
    fn pods_get_the_time_they_need() {
        let pod = |node: &str, phase: &str| {
            json!({"metadata": {"name": "a", "generation": 1}, "spec": {"nodeName": node, "terminationGracePeriodSeconds": 30},
                "status": {"phase": phase}})
        };
        assert_eq!(delete("", "pods", &pod("", "Pending"), json!({})), Decision::Remove);
        assert_eq!(delete("", "pods", &pod("n", "Succeeded"), json!({})), Decision::Remove);
        let running = pod("n", "Running");
        assert_eq!(delete("", "pods", &running, json!({"gracePeriodSeconds": 0})), Decision::Remove);
        let metadata = marked(delete("", "pods", &running, json!({})));
        assert_eq!(metadata["deletionTimestamp"], "2026-01-01T00:01:30Z");
        assert_eq!(
            (&metadata["deletionGracePeriodSeconds"], &metadata["generation"]),
            (&json!(30), &json!(2))
        );

        let mut ending = running;
        ending["metadata"] = metadata;
        assert_eq!(delete("", "pods", &ending, json!({})), Decision::Nothing);
        assert_eq!(delete("", "pods", &ending, json!({"gracePeriodSeconds": 60})), Decision::Nothing);
        let sooner = marked(delete("", "pods", &ending, json!({"gracePeriodSeconds": 10})));
        assert_eq!(sooner["deletionTimestamp"], "2026-01-01T00:01:10Z");
        assert_eq!(delete("", "pods", &ending, json!({"gracePeriodSeconds": 0})), Decision::Remove);
    }

    #[test]
    fn a_namespace_ends_when_it_is_finalized() {
        let mut namespace = json!({"metadata": {"name": "a"}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
        namespace["metadata"] = marked(delete("", "namespaces", &namespace, json!({})));
        namespace["status"]["phase"] = json!("Terminating");
        let resource = Registry::builtin().resource("", "v1", "namespaces").unwrap();
        assert_eq!(delete("", "namespaces", &namespace, json!({})), Decision::Nothing);
        assert!(!is_finished(&resource, &namespace));
        namespace["spec"]["finalizers"] = json!([]);
        assert!(is_finished(&resource, &namespace));
        assert_eq!(delete("", "namespaces", &namespace, json!({})), Decision::Remove);
    }

    #[test]
    fn preconditions_name_the_object_that_is_meant() {
        let resource = Registry::builtin().resource("", "v1", "pods").unwrap();
        let object = json!({"metadata": {"name": "a", "uid": "1", "resourceVersion": "5"}});
        let check = |options: Value| {
            let options = DeleteOptions::parse(Some(&options), &RequestInfo::default()).unwrap();
            options.check_preconditions(&resource, &object).map_err(|status| status.message().to_owned())
        };
        assert_eq!(check(json!({"preconditions": {"uid": "1", "resourceVersion": "5"}})), Ok(()));
        assert_eq!(
            check(json!({"preconditions": {"uid": "2"}})).unwrap_err(),
            r#"Operation cannot be fulfilled on pods "a": Precondition failed: UID in precondition: 2, UID in object meta: 1"#
        );
        assert!(check(json!({"preconditions": {"resourceVersion": "4"}})).is_err());
    }
}
