//! Reading the trail with its chains, for people who want proof.

use std::collections::{BTreeMap, HashSet};

use api::audit::VerifyChainResponse;
use uuid::Uuid;

use super::either::snapshot;
use super::{DatabaseError, Filter, Repository};
use crate::chain::{self, ChainedEvent};

/// Correlations read at once.
const PAGE: i64 = 500;

/// An event to hand out, with what is known about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Exported {
    /// The event with its place in the chain.
    pub link: ChainedEvent,
    /// Whether it is as it was accepted, judged over its correlation's whole chain.
    pub is_valid: bool,
    /// Whether it is under legal hold.
    pub is_held: bool,
}

impl Repository {
    /// The page of events that `filter` asks for, oldest first, and how many match in all.
    pub async fn export(&self, filter: &Filter) -> Result<(Vec<Exported>, u64), DatabaseError> {
        let (links, total) = self.links(filter, Order::OldestFirst).await?;
        let held: HashSet<String> = self.holds().await?.into_iter().map(|hold| hold.correlation_id).collect();
        let mut tampered: BTreeMap<String, HashSet<Uuid>> = BTreeMap::new();
        let mut exported = Vec::with_capacity(links.len());
        for link in links {
            let correlation = &link.event.correlation_id;
            if !tampered.contains_key(correlation) {
                // Only the whole chain can be judged: a window of it has no beginning.
                let broken = chain::tampered(&self.chain(correlation).await?);
                let broken = broken.into_iter().map(|event| event.event_id).collect();
                tampered.insert(correlation.clone(), broken);
            }
            let broken =
                tampered.get(correlation).is_some_and(|broken| broken.contains(&link.event.event_id));
            exported.push(Exported { is_valid: !broken, is_held: held.contains(correlation), link });
        }
        Ok((exported, total))
    }

    /// The events of a correlation with their places in its chain, in the order of acceptance.
    pub async fn chain(&self, correlation_id: &str) -> Result<Vec<ChainedEvent>, DatabaseError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.chain(correlation_id).await,
            Self::Postgres(postgres) => postgres.chain(correlation_id).await,
        }
    }

    /// Verifies the chain of every correlation and hands each verdict to `each`.
    pub async fn verify_all(&self, mut each: impl FnMut(VerifyChainResponse)) -> Result<(), DatabaseError> {
        let mut last = String::new();
        loop {
            let page: Vec<String> = snapshot!(self, |connection| {
                sqlx::query_scalar(
                    "SELECT DISTINCT correlation_id FROM audit_events WHERE correlation_id > $1 \
                     ORDER BY correlation_id LIMIT $2",
                )
                .bind(&last)
                .bind(PAGE)
                .fetch_all(connection)
                .await?
            });
            let Some(newest) = page.last() else { return Ok(()) };
            last.clone_from(newest);
            for correlation in &page {
                each(self.verify_chain(correlation).await?);
            }
        }
    }

    pub(super) async fn links(
        &self,
        filter: &Filter,
        order: Order,
    ) -> Result<(Vec<ChainedEvent>, u64), DatabaseError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.links(filter, order).await,
            Self::Postgres(postgres) => postgres.links(filter, order).await,
        }
    }
}

/// In which order events are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    NewestFirst,
    OldestFirst,
}

impl Order {
    /// The clause that follows the conditions. Columns are named with their table: without, PostgreSQL sorts by what is selected under the same
    /// name, which is another type, and no index helps.
    pub(super) fn clause(self) -> &'static str {
        match self {
            Self::NewestFirst => {
                " ORDER BY audit_events.event_timestamp DESC, audit_events.event_id DESC LIMIT "
            }
            Self::OldestFirst => " ORDER BY audit_events.event_timestamp, audit_events.event_id LIMIT ",
        }
    }
}
