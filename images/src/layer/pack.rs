//! Compressors, with everything pinned that changes their output.

use std::io::{self, Write};

use deflate::GzipWriter;
use flate2::GzBuilder;
use flate2::write::GzEncoder;

use crate::recipe::Compression;

/// What makes gzip layers of every level but the first; a test compares it with `Cargo.lock`.
pub(super) const GZIP: &str = "flate2 1.1.11, zlib-rs 0.6.8";
/// What makes zstd layers; a test compares it with `Cargo.lock`.
pub(super) const ZSTD: &str = "zstd-sys 2.1.3+zstd.1.5.7";

/// A compressor of one layer.
pub(super) enum Packer<W: Write> {
    /// gzip at level 1: this project's own, since packing programs is most of the time an image takes.
    Fast(Box<GzipWriter<W>>),
    Gzip(GzEncoder<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Packer<W> {
    pub fn new(compression: Compression, out: W) -> io::Result<Packer<W>> {
        match compression {
            Compression::Gzip(1) => GzipWriter::new(out).map(|writer| Packer::Fast(Box::new(writer))),
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
            Packer::Fast(writer) => writer.finish(),
            Packer::Gzip(encoder) => encoder.finish(),
            Packer::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Packer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Packer::Fast(writer) => writer.write(bytes),
            Packer::Gzip(encoder) => encoder.write(bytes),
            Packer::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Packer::Fast(writer) => writer.flush(),
            Packer::Gzip(encoder) => encoder.flush(),
            Packer::Zstd(encoder) => encoder.flush(),
        }
    }
}
