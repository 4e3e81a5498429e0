//! Kubernetes events about an object.

use anyhow::Result;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};

use crate::cluster::{Cluster, NAMESPACE};

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// `Normal` or `Warning`.
    pub kind: String,
    /// One word.
    pub reason: String,
    /// In words.
    pub note: String,
    /// Who says so.
    pub reporter: String,
}

/// Every event about the object with this uid.
pub async fn of(cluster: &Cluster, uid: &str) -> Result<Vec<Told>> {
    let api = Api::<Event>::namespaced(cluster.client.clone(), NAMESPACE);
    let all = api.list(&ListParams::default()).await?;
    let about = all.items.into_iter().filter(|event| {
        event.regarding.as_ref().is_some_and(|regarding| regarding.uid.as_deref() == Some(uid))
    });
    let told = about.map(|event| Told {
        kind: event.type_.unwrap_or_default(),
        reason: event.reason.unwrap_or_default(),
        note: event.note.unwrap_or_default(),
        reporter: event.reporting_controller.unwrap_or_default(),
    });
    Ok(told.collect())
}
