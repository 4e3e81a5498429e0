//! The mirror to Docker's registry, killed.

use std::time::Duration;

use ci::bench::registry::Kind;
use images::wire;

use crate::world::{LARGE, World};

/// Docker's registry (2.8) gives up an upload whose connection ends within a request: what it has is more than it told last, and it answers
/// 404 to whoever asks for the rest. So the bytes are sent again, but they do not come from the source again.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_killed_is_sent_again_where_the_registry_gave_it_up() {
    let mut world = World::large(Kind::Docker).await;
    world.kill_uploading(LARGE / 2).await;
    world.complete().await;
    let [received, sent] = world.moved();
    assert!(received < LARGE / 4 * 3, "{received} bytes came after half of {LARGE} had");
    assert!((LARGE..LARGE + LARGE / 4).contains(&sent), "{sent} bytes of {LARGE} were sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_anywhere_is_completed_by_the_next() {
    let wires = wire::Options { delay: Duration::from_millis(1), ..wire::Options::default() };
    let mut world = World::new(wires, Kind::Docker).await;
    world.kill_many(25).await;
}
