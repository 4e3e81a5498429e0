//! The API server.

pub mod authenticate;
pub mod rbac;
pub mod request;
pub mod selector;
pub mod token;
pub mod user;
