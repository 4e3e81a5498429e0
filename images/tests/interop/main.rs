//! Against other people's programs: our client with Docker's registry, our registry with skopeo and the conformance suite, our signatures with
//! cosign, our Containerfiles with buildah, podman and docker, our images with containerd, docker and podman.
//!
//! Needs these programs: run by name (`cargo test -p images --test interop`, or one module: `-- conformance`), never by a plain `cargo test`.
//!
//!     apt-get install docker-registry skopeo buildah podman docker.io containerd
//!     go install github.com/sigstore/cosign/v2/cmd/cosign@v2.6.5

#[cfg(test)]
#[path = "../it/content.rs"]
mod content;
#[cfg(test)]
#[path = "../it/workspace.rs"]
mod workspace;

// The distribution specification's own suite.
#[cfg(test)]
mod conformance;
// Images built by container engines.
#[cfg(test)]
mod container;
// Signatures.
#[cfg(test)]
mod cosign;
// Images pulled and pushed by container engines.
#[cfg(test)]
mod engines;
// Copies between registries.
#[cfg(test)]
mod mirror;
// Docker's registry, and skopeo.
#[cfg(test)]
mod registries;
