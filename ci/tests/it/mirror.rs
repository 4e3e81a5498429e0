//! The mirror as a real process that is killed, and over wires that break.

#[path = "../kill/world.rs"]
mod world;

use std::time::Duration;

use images::wire;
use world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_anywhere_leaves_nothing_incomplete_and_the_next_completes_it() {
    let mut world = World::new(wire::Options { delay: Duration::from_millis(1), cut_after: None }).await;
    world.kill_many(15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wires_that_break_delay_a_run_and_change_nothing() {
    let cut_after = Some(20_000..300_000);
    let mut world = World::new(wire::Options { delay: Duration::from_millis(1), cut_after }).await;
    world.complete().await;
}
