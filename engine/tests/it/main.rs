//! Integration tests of the engine.

#[cfg(test)]
mod api;
#[cfg(test)]
mod controllers;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod node;
#[cfg(test)]
mod role;
