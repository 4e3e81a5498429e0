//! A block as bits: with codes of its own, or as it is if that is shorter (RFC 1951, 3.2.3 to 3.2.7).

use crate::bits::Bits;
use crate::huffman::{Codes, LONGEST_CODE};
use crate::matches::{Block, Frequencies};
use crate::token::{INDICES, LENGTHS, LITERALS, LONGEST, SHORTEST, distance_bits, length_code};

/// Literals, the end of the block, lengths.
const SYMBOLS: usize = 286;
/// The symbol that ends a block.
const END: usize = 256;
const DISTANCES: usize = 30;
/// Bytes of the longest stored part of a block.
const STORED: usize = 0xffff;

/// Turns blocks into bits; keeps its tables from one to the next.
pub(crate) struct Encoder {
    /// By first index of a token: code and what follows it in 24 bits, and how many bits that are.
    firsts: Box<[u32; INDICES]>,
    /// By second index: code in 16 bits, its bits in 8, and in 8 those of what follows as well.
    seconds: Box<[u32; INDICES]>,
}

impl Encoder {
    pub fn new() -> Encoder {
        Encoder { firsts: Box::new([0; INDICES]), seconds: Box::new([0; INDICES]) }
    }

    /// Appends `block`.
    pub fn write(&mut self, block: &Block<'_>, last: bool, bits: &mut Bits) {
        let mark = bits.mark();
        self.write_coded(block, last, bits);
        let parts = block.bytes.len().div_ceil(STORED);
        if parts > 0 && bits.since(mark) > (block.bytes.len() + 5 * parts) * 8 {
            bits.rewind(mark);
            write_stored(block.bytes, last, bits);
        }
    }

    fn write_coded(&mut self, block: &Block<'_>, last: bool, bits: &mut Bits) {
        let literals = Codes::of(&symbols(block.frequencies), LONGEST_CODE);
        let mut occurring = [0; DISTANCES];
        occurring.copy_from_slice(&block.frequencies.distances[..DISTANCES]);
        let mut distances = Codes::of(&occurring, LONGEST_CODE);
        // One code at least, even if nothing uses it.
        distances.lengths[0] = distances.lengths[0].max(u8::from(occurring.iter().all(|count| *count == 0)));
        bits.put(u64::from(last), 1);
        bits.put(2, 2);
        write_lengths(&literals.lengths, &distances.lengths, bits);
        self.prepare(&literals, &distances);

        // At most 48 bits a token: 15 and 5 for a length, 15 and 13 for a distance.
        bits.reserve(block.tokens.len() * 6);
        let mut cursor = bits.cursor();
        for token in block.tokens {
            let first = self.firsts[token.first()];
            let second = self.seconds[token.second()];
            let tail = u64::from(second & 0xffff) | u64::from(token.extra()) << (second >> 16 & 0xff);
            let value = u64::from(first & 0xff_ffff) | tail << (first >> 24);
            cursor.put(value, (first >> 24) + (second >> 24));
        }
        let mark = cursor.mark;
        bits.rewind(mark);
        bits.put(u64::from(literals.codes[END]), u32::from(literals.lengths[END]));
    }

    /// Tables by the indices of tokens, so that nothing is computed twice.
    fn prepare(&mut self, literals: &Codes<SYMBOLS>, distances: &Codes<DISTANCES>) {
        for byte in 0..=255 {
            let (code, bits) = (u32::from(literals.codes[byte]), u32::from(literals.lengths[byte]));
            self.firsts[byte] = code | bits << 24;
            self.seconds[LITERALS + byte] = code | bits << 16 | bits << 24;
        }
        for length in SHORTEST..=LONGEST {
            let (symbol, more, extra) = length_code(length);
            let bits = u32::from(literals.lengths[symbol]);
            self.firsts[LENGTHS + length - SHORTEST] =
                u32::from(literals.codes[symbol]) | extra << bits | (bits + more) << 24;
        }
        for code in 0..DISTANCES {
            let bits = u32::from(distances.lengths[code]);
            self.seconds[code] =
                u32::from(distances.codes[code]) | bits << 16 | (bits + distance_bits(code)) << 24;
        }
    }
}

/// How often each symbol occurs, once lengths share theirs.
fn symbols(frequencies: &Frequencies) -> [u32; SYMBOLS] {
    let mut symbols = [0; SYMBOLS];
    symbols[..END].copy_from_slice(&frequencies.literals_and_lengths[..LENGTHS]);
    symbols[END] = 1;
    for length in SHORTEST..=LONGEST {
        symbols[length_code(length).0] += frequencies.literals_and_lengths[LENGTHS + length - SHORTEST];
    }
    symbols
}

fn write_stored(bytes: &[u8], last: bool, bits: &mut Bits) {
    let mut parts = bytes.chunks(STORED).peekable();
    while let Some(part) = parts.next() {
        bits.put(u64::from(last && parts.peek().is_none()), 3);
        bits.align();
        let length = part.len() as u16;
        bits.bytes(&length.to_le_bytes());
        bits.bytes(&(!length).to_le_bytes());
        bits.bytes(part);
    }
}

/// One symbol of RFC 1951, 3.2.7: a length of a code, or how often one is repeated.
#[derive(Clone, Copy)]
struct Run {
    symbol: u8,
    extra: u8,
    bits: u8,
}

/// Writes which symbols have how long codes.
fn write_lengths(literals: &[u8; SYMBOLS], distances: &[u8; DISTANCES], bits: &mut Bits) {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let used = |lengths: &[u8]| lengths.iter().rposition(|length| *length > 0).map_or(0, |last| last + 1);
    let (literals, distances) = (&literals[..used(literals)], &distances[..used(distances)]);
    let runs = runs(&[literals, distances].concat());
    let mut frequencies = [0; 19];
    for run in &runs {
        frequencies[usize::from(run.symbol)] += 1;
    }
    let codes = Codes::of(&frequencies, 7);
    let ordered = ORDER.map(|symbol| codes.lengths[symbol]);
    let listed = &ordered[..used(&ordered).max(4)];
    bits.put(literals.len() as u64 - 257, 5);
    bits.put(distances.len() as u64 - 1, 5);
    bits.put(listed.len() as u64 - 4, 4);
    for length in listed {
        bits.put(u64::from(*length), 3);
    }
    for Run { symbol, extra, bits: more } in runs {
        let symbol = usize::from(symbol);
        bits.put(u64::from(codes.codes[symbol]), u32::from(codes.lengths[symbol]));
        bits.put(u64::from(extra), u32::from(more));
    }
}

/// Lengths of codes, with repetitions said as such.
fn runs(lengths: &[u8]) -> Vec<Run> {
    let mut runs = Vec::new();
    for group in lengths.chunk_by(|one, other| one == other) {
        let (symbol, mut left) = (group[0], group.len());
        let single = Run { symbol, extra: 0, bits: 0 };
        if symbol != 0 {
            runs.push(single);
            left -= 1;
        }
        while left >= 3 {
            let (symbol, bits, shortest, longest) = match (symbol, left) {
                (0, 11..) => (18, 7, 11, 138),
                (0, _) => (17, 3, 3, 10),
                _ => (16, 2, 3, 6),
            };
            let repeated = left.min(longest);
            runs.push(Run { symbol, extra: (repeated - shortest) as u8, bits });
            left -= repeated;
        }
        runs.extend(std::iter::repeat_n(single, left));
    }
    runs
}
