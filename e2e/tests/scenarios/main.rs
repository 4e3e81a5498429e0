//! What the product promises, tried on a running cluster.

// From creation to the end, and what is left behind.
mod lifecycle;
// One at a time on each target.
mod target;
// Ends that nobody planned.
mod deletion;
// Who did what, exactly once.
mod audit;
// What happens when parts of the product are killed.
mod faults;
// Clearing the block that a failed execution leaves.
mod clearance;
// Deciding about remediations and cancelling notifications.
mod decisions;
// What operators see.
mod observability;
