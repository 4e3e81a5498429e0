//! What only shows with real files or a real API server.

/// The declaration of this workspace is consistent, and deploys the same objects with `kubectl apply -k`.
mod declaration;
