//! From declaration to verdict: pipelines, plan, tiers, gates, events and reports.

pub mod event;
pub mod requirements;
