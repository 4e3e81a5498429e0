//! The long form of the test in `it/mirror.rs`: `slipway mirror sync` killed 250 times. Minutes, so it is run by name:
//! `cargo test --workspace --test kill`.

#[cfg(test)]
#[expect(dead_code, reason = "the tests in `it` use more of it")]
mod world;

use std::time::Duration;

use ci::bench::registry::Kind;
use images::wire;
use world::World;

#[tokio::test(flavor = "multi_thread")]
async fn killed_250_times_at_random_points_it_completes_and_no_tag_names_anything_incomplete() {
    let wires = wire::Options { delay: Duration::from_millis(1), ..wire::Options::default() };
    let mut world = World::new(wires, Kind::InProcess).await;
    world.kill_many(250).await;
}
