//! A layer of anybody: read to its end or to an error, with paths that stay inside.
#![no_main]

use std::io;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _outcome = images::layer::read::each_entry(bytes, |path, entry| {
        assert!(path.starts_with('/') && !path.split('/').any(|part| part == ".."), "{path}");
        io::copy(entry, &mut io::sink())?;
        Ok::<_, io::Error>(())
    });
});
