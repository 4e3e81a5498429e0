//! The parts of a run that need a real cargo, real processes and real time.

// Tiers, gates and what test binaries do to them.
#[cfg(test)]
mod ladder;
