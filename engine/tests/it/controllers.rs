//! The controllers as clients of the API server in this process, under the roles they really have. The test plays the kubelet.

mod cluster;

mod namespaces;
mod ownership;
mod volumes;
mod workloads;
