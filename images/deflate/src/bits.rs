//! Bits one after the other, lowest first (RFC 1951, 3.1.1).

use std::io::{self, Write};

/// Whole bytes in `bytes[..end]`, and up to seven bits that do not make one yet.
pub(crate) struct Bits {
    bytes: Vec<u8>,
    end: usize,
    pending: u64,
    count: u32,
}

/// Where bits ended, to go back to.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    end: usize,
    pending: u64,
    count: u32,
}

impl Bits {
    pub fn new() -> Bits {
        Bits { bytes: Vec::new(), end: 0, pending: 0, count: 0 }
    }

    /// Makes room for `bytes` more bytes.
    pub fn reserve(&mut self, bytes: usize) {
        // Eight at a time are written, the last of them over the end.
        let needed = self.end + bytes + 8;
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
    }

    /// Appends the lowest `count` bits of `value`; there are no others in it. `count` is at most 56.
    pub fn put(&mut self, value: u64, count: u32) {
        self.reserve(8);
        let mut cursor = self.cursor();
        cursor.put(value, count);
        let mark = cursor.mark;
        self.rewind(mark);
    }

    /// Zeros up to the end of the byte.
    pub fn align(&mut self) {
        self.put(0, self.count.wrapping_neg() & 7);
    }

    /// Appends whole bytes; what came before ends with a byte.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.bytes[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }

    /// For many at once, in the room reserved.
    pub fn cursor(&mut self) -> Cursor<'_> {
        Cursor { mark: self.mark(), bytes: &mut self.bytes }
    }

    pub fn mark(&self) -> Mark {
        Mark { end: self.end, pending: self.pending, count: self.count }
    }

    /// Forgets, or with a mark of a cursor takes over, what came after `mark`.
    pub fn rewind(&mut self, mark: Mark) {
        Mark { end: self.end, pending: self.pending, count: self.count } = mark;
    }

    /// How many bits came after `mark`.
    pub fn since(&self, mark: Mark) -> usize {
        (self.end - mark.end) * 8 + self.count as usize - mark.count as usize
    }

    /// Moves the whole bytes out.
    pub fn drain_into(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.bytes[..self.end])?;
        self.end = 0;
        Ok(())
    }
}

/// [`Bits`] while many are written: its state in registers.
pub(crate) struct Cursor<'a> {
    bytes: &'a mut [u8],
    pub mark: Mark,
}

impl Cursor<'_> {
    /// Appends the lowest `count` bits of `value`, at most 56.
    #[inline(always)]
    pub fn put(&mut self, value: u64, count: u32) {
        let Mark { end, pending, count: before } = &mut self.mark;
        *pending |= value << *before;
        *before += count;
        self.bytes[*end..*end + 8].copy_from_slice(&pending.to_le_bytes());
        *end += (*before >> 3) as usize;
        *pending >>= *before & !7;
        *before &= 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(mut bits: Bits) -> Vec<u8> {
        let mut out = Vec::new();
        bits.drain_into(&mut out).unwrap();
        out
    }

    #[test]
    fn the_first_bit_is_the_lowest() {
        let mut bits = Bits::new();
        bits.put(1, 1);
        bits.put(0b10, 2);
        bits.put(0b1_1111_0000, 9);
        bits.align();
        assert_eq!(drained(bits), [0b1000_0101, 0b1111]);
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace() {
        let mut bits = Bits::new();
        bits.put(0b101, 3);
        let mark = bits.mark();
        bits.put(0xff_ffff_ffff, 40);
        assert_eq!(bits.since(mark), 40);
        bits.rewind(mark);
        bits.align();
        assert_eq!(drained(bits), [0b101]);
    }

    #[test]
    fn nothing_is_added_to_whole_bytes() {
        let mut bits = Bits::new();
        bits.align();
        bits.bytes(b"ab");
        bits.align();
        assert_eq!(drained(bits), *b"ab");
    }
}
