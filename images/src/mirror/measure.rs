//! How large what is new would be: its manifests are read, which sources count, and nothing else.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt};

use super::declaration::{Mirror, Rule};
use super::error::{MirrorFailure, name};
use super::plan::{Action, Plan, Step};
use super::survey::{Children, add_blobs, children};
use crate::client::Client;
use crate::digest::Digest;

/// Images measured side by side.
const SIDE_BY_SIDE: usize = 8;

/// Fills in the size of each image a plan would bring, every blob of it counted once. What cannot be read is returned.
pub async fn measure(client: &Client, mirror: &Mirror, plan: &mut Plan) -> Vec<MirrorFailure> {
    let outcomes: Vec<Result<(), MirrorFailure>> = stream::iter(plan.steps.iter_mut())
        .filter_map(|step| async move { Some((wanted(step)?, rule_of(mirror, step)?, step)) })
        .map(|(digest, rule, step)| async move {
            step.size = Some(size(client, rule, &step.tag, &digest).await?);
            Ok(())
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .collect()
        .await;
    outcomes.into_iter().filter_map(Result::err).collect()
}

/// What would come; of what is restored the lock knows the size.
fn wanted(step: &Step) -> Option<Digest> {
    match &step.action {
        Action::Add { to } | Action::Update { to, .. } => Some(to.clone()),
        _ => None,
    }
}

fn rule_of<'a>(mirror: &'a Mirror, step: &Step) -> Option<&'a Rule> {
    mirror.rules.iter().find(|rule| rule.destination.to_string() == step.destination)
}

async fn size(client: &Client, rule: &Rule, tag: &str, digest: &Digest) -> Result<u64, MirrorFailure> {
    let Children { top, manifests, .. } =
        children(client, &rule.source, &rule.platforms, tag, digest).await?;
    let mut blobs = BTreeMap::new();
    let mut documents = top.bytes.len() as u64;
    for (raw, _) in &manifests {
        add_blobs(&mut blobs, raw, &name(&rule.source, tag))?;
        documents += if raw.digest == top.digest { 0 } else { raw.bytes.len() as u64 };
    }
    Ok(documents + blobs.values().map(|blob| blob.size).sum::<u64>())
}
