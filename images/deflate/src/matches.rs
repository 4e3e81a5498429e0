//! Finds what was there before, in the last 32 KiB.

use crate::token::{Distance, INDICES, LENGTHS, LONGEST, SHORTEST, Token};

/// How far back a match can be (RFC 1951, 3.2.5).
const WINDOW: usize = 1 << 15;
/// Bytes of a block: one set of codes.
pub(crate) const BLOCK: usize = 1 << 17;
/// At the end of a block nothing is searched for: eight bytes are read at once.
const TAIL: usize = 16;
/// The table: 2^14 positions of two bytes fit into the nearest cache beside the window.
const TABLE_BITS: u32 = 14;

/// A block, as literals and matches.
pub(crate) struct Block<'a> {
    pub bytes: &'a [u8],
    pub tokens: &'a [Token],
    pub frequencies: &'a Frequencies,
}

/// How often what occurs in a block.
pub(crate) struct Frequencies {
    /// By first index of a token; the second literal of a pair is counted here as well.
    pub literals_and_lengths: [u32; INDICES],
    /// By code.
    pub distances: [u32; 32],
}

/// The window, the block that is filled, and where which six bytes were seen last.
pub(crate) struct Matcher {
    /// What came before (zeros at the beginning, which no match may reach), then the block.
    buffer: Box<[u8]>,
    filled: usize,
    /// How much of the window was really there, at most all of it.
    history: usize,
    /// The low bits of positions in the buffer. They may be out of date, so every match is compared.
    table: Box<[u16]>,
    tokens: Box<[Token]>,
    frequencies: Frequencies,
}

impl Matcher {
    pub fn new() -> Matcher {
        Matcher {
            buffer: vec![0; WINDOW + BLOCK].into(),
            filled: 0,
            history: 0,
            table: vec![0; 1 << TABLE_BITS].into(),
            tokens: vec![Token::EMPTY; BLOCK].into(),
            frequencies: Frequencies { literals_and_lengths: [0; INDICES], distances: [0; 32] },
        }
    }

    /// Bytes of the block so far.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Takes as many bytes as the block has room for.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let room = &mut self.buffer[WINDOW + self.filled..];
        let taken = room.len().min(bytes.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.filled += taken;
        taken
    }

    /// The block as it is.
    pub fn block(&mut self) -> Block<'_> {
        self.frequencies = Frequencies { literals_and_lengths: [0; INDICES], distances: [0; 32] };
        let count = self.search();
        Block {
            bytes: &self.buffer[WINDOW..WINDOW + self.filled],
            tokens: &self.tokens[..count],
            frequencies: &self.frequencies,
        }
    }

    /// The next block begins.
    pub fn advance(&mut self) {
        self.history = WINDOW.min(self.history + self.filled);
        self.buffer.copy_within(self.filled..self.filled + WINDOW, 0);
        self.filled = 0;
    }

    /// Fills `tokens` and gives their count.
    ///
    /// Two positions at a time, and one branch for both, since a wrong guess of the processor costs more than anything else here. What the
    /// next two positions need is fetched before that branch.
    fn search(&mut self) -> usize {
        let end = WINDOW + self.filled;
        let start = WINDOW - self.history;
        let buffer = &self.buffer[..end];
        let table: &mut [u16] = &mut self.table[..1 << TABLE_BITS];
        let mut tokens = Tokens { tokens: &mut self.tokens, count: 0, frequencies: &mut self.frequencies };
        let limit = end.saturating_sub(TAIL);
        let mut at = WINDOW;
        if at < limit {
            let mut word = load(buffer, at);
            let mut slots = [slot(word), slot(word >> 8)];
            let mut seen = slots.map(|slot| table[slot]);
            while at < limit {
                table[slots[0]] = at as u16;
                table[slots[1]] = (at + 1) as u16;
                let next = load(buffer, at + 1);
                let distances = [distance(at, seen[0]), distance(at + 1, seen[1])];
                let differences =
                    [word ^ load(buffer, at - distances[0]), next ^ load(buffer, at + 1 - distances[1])];
                slots = [slot(word >> 16), slot(next >> 16)];
                seen = slots.map(|slot| table[slot]);
                let matching = differences.map(|difference| difference << (64 - 8 * SHORTEST) == 0);
                if !(matching[0] | matching[1]) {
                    tokens.pair(word as u8, (word >> 8) as u8);
                    at += 2;
                    word = load(buffer, at);
                    continue;
                }
                tokens.literal_if(word as u8, !matching[0]);
                let which = usize::from(!matching[0]);
                at += which;
                let distance = distances[which];
                if distance > at - start {
                    // Zeros that were not there. Both positions are in the table by now, so neither is looked up again.
                    let past = at + 2 - which;
                    for byte in &buffer[at..past] {
                        tokens.literal(*byte);
                    }
                    at = past;
                } else {
                    let length = length(buffer, at, distance, differences[which]);
                    tokens.copy(length, Distance::of(distance));
                    at += length;
                    if at >= limit {
                        break;
                    }
                }
                word = load(buffer, at);
                slots = [slot(word), slot(word >> 8)];
                seen = slots.map(|slot| table[slot]);
            }
        }
        for byte in &buffer[at..] {
            tokens.literal(*byte);
        }
        tokens.count
    }
}

