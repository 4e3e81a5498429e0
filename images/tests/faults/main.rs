//! The long form of the rounds in `it`: a thousand networks. Minutes, so it is run by name: `cargo test --workspace --test faults`.

#[cfg(test)]
#[expect(dead_code, reason = "other suites use more of it")]
#[path = "../it/content.rs"]
mod content;
#[cfg(test)]
mod rounds;

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_over_a_thousand_bad_networks_is_complete_in_the_end_and_never_half_visible() {
    rounds::rounds(1_000..2_000).await;
}
