use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::*;

fn packed(bytes: &[u8], cut: usize) -> Vec<u8> {
    let mut writer = GzipWriter::new(Vec::new()).unwrap();
    for part in bytes.chunks(cut) {
        writer.write_all(part).unwrap();
    }
    writer.finish().unwrap()
}

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    MultiGzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Numbers that look random and are always the same (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Noise, runs, and copies from near and far, of all lengths.
fn mixture(seed: u64, length: usize) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    let alphabet = 1 + numbers.below(256);
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let count = 1 + numbers.below(400);
        match numbers.below(4) {
            0 => bytes.extend((0..count).map(|_| numbers.below(alphabet) as u8)),
            1 => bytes.extend(std::iter::repeat_n(numbers.below(alphabet) as u8, count)),
            _ if bytes.is_empty() => {}
            _ => {
                let back = 1 + numbers.below(bytes.len().min(70_000));
                for _ in 0..count {
                    bytes.push(bytes[bytes.len() - back]);
                }
            }
        }
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn what_is_packed_is_unpacked_again() {
    for length in [0, 1, 2, 15, 16, 17, 33, 300, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 77] {
        for seed in 0..8 {
            let bytes = mixture(seed + length as u64, length);
            assert!(unpacked(&packed(&bytes, usize::MAX)) == bytes, "seed {seed}, {length} bytes");
        }
    }
}

#[test]
fn zeros_are_no_match_for_what_came_before_the_beginning() {
    for length in [20, 5_000, 3 * BLOCK] {
        let bytes = vec![0; length];
        let packed = packed(&bytes, usize::MAX);
        assert!(unpacked(&packed) == bytes, "{length} bytes");
        assert!(packed.len() < 100 + length / 200, "{length} bytes became {}", packed.len());
    }
}

#[test]
fn how_it_is_written_changes_nothing() {
    let bytes = mixture(7, 2 * BLOCK + 5);
    let whole = packed(&bytes, usize::MAX);
    for cut in [1, 7, 512, BLOCK - 1, BLOCK, BLOCK + 1] {
        assert!(packed(&bytes, cut) == whole, "in parts of {cut} bytes");
    }
}

#[test]
fn noise_is_stored_and_grows_by_next_to_nothing() {
    let mut numbers = Numbers(3);
    let bytes: Vec<u8> = (0..2 * BLOCK + 9).map(|_| numbers.next() as u8).collect();
    let packed = packed(&bytes, usize::MAX);
    assert!(unpacked(&packed) == bytes);
    assert!(packed.len() < bytes.len() + 64, "{} bytes became {}", bytes.len(), packed.len());
}

#[test]
fn copies_of_every_length_from_near_and_far_come_back() {
    let mut numbers = Numbers(11);
    let mut bytes: Vec<u8> = (0..40_000).map(|_| numbers.next() as u8).collect();
    for length in 1..=300 {
        for bits in 0..15 {
            let distance = (1 << bits) + numbers.below(1 << bits);
            for _ in 0..length {
                bytes.push(bytes[bytes.len() - distance]);
            }
            bytes.push(numbers.next() as u8);
        }
    }
    let packed = packed(&bytes, usize::MAX);
    assert!(unpacked(&packed) == bytes);
    assert!(packed.len() < bytes.len() / 4, "{} bytes became {}", bytes.len(), packed.len());
}

/// A layer's digest depends on these bytes. If they are meant to change, [`VERSION`] does as well.
#[test]
fn the_bytes_are_those_of_the_version() {
    let mut crc = Crc::new();
    for seed in 0..16 {
        crc.update(&packed(&mixture(seed, 300_000), usize::MAX));
    }
    assert_eq!((VERSION, crc.amount(), crc.sum()), ("slipway-deflate 1", 1_360_793, 13_910_313));
}

#[test]
fn what_cannot_be_written_is_an_error() {
    let mut room = [0; 12];
    let mut writer = GzipWriter::new(&mut room[..]).unwrap();
    writer.write_all(&mixture(1, 1_000)).unwrap();
    assert_eq!(writer.finish().unwrap_err().kind(), io::ErrorKind::WriteZero);
}
