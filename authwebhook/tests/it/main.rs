//! The webhook as a whole, with the API server played at the wire.

#[cfg(test)]
mod api_server;

// Replicas that share a certificate, renew it, and are called all the while.
#[cfg(test)]
mod rotation;

// Events on their way to a DataStorage that is not always there.
#[cfg(test)]
mod reports;