/// Eight bytes from `at` on.
#[inline(always)]
fn load(buffer: &[u8], at: usize) -> u64 {
    buffer[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Where the table remembers the lowest six bytes of `word`.
#[inline(always)]
fn slot(word: u64) -> usize {
    // The prime of xxHash64: its high bits depend on all that is multiplied.
    let product = (word << (64 - 8 * SHORTEST)).wrapping_mul(0x9E37_79B1_85EB_CA87);
    (product >> (64 - TABLE_BITS)) as usize
}

/// How far back from `at` a remembered position is, from 1 to [`WINDOW`].
#[inline(always)]
fn distance(at: usize, seen: u16) -> usize {
    usize::from((at as u16).wrapping_sub(seen).wrapping_sub(1) & (WINDOW - 1) as u16) + 1
}

/// Bytes that match, given the `difference` of the first eight, which match in at least [`SHORTEST`].
#[inline(always)]
fn length(buffer: &[u8], at: usize, distance: usize, difference: u64) -> usize {
    let mut length = 8;
    let longest = LONGEST.min(buffer.len() - at);
    let mut difference = difference;
    while difference == 0 && length + 8 <= longest {
        difference = load(buffer, at + length) ^ load(buffer, at + length - distance);
        length += 8;
    }
    if difference != 0 {
        return length - 8 + (difference.trailing_zeros() / 8) as usize;
    }
    let rest = buffer[at + length..at + longest].iter().zip(&buffer[at + length - distance..]);
    length + rest.take_while(|(byte, before)| byte == before).count()
}

/// The tokens of a block, counted as they come.
struct Tokens<'a> {
    tokens: &'a mut [Token],
    count: usize,
    frequencies: &'a mut Frequencies,
}

impl Tokens<'_> {
    #[inline(always)]
    fn literal(&mut self, byte: u8) {
        self.literal_if(byte, true);
    }

    /// Written in any case, and overwritten by the next if it is none: no branch.
    #[inline(always)]
    fn literal_if(&mut self, byte: u8, is: bool) {
        self.tokens[self.count] = Token::literal(byte);
        self.frequencies.literals_and_lengths[usize::from(byte)] += u32::from(is);
        self.count += usize::from(is);
    }

    #[inline(always)]
    fn pair(&mut self, first: u8, second: u8) {
        self.tokens[self.count] = Token::pair(first, second);
        self.frequencies.literals_and_lengths[usize::from(first)] += 1;
        self.frequencies.literals_and_lengths[usize::from(second)] += 1;
        self.count += 1;
    }

    #[inline(always)]
    fn copy(&mut self, length: usize, distance: Distance) {
        self.tokens[self.count] = Token::copy(length, distance);
        self.frequencies.literals_and_lengths[(LENGTHS + length - SHORTEST) & (INDICES - 1)] += 1;
        self.frequencies.distances[distance.code as usize & 31] += 1;
        self.count += 1;
    }
}
