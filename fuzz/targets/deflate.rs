//! Any bytes, written in parts of any size: what is packed unpacks to the same, and the size of the parts changes nothing.
#![no_main]

use std::io::{Read, Write};

use deflate::GzipWriter;
use flate2::read::GzDecoder;
use libfuzzer_sys::fuzz_target;

fn packed(bytes: &[u8], part: usize) -> Vec<u8> {
    let mut writer = GzipWriter::new(Vec::new()).expect("a vector takes everything");
    for part in bytes.chunks(part) {
        writer.write_all(part).expect("a vector takes everything");
    }
    writer.finish().expect("a vector takes everything")
}

fuzz_target!(|input: (u16, u16, &[u8])| {
    let (part, times, bytes) = input;
    // Repeated, so that blocks are filled and windows slide.
    let bytes = bytes.repeat(1 + usize::from(times));
    let bytes = &bytes[..bytes.len().min(1 << 19)];
    let whole = packed(bytes, usize::MAX);
    assert!(whole == packed(bytes, 1 + usize::from(part)));
    let mut back = Vec::new();
    GzDecoder::new(whole.as_slice()).read_to_end(&mut back).expect("what was packed is sound");
    assert!(back == bytes);
});
