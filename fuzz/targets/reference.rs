//! A reference as somebody typed it: what is accepted is written the way it was read, and climbs nowhere.
#![no_main]

use images::{Destination, Digest, Platform, Reference};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string(), text);
        assert!(!reference.repository.contains(".."));
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(destination) = text.parse::<Destination>() {
        assert!(!destination.repository("app").contains(".."));
    }
    let _platform = text.parse::<Platform>();
});
