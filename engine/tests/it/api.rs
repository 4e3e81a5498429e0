//! The API server in-process: requests as clients send them, through the whole chain.

mod admission;
mod connect;
mod hook;
mod review;
mod server;
mod writes;
