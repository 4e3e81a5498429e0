//! Waiting for what must come, and telling what was there instead when it does not.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What a look at the cluster shows.
pub enum Seen<T> {
    /// What is waited for.
    Yes(T),
    /// Something else, described for the message after the deadline.
    NotYet(String),
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(150);

/// Looks until `look` sees it, at most `seconds`. An error of `look` ends the waiting: it says that looking is in vain.
pub async fn until<T>(what: &str, seconds: u64, mut look: impl AsyncFnMut() -> Result<Seen<T>>) -> Result<T> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match look().await? {
            Seen::Yes(value) => return Ok(value),
            Seen::NotYet(state) if Instant::now() > deadline => {
                bail!("waited {seconds} s in vain until {what}; last seen:\n{state}")
            }
            Seen::NotYet(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
