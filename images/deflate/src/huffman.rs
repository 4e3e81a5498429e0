//! Huffman codes with a limit, in the canonical order of RFC 1951, 3.2.2.

/// Bits of the longest code of literals, lengths and distances.
pub(crate) const LONGEST_CODE: u8 = 15;

/// One code for each symbol that occurs.
pub(crate) struct Codes<const N: usize> {
    /// Bits of each symbol's code; 0: it does not occur.
    pub lengths: [u8; N],
    /// The codes, their first bit lowest.
    pub codes: [u16; N],
}

impl<const N: usize> Codes<N> {
    /// The shortest codes for symbols that occur so often, none longer than `limit`, which is at most [`LONGEST_CODE`].
    pub fn of(frequencies: &[u32; N], limit: u8) -> Codes<N> {
        let lengths = lengths(frequencies, limit);
        Codes { codes: canonical(&lengths), lengths }
    }
}

fn lengths<const N: usize>(frequencies: &[u32; N], limit: u8) -> [u8; N] {
    let mut lengths = [0; N];
    let occurring = |(symbol, &frequency)| (frequency > 0).then_some((frequency, symbol));
    let mut symbols: Vec<(u32, usize)> = frequencies.iter().enumerate().filter_map(occurring).collect();
    symbols.sort_unstable();
    if let [(_, only)] = symbols[..] {
        lengths[only] = 1;
    }
    if symbols.len() < 2 {
        return lengths;
    }
    let counts = limited(&depths(&symbols), limit);
    // The rarest symbols have the longest codes.
    let longest_first =
        (1..=limit).rev().flat_map(|length| std::iter::repeat_n(length, counts[usize::from(length)]));
    for ((_, symbol), length) in symbols.into_iter().zip(longest_first) {
        lengths[symbol] = length;
    }
    lengths
}

/// How deep each symbol is in the tree; `symbols` are at least two, the rarest first.
fn depths(symbols: &[(u32, usize)]) -> Vec<usize> {
    let leaves = symbols.len();
    let nodes = 2 * leaves - 1;
    let mut weights: Vec<u32> = symbols.iter().map(|(frequency, _)| *frequency).collect();
    let mut parents = vec![0; nodes];
    // Leaves and inner nodes are two queues, both in the order of their weight.
    let (mut leaf, mut inner) = (0, leaves);
    for node in leaves..nodes {
        let mut lightest = || {
            let from = if leaf < leaves && (inner == node || weights[leaf] <= weights[inner]) {
                &mut leaf
            } else {
                &mut inner
            };
            let taken = *from;
            *from += 1;
            parents[taken] = node;
            weights[taken]
        };
        let weight = lightest() + lightest();
        weights.push(weight);
    }
    let mut depths = vec![0; nodes];
    for node in (0..nodes - 1).rev() {
        depths[node] = depths[parents[node]] + 1;
    }
    depths.truncate(leaves);
    depths
}

/// How many codes of each length there are, once those longer than `limit` are cut and others made longer in exchange.
fn limited(depths: &[usize], limit: u8) -> [usize; LONGEST_CODE as usize + 1] {
    let limit = usize::from(limit);
    let mut counts = [0; LONGEST_CODE as usize + 1];
    for depth in depths {
        counts[limit.min(*depth)] += 1;
    }
    // Kraft: a code of n bits takes one 2^n-th of all there is.
    let room = 1 << limit;
    let mut taken: usize = (1..=limit).map(|length| counts[length] << (limit - length)).sum();
    while taken > room {
        // One of the longest moves beside a shorter one, which gets a bit longer for that.
        let Some(shorter) = (1..limit).rev().find(|length| counts[*length] > 0) else { break };
        counts[limit] -= 1;
        counts[shorter] -= 1;
        counts[shorter + 1] += 2;
        taken -= 1;
    }
    counts
}

/// The codes that those lengths say, since only lengths are written down.
fn canonical<const N: usize>(lengths: &[u8; N]) -> [u16; N] {
    let mut next = [0_u16; LONGEST_CODE as usize + 2];
    for length in lengths.iter().filter(|length| **length > 0) {
        next[usize::from(*length) + 1] += 1;
    }
    for length in 1..next.len() {
        next[length] = (next[length] + next[length - 1]) << 1;
    }
    let mut codes = [0; N];
    for (code, &length) in codes.iter_mut().zip(lengths).filter(|(_, length)| **length > 0) {
        let number = &mut next[usize::from(length)];
        *code = number.reverse_bits() >> (16 - length);
        *number += 1;
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(lengths: &[u8]) -> bool {
        let taken =
            lengths.iter().filter(|length| **length > 0).map(|length| 1_u32 << (15 - length)).sum::<u32>();
        taken == 1 << 15
    }

    /// The example of RFC 1951, 3.2.2.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let codes = canonical(&[3, 3, 3, 3, 3, 2, 4, 4]);
        let backwards = |code: u16, length: u32| code.reverse_bits() >> (16 - length);
        assert_eq!(codes[5], backwards(0b00, 2));
        assert_eq!(codes[0], backwards(0b010, 3));
        assert_eq!(codes[4], backwards(0b110, 3));
        assert_eq!(codes[7], backwards(0b1111, 4));
    }

    #[test]
    fn what_occurs_more_often_is_shorter() {
        assert_eq!(lengths(&[1, 0, 8, 2, 4], 15), [3, 0, 1, 3, 2]);
    }

    #[test]
    fn one_symbol_has_one_bit_and_none_have_none() {
        assert_eq!(lengths(&[0, 7, 0], 15), [0, 1, 0]);
        assert_eq!(lengths(&[0, 0], 15), [0, 0]);
    }

    /// Fibonacci numbers make the deepest trees.
    #[test]
    fn no_code_is_longer_than_the_limit_and_none_is_wasted() {
        let mut frequencies = [1_u32; 24];
        for symbol in 2..frequencies.len() {
            frequencies[symbol] = frequencies[symbol - 1] + frequencies[symbol - 2];
        }
        for limit in [7, 15] {
            let lengths = lengths(&frequencies, limit);
            assert_eq!(lengths.iter().max(), Some(&limit));
            assert!(complete(&lengths), "{lengths:?}");
            assert!(lengths.is_sorted_by(|rarer, oftener| rarer >= oftener), "{lengths:?}");
        }
    }
}
