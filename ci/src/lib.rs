//! From declaration to verdict: pipelines, plan, tiers, gates, events and reports.

pub mod declaration;
pub mod event;
pub mod facts;
pub mod plan;
pub mod report;
pub mod requirements;
pub mod spec;
