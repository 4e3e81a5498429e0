//! The chain every request goes through before it is answered.
