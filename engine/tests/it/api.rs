//! The API server in-process: requests as clients send them, through the whole chain.

mod admission;
mod chain;
mod connect;
mod connections;
mod hook;
mod read;
mod review;
pub mod server;
mod writes;
