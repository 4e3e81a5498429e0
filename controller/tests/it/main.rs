//! The controller on an API server in this process, with the rights its manifests give it. DataStorage, the kubelet and Tekton are
//! played by the tests, at the API and on the wire.

// What the tests stand on.
#[cfg(test)]
mod census;
#[cfg(test)]
mod cluster;
#[cfg(test)]
#[path = "../../../telemetry/tests/played/collector.rs"]
mod collector;
#[cfg(test)]
mod process;
#[cfg(test)]
mod service;
#[cfg(test)]
mod spy;
#[cfg(test)]
mod storage;

// The custom resource, as the API server sees it.
#[cfg(test)]
mod definition;
// From creation to the end.
#[cfg(test)]
mod lifecycle;
// The engine `tekton`.
#[cfg(test)]
mod tekton;
// DataStorage in every bad mood.
#[cfg(test)]
mod outbox;
// Killed anywhere.
#[cfg(test)]
mod crash;
// Many replicas, one leader.
#[cfg(test)]
mod leader;
// Health and logs.
#[cfg(test)]
mod health;
// What a collector is told.
#[cfg(test)]
mod spans;
