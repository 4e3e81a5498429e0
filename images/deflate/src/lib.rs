//! gzip for programs, fast: the compressor of layers at level 1.
//!
//! It is one format (RFC 1952 around RFC 1951), one level, and bytes that depend on the input alone: not on how it is cut into writes, not on
//! the processor. Layers are mostly machine code, where most short matches cost about what they save; so a match here has at least
//! six bytes, and two positions are tried at a time. It is not a general compressor and unpacks nothing: other levels and the way
//! back are flate2's.
//!
//! `matches` finds what was there before, `token` is how it says so, `block` decides how a block is written, `huffman` which codes are short,
//! and `bits` puts them one after the other.

mod bits;
mod block;
mod huffman;
mod matches;
mod token;

use std::io::{self, Write};

use flate2::Crc;

use bits::Bits;
use block::Encoder;
use matches::{BLOCK, Matcher};

/// What made the bytes. The number rises with any change that gives other bytes for the same input; a test holds it to that.
pub const VERSION: &str = "slipway-deflate 1";

/// Magic, deflate, no flags, no time, "fastest", unknown operating system: nothing about the machine that packs.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// Writes what is written to it as one gzip member.
///
/// Nothing arrives before a block is full; [`GzipWriter::finish`] writes the rest, and without it the member is cut off.
pub struct GzipWriter<W: Write> {
    out: W,
    matcher: Matcher,
    encoder: Encoder,
    bits: Bits,
    crc: Crc,
}

impl<W: Write> GzipWriter<W> {
    /// A member that begins now.
    ///
    /// # Errors
    /// What `out` answers to the header.
    pub fn new(mut out: W) -> io::Result<GzipWriter<W>> {
        out.write_all(&HEADER)?;
        Ok(GzipWriter {
            out,
            matcher: Matcher::new(),
            encoder: Encoder::new(),
            bits: Bits::new(),
            crc: Crc::new(),
        })
    }

    /// Ends the member and gives back where it went.
    ///
    /// # Errors
    /// What the writer below answers.
    pub fn finish(mut self) -> io::Result<W> {
        self.block(true)?;
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        self.out.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.out)
    }

    fn block(&mut self, last: bool) -> io::Result<()> {
        let block = self.matcher.block();
        self.encoder.write(&block, last, &mut self.bits);
        if last {
            self.bits.align();
        }
        self.bits.drain_into(&mut self.out)?;
        self.matcher.advance();
        Ok(())
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only what follows shows that a full block is not the last.
        if !bytes.is_empty() && self.matcher.filled() == BLOCK {
            self.block(false)?;
        }
        let taken = self.matcher.fill(bytes);
        self.crc.update(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
