//! The single requests of an apply: send one object, wait for a definition, delete what is ours.

use std::time::Duration;

use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::runtime::wait::await_condition;
use kube::{Error, ResourceExt};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::discovery::Directory;
use super::{ApplyError, RenderedComponent};
use crate::event::{Change, DeployEvent, Observer};
use crate::object::{Object, ObjectId, items, text};
use crate::{FIELD_MANAGER, MANAGED_BY_LABEL};

/// How long a definition may take from accepted to served.
const ESTABLISHED_WITHIN: Duration = Duration::from_secs(30);

/// Between two attempts when the API server is not ready for an object yet.
const RETRY_EVERY: Duration = Duration::from_millis(200);

/// Applies one object; keeps trying, within the component's deadline, while the API server says "not yet".
pub(super) async fn object(
    directory: &Directory,
    component: &RenderedComponent,
    object: &Object,
    observer: Observer<'_>,
) -> Result<(), ApplyError> {
    let deadline = Instant::now() + component.deadline;
    let mut last_reason = String::new();
    let change = loop {
        let outcome = attempt(directory, object).await;
        let reason = match outcome {
            Ok(Some(change)) => break change,
            Ok(None) if Instant::now() < deadline && !served_kinds_are_fixed(object) => {
                "its kind is not served yet".to_owned()
            }
            Ok(None) => return Err(unknown_kind(component, object)),
            Err(error) if Instant::now() < deadline && is_transient(&error) => error_text(&error),
            Err(error) => return Err(refused(component, object, error)),
        };
        if reason != last_reason {
            let (component, object) = (component.name.clone(), object.id());
            observer(DeployEvent::Retrying { component, object, reason: reason.clone() });
            last_reason = reason;
        }
        sleep(RETRY_EVERY).await;
    };
    observer(DeployEvent::Applied { component: component.name.clone(), object: object.id(), change });
    Ok(())
}

