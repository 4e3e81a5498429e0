//! The webhook as a whole, with the API server played at the wire.

#[cfg(test)]
mod api_server;
#[cfg(test)]
#[expect(dead_code, reason = "other services read more of a span")]
#[path = "../../../telemetry/tests/played/collector.rs"]
mod collector;

// Replicas that share a certificate, renew it, and are called all the while.
#[cfg(test)]
mod rotation;

// Events on their way to a DataStorage that is not always there.
#[cfg(test)]
mod reports;

// The program.
#[cfg(test)]
mod process;
