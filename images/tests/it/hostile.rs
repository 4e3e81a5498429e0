//! What nobody sends by accident: sound documents and layers, damaged at random but always the same way. Nothing may panic, and what is accepted
//! must mean the same when it is written and read again.

use images::container::Engine;
use images::document::{CONFIG, Descriptor, Index, LAYER_GZIP, Manifest};
use images::layer::{self, Content, Entry};
use images::recipe::Compression;
use images::{Destination, Digest, Platform, Reference, recipe};
use serde::{Serialize, de::DeserializeOwned};

use crate::content::{blob, manifest, noise};

/// What means something to one of the parsers.
const DAMAGE: &[u8] = b"\"{}[]:,/@.0-9eE\\\0\x7f\xff";

/// Numbers that look random and are always the same.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    /// `sound` with some bytes replaced, removed, doubled, or the rest cut off.
    fn damage(&mut self, sound: &[u8]) -> Vec<u8> {
        let mut bytes = sound.to_vec();
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                break;
            }
            let position = self.below(bytes.len());
            match self.below(6) {
                0 => drop(bytes.remove(position)),
                1 => bytes.insert(position, bytes[position]),
                2 => bytes.truncate(position),
                _ => bytes[position] = DAMAGE[self.below(DAMAGE.len())],
            }
        }
        bytes
    }
}

/// What is accepted is written and read again without a change.
fn check_document<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(sound: &[u8], seed: u64) {
    let mut dice = Dice(seed);
    let mut accepted = 0;
    for _ in 0..3_000 {
        let Ok(document) = serde_json::from_slice::<T>(&dice.damage(sound)) else { continue };
        let again: T = serde_json::from_slice(&serde_json::to_vec(&document).unwrap()).unwrap();
        assert_eq!(document, again);
        accepted += 1;
    }
    assert!(accepted > 20, "only {accepted} were acceptable: nothing was tried");
}

#[test]
fn damaged_manifests_and_indexes() {
    let config = Descriptor::new(CONFIG, Digest::of(b"config"), 6);
    let layer = Descriptor::new(LAYER_GZIP, Digest::of(b"layer"), 5);
    let sound = manifest(&config, std::slice::from_ref(&layer), Some(blob(&noise(10, 1))));
    check_document::<Manifest>(&sound.bytes, 1);
    let index = Index::new(vec![sound.descriptor(), layer]);
    check_document::<Index>(&serde_json::to_vec(&index).unwrap(), 2);
}

#[test]
fn damaged_references_and_names() {
    let digest = Digest::of(b"x").to_string();
    let sound = format!("registry.example:5000/team/app:v1.2@{digest}");
    let mut dice = Dice(3);
    let mut accepted = 0;
    for _ in 0..20_000 {
        let damaged = dice.damage(sound.as_bytes());
        let text = String::from_utf8_lossy(&damaged);
        if let Ok(reference) = text.parse::<Reference>() {
            assert_eq!(reference.to_string(), text);
            let repository = &reference.repository;
            assert!(!repository.contains("..") && !repository.starts_with('/'), "{repository}");
            accepted += 1;
        }
        if let Ok(destination) = text.parse::<Destination>() {
            assert!(!destination.repository("app").contains(".."), "{text}");
        }
        let (_, end) = text.split_at(text.floor_char_boundary(text.len() / 2));
        if let Ok(digest) = end.parse::<Digest>() {
            assert!(digest.hex().bytes().all(|byte| byte.is_ascii_hexdigit()), "{end}");
        }
        assert!(text.parse::<Platform>().is_err() && text.parse::<Engine>().is_err(), "{text}");
    }
    assert!(accepted > 100, "only {accepted} were acceptable: nothing was tried");
}

#[test]
fn damaged_recipes_are_errors_at_a_place() {
    let sound = include_str!("../../images.toml");
    let mut dice = Dice(4);
    for _ in 0..2_000 {
        let damaged = dice.damage(sound.as_bytes());
        let text = String::from_utf8_lossy(&damaged);
        if let Err(error) = recipe::parse("images.toml", &text) {
            assert!(error.to_string().starts_with("images.toml:"), "{error}");
        }
    }
}

#[test]
fn damaged_layers_are_read_to_an_end() {
    let files: Vec<Entry> = (0..20)
        .map(|number| Entry {
            path: format!("/{}/{number}", "d".repeat(number * 11)),
            mode: 0o644,
            content: Content::Bytes(noise(number * 100, number as u64 + 1).to_vec()),
        })
        .collect();
    let mut dice = Dice(5);
    for compression in [Compression::Gzip(0), Compression::Gzip(6), Compression::Zstd(3)] {
        let (sound, _) = layer::write(&files, compression, Vec::new()).unwrap();
        let mut read = 0;
        for _ in 0..500 {
            let damaged = dice.damage(&sound);
            let visited = layer::read::each_entry(damaged.as_slice(), |path, entry| {
                assert!(path.starts_with('/') && !path.split('/').any(|part| part == ".."), "{path}");
                read += std::io::copy(entry, &mut std::io::sink())?;
                Ok::<_, std::io::Error>(())
            });
            assert!(visited.is_ok() || read > 0 || !damaged.is_empty());
        }
        assert!(read > 0, "nothing was tried");
    }
}
