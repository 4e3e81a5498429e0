//! A recipe file: sound, or an error that says where.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(error) = images::recipe::parse("images.toml", text) {
        assert!(error.to_string().starts_with("images.toml:"), "{error}");
    }
});