/// One attempt; `None` when the cluster does not serve the kind.
async fn attempt(directory: &Directory, object: &Object) -> Result<Option<Change>, Error> {
    let Some(api) = directory.api(object.api_version(), object.kind(), object.namespace()).await? else {
        return Ok(None);
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let patch = Patch::Apply(&object.value);
    let before = api.get_metadata_opt(object.name()).await?;
    let after = match api.patch(object.name(), &params, &patch).await {
        // A Job's pod template cannot change; a new image means a new Job.
        Err(Error::Api(status)) if object.kind() == "Job" && before.is_some() && status.code == 422 => {
            delete_and_wait(&api, object.name()).await?;
            api.patch(object.name(), &params, &patch).await?;
            return Ok(Some(Change::Replaced));
        }
        outcome => outcome?,
    };
    Ok(Some(match before {
        None => Change::Created,
        Some(before) if before.metadata.resource_version == after.metadata.resource_version => {
            Change::Unchanged
        }
        Some(_) => Change::Configured,
    }))
}

async fn delete_and_wait(api: &Api<DynamicObject>, name: &str) -> Result<(), Error> {
    api.delete(name, &DeleteParams::foreground()).await?;
    let gone = |object: Option<&DynamicObject>| object.is_none();
    // When it does not go away in time, the apply that follows says why.
    let _ = timeout(ESTABLISHED_WITHIN, await_condition(api.clone(), name, gone)).await;
    Ok(())
}

/// Waits until a definition is served, so that objects of its kind can follow.
pub(super) async fn established(
    directory: &Directory,
    component: &RenderedComponent,
    definition: &Object,
) -> Result<(), ApplyError> {
    if definition.kind() != "CustomResourceDefinition" {
        return Ok(());
    }
    let api = match directory.api(definition.api_version(), definition.kind(), None).await {
        Ok(Some(api)) => api,
        Ok(None) => return Err(unknown_kind(component, definition)),
        Err(error) => return Err(refused(component, definition, error)),
    };
    let is_established = |object: Option<&DynamicObject>| {
        object.is_some_and(|object| {
            items(&object.data, "/status/conditions").iter().any(|condition| {
                text(condition, "/type") == "Established" && text(condition, "/status") == "True"
            })
        })
    };
    let waited =
        timeout(ESTABLISHED_WITHIN, await_condition(api.clone(), definition.name(), is_established)).await;
    if matches!(waited, Ok(Ok(_))) {
        return Ok(());
    }
    let live = api.get(definition.name()).await;
    let message = match live {
        Ok(live) => conditions(&live.data),
        Err(error) => error_text(&error),
    };
    let (component, name) = (component.name.clone(), definition.name().to_owned());
    Err(ApplyError::NotEstablished { component, name, after: ESTABLISHED_WITHIN, message })
}

fn conditions(data: &Value) -> String {
    let each = items(data, "/status/conditions").iter().map(|condition| {
        format!("{}={} {}", text(condition, "/type"), text(condition, "/status"), text(condition, "/message"))
    });
    let all = each.collect::<Vec<_>>().join("; ");
    if all.is_empty() { "it has no conditions yet".to_owned() } else { all }
}

/// Deletes an object that left the declaration, unless somebody else has taken it over. True when it was deleted.
pub(super) async fn delete_ours(directory: &Directory, id: &ObjectId) -> Result<bool, ApplyError> {
    delete_if(directory, id, |live| {
        live.labels().get(MANAGED_BY_LABEL).map(String::as_str) == Some(FIELD_MANAGER)
    })
    .await
}

/// Deletes an object whoever made it. True when it was there.
pub(super) async fn delete(directory: &Directory, id: &ObjectId) -> Result<bool, ApplyError> {
    delete_if(directory, id, |_| true).await
}

async fn delete_if(
    directory: &Directory,
    id: &ObjectId,
    condition: impl Fn(&PartialObjectMeta<DynamicObject>) -> bool,
) -> Result<bool, ApplyError> {
    let failed = |source| ApplyError::Prune { object: Box::new(id.clone()), source: Box::new(source) };
    let Some(api) =
        directory.api_of_group(&id.group, &id.kind, id.namespace.as_deref()).await.map_err(failed)?
    else {
        // Its definition is gone and took the object along.
        return Ok(false);
    };
    let Some(live) = api.get_metadata_opt(&id.name).await.map_err(failed)?.filter(|live| condition(live))
    else {
        return Ok(false);
    };
    let preconditions = Preconditions { uid: live.metadata.uid, resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    match api.delete(&id.name, &params).await {
        Ok(_) => Ok(true),
        Err(Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

/// Kinds of the built-in groups do not appear later.
fn served_kinds_are_fixed(object: &Object) -> bool {
    !object.group().contains('.') || object.group().ends_with(".k8s.io")
}

/// Whether the same request may be accepted a moment later.
fn is_transient(error: &Error) -> bool {
    match error {
        Error::Api(status) => {
            let terminating = status.code == 403 && status.message.contains("being terminated");
            let webhook = status.code == 500 && status.message.contains("failed calling webhook");
            matches!(status.code, 429 | 503 | 504) || terminating || webhook
        }
        Error::HyperError(_) | Error::Service(_) => true,
        _ => false,
    }
}

/// What the API server said, without the client's wrapping.
pub(crate) fn error_text(error: &Error) -> String {
    match error {
        Error::Api(status) => status.message.clone(),
        other => {
            let mut sentence = other.to_string();
            let mut cause = std::error::Error::source(other);
            while let Some(inner) = cause {
                let inner_text = inner.to_string();
                if !sentence.contains(&inner_text) {
                    sentence = format!("{sentence}: {inner_text}");
                }
                cause = inner.source();
            }
            sentence
        }
    }
}

fn unknown_kind(component: &RenderedComponent, object: &Object) -> ApplyError {
    ApplyError::UnknownKind {
        component: component.name.clone(),
        object: Box::new(object.id()),
        place: object.place(),
        kind: object.kind().to_owned(),
        api_version: object.api_version().to_owned(),
    }
}

fn refused(component: &RenderedComponent, object: &Object, error: Error) -> ApplyError {
    let hint = match &error {
        Error::Api(status) if status.code == 422 && status.message.contains("immutable") => {
            let (kind, name) = (object.kind().to_lowercase(), object.name());
            let namespace =
                object.namespace().map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
            Some(format!(
                "the field cannot be changed in place; delete the object first: kubectl delete {kind} {name}{namespace}"
            ))
        }
        Error::Api(status) if status.code == 403 => {
            Some("this identity may not write it; use an administrator's kubeconfig".to_owned())
        }
        Error::HyperError(_) | Error::Service(_) => Some("the cluster does not answer; is it up?".to_owned()),
        _ => None,
    };
    ApplyError::Refused {
        component: component.name.clone(),
        object: Box::new(object.id()),
        place: object.place(),
        source: Box::new(error),
        hint,
    }
}
