//! The parts of a run that need a real cargo, real processes and real time.

// All of it, for a product of its own.
#[cfg(test)]
mod example;
// What is refused, and what is said then.
#[cfg(test)]
mod refusals;
// One lock for mirror, builds and clusters.
#[cfg(test)]
mod lock;
// Tiers, gates and what test binaries do to them.
#[cfg(test)]
mod ladder;
// The mirror as a process that is killed.
#[cfg(test)]
mod mirror;
// Where commands are run.
#[cfg(test)]
mod workspace;
