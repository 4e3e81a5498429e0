//! A manifest or index of anybody: what is accepted means the same when it is written and read again.
#![no_main]

use images::document::{ImageConfig, Index, Manifest};
use libfuzzer_sys::fuzz_target;
use serde_json::{from_slice, to_vec};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = from_slice::<Manifest>(bytes) {
        assert_eq!(from_slice::<Manifest>(&to_vec(&manifest).unwrap()).unwrap(), manifest);
    }
    if let Ok(index) = from_slice::<Index>(bytes) {
        assert_eq!(from_slice::<Index>(&to_vec(&index).unwrap()).unwrap(), index);
    }
    let _config = from_slice::<ImageConfig>(bytes);
});
