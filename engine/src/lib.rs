//! An embedded Kubernetes in one process: API server, controllers, service routing and one node that runs pods from real
//! images in Linux namespaces.
//!
//! It stands in for a cluster where no container engine exists, with the same kubeconfig, manifests, images and tests. It is
//! not a production cluster: one node, state in memory only, no encryption at rest, persistent volumes that are directories of
//! the node, no conversion webhooks, no CEL libraries of Kubernetes, answers in JSON only (protobuf is read, not written), no
//! published OpenAPI v2 types, no autoscaling, no `exec`, `attach` or `port-forward`.

pub mod api;
pub mod bootstrap;
pub mod controllers;
pub mod expression;
pub mod isolation;
pub mod kubelet;
pub mod managed_fields;
pub mod node;
pub mod patch;
pub mod pki;
pub mod run;
pub mod schema;
pub mod services;
pub mod status;
pub mod store;
mod unverified_tls;
