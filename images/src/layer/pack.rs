//! Compressors, with everything pinned that changes their output.

use std::io::{self, Write};

use flate2::GzBuilder;
use flate2::write::GzEncoder;

use crate::recipe::Compression;

/// What makes gzip layers; a test compares it with `Cargo.lock`.
pub(super) const GZIP: &str = "flate2 1.1.11, zlib-rs 0.6.8";
/// What makes zstd layers; a test compares it with `Cargo.lock`.
pub(super) const ZSTD: &str = "zstd-sys 2.1.3+zstd.1.5.7";

/// A compressor of one layer.
pub(super) enum Packer<W: Write> {
    Gzip(GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Packer<W> {
    pub fn new(compression: Compression, out: W) -> io::Result<Packer<W>> {
        match compression {
            Compression::Gzip(level) => {
                // 255: operating system unknown, so that the header says nothing about this machine.
                let header = GzBuilder::new().mtime(0).operating_system(255);
                Ok(Packer::Gzip(header.write(out, flate2::Compression::new(level))))
            }
            Compression::Zstd(level) => {
                let level = i32::try_from(level).map_err(io::Error::other)?;
                let mut encoder = zstd::Encoder::new(out, level)?;
                // One worker and many give the same bytes, but none gives others.
                let workers = std::thread::available_parallelism().map_or(1, |cores| cores.get().min(4));
                encoder.multithread(u32::try_from(workers).unwrap_or(1))?;
                encoder.include_checksum(true)?;
                Ok(Packer::Zstd(encoder))
            }
        }
    }

    pub fn finish(self) -> io::Result<W> {
        match self {
            Packer::Gzip(encoder) => encoder.finish(),
            Packer::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Packer::Gzip(encoder) => encoder.write(bytes),
            Packer::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Packer::Gzip(encoder) => encoder.flush(),
            Packer::Zstd(encoder) => encoder.flush(),
        }
    }
}
