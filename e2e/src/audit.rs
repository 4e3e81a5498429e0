//! The audit trail, as anyone reads it: DataStorage's query, page by page.

use anyhow::{Context, Result, bail};
use api::audit::{AuditEvent, AuditQueryResponse, EVENTS_PATH};
use api::names::SYSTEM_NAMESPACE;

use crate::cluster::Cluster;
use crate::component::DATASTORAGE;
use crate::wait::{Seen, until};

/// Small, so that every scenario with more than one event reads more than one page.
const PAGE: usize = 2;

/// Every stored event of a remediation, oldest first.
pub async fn trail(cluster: &Cluster, correlation: &str) -> Result<Vec<AuditEvent>> {
    let mut events: Vec<AuditEvent> = Vec::new();
    loop {
        let path = format!("{EVENTS_PATH}?correlation_id={correlation}&limit={PAGE}&offset={}", events.len());
        let text = cluster.service_get(SYSTEM_NAMESPACE, DATASTORAGE, 8080, &path).await?;
        let page: AuditQueryResponse = serde_json::from_str(&text)
            .with_context(|| format!("DataStorage answered {path} with {text}"))?;
        let (more, empty) = (page.pagination.has_more, page.data.is_empty());
        events.extend(page.data);
        match (more, empty) {
            (false, _) => break,
            (true, true) => bail!("DataStorage promises more events of {correlation} and returns none"),
            (true, false) => {}
        }
    }
    events.sort_by_key(|event| event.event_timestamp);
    Ok(events)
}

/// Waits until the trail of a remediation has exactly these types, each once; more than that is an error at once.
pub async fn until_trail(cluster: &Cluster, correlation: &str, types: &[&str]) -> Result<Vec<AuditEvent>> {
    let mut expected = types.to_vec();
    expected.sort_unstable();
    until(&format!("the audit trail of {correlation} is {types:?}"), 60, async || {
        let events = match trail(cluster, correlation).await {
            Ok(events) => events,
            Err(error) => return Ok(Seen::NotYet(format!("{error:#}"))),
        };
        let mut stored: Vec<String> = events.iter().map(type_of).collect();
        stored.sort_unstable();
        if stored == expected {
            return Ok(Seen::Yes(events));
        }
        if stored.iter().any(|kind| stored.iter().filter(|other| *other == kind).count() > 1) {
            bail!("the audit trail of {correlation} has an event twice: {stored:?}");
        }
        Ok(Seen::NotYet(format!("{stored:?}")))
    })
    .await
}

/// An event's type as text.
pub fn type_of(event: &AuditEvent) -> String {
    event.event_type.to_string()
}
