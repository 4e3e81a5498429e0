//! datastorage
