//! What a block is made of: literals, pairs of them, and matches, each in 32 bits.

/// The shortest match. Shorter ones cost more time than they save bytes.
pub(crate) const SHORTEST: usize = 6;
/// The longest match (RFC 1951, 3.2.5).
pub(crate) const LONGEST: usize = 258;

/// Bits of [`Token::first`] and [`Token::second`].
const INDEX: u32 = 9;
/// How many values an index has.
pub(crate) const INDICES: usize = 1 << INDEX;
const MASK: u32 = (1 << INDEX) - 1;
/// The first index that is a length.
pub(crate) const LENGTHS: usize = 256;
/// The second index of a token that has none: its code has no bits.
const NOTHING: u32 = 30;
/// The second index that is the literal 0.
pub(crate) const LITERALS: usize = 32;

/// One literal, two, or a match. Two indices for tables of codes, so that all three are written by the same instructions, without a branch
/// to guess:
///
/// - first, 9 bits: a literal, or [`LENGTHS`] and the length above [`SHORTEST`];
/// - second, 9 bits: the code of a distance, nothing, or [`LITERALS`] and a literal;
/// - 13 bits that follow the code of the distance.
#[derive(Clone, Copy)]
pub(crate) struct Token(u32);

impl Token {
    pub const EMPTY: Token = Token(0);

    #[inline(always)]
    pub fn literal(byte: u8) -> Token {
        Token(u32::from(byte) | NOTHING << INDEX)
    }

    #[inline(always)]
    pub fn pair(first: u8, second: u8) -> Token {
        Token(u32::from(first) | (LITERALS as u32 + u32::from(second)) << INDEX)
    }

    /// `length` is from [`SHORTEST`] to [`LONGEST`].
    #[inline(always)]
    pub fn copy(length: usize, distance: Distance) -> Token {
        let first = (LENGTHS + length - SHORTEST) as u32;
        Token(first | distance.code << INDEX | distance.extra << (2 * INDEX))
    }

    #[inline(always)]
    pub fn first(self) -> usize {
        (self.0 & MASK) as usize
    }

    #[inline(always)]
    pub fn second(self) -> usize {
        (self.0 >> INDEX & MASK) as usize
    }

    #[inline(always)]
    pub fn extra(self) -> u32 {
        self.0 >> (2 * INDEX)
    }
}

/// How far back a match is, as RFC 1951, 3.2.5 writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Distance {
    /// 0 to 29.
    pub code: u32,
    /// What follows the code, in [`distance_bits`] bits.
    pub extra: u32,
}

impl Distance {
    /// Of `bytes` from 1 to 32,768.
    #[inline(always)]
    pub fn of(bytes: usize) -> Distance {
        let above = bytes as u32 - 1;
        if above < 2 {
            return Distance { code: above, extra: 0 };
        }
        let bits = above.ilog2() - 1;
        Distance { code: 2 * bits + (above >> bits), extra: above & ((1 << bits) - 1) }
    }
}

/// How many bits follow the `code` of a distance.
pub(crate) fn distance_bits(code: usize) -> u32 {
    (code as u32 / 2).saturating_sub(1)
}

/// Symbol, count of bits that follow it, and those bits, of a match with `length` bytes (RFC 1951, 3.2.5).
pub(crate) fn length_code(length: usize) -> (usize, u32, u32) {
    let above = length as u32 - 3;
    if length == LONGEST {
        return (285, 0, 0);
    }
    if above < 8 {
        return (257 + above as usize, 0, 0);
    }
    let bits = above.ilog2() - 2;
    let symbol = 257 + 4 * bits + (above >> bits);
    (symbol as usize, bits, above & ((1 << bits) - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1951, 3.2.5: the first length of each symbol, and the bits that follow it.
    #[test]
    fn lengths_have_the_codes_of_the_rfc() {
        let first = [
            3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131,
            163, 195, 227,
        ];
        let bits = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5];
        for length in 3..LONGEST {
            let row = first.iter().rposition(|&first| first <= length).unwrap();
            let expected = (257 + row, bits[row], (length - first[row]) as u32);
            assert_eq!(length_code(length), expected, "length {length}");
        }
        assert_eq!(length_code(LONGEST), (285, 0, 0));
    }

    /// RFC 1951, 3.2.5: each code begins where the one before it ends.
    #[test]
    fn distances_have_the_codes_of_the_rfc() {
        let mut bytes = 1;
        for code in 0..30 {
            for extra in 0..1 << distance_bits(code) {
                assert_eq!(Distance::of(bytes), Distance { code: code as u32, extra }, "distance {bytes}");
                bytes += 1;
            }
        }
        assert_eq!(bytes, 32_769);
    }
}
