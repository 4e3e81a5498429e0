//! Integration tests of the engine.

#[cfg(test)]
mod isolation;
#[cfg(test)]
mod role;
