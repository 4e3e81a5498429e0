//! The two ranges, and choosing from them. The low end of each is left to people who fix a value, until the rest is used up.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;

/// Addresses of the service network: 10.96.0.0/16 without its first and last.
const ADDRESSES: RangeInclusive<u32> = 0x0a60_0001..=0x0a60_fffe;
const ADDRESSES_LEFT_TO_PEOPLE: u32 = 256;
/// The range as messages write it.
pub const NETWORK: &str = "10.96.0.0/16";

/// Node ports.
const PORTS: RangeInclusive<u32> = 30000..=32767;
const PORTS_LEFT_TO_PEOPLE: u32 = 86;
/// The range as messages write it.
pub const PORT_RANGE: &str = "30000-32767";

/// Whether `address` may be given to a Service.
pub fn has_address(address: Ipv4Addr) -> bool {
    ADDRESSES.contains(&u32::from(address))
}

/// Whether `port` may be given to a Service.
pub fn has_port(port: u64) -> bool {
    u32::try_from(port).is_ok_and(|port| PORTS.contains(&port))
}

/// A free address; `seed` decides which.
pub fn free_address(is_taken: impl Fn(Ipv4Addr) -> bool, seed: u32) -> Option<Ipv4Addr> {
    free(ADDRESSES, ADDRESSES_LEFT_TO_PEOPLE, seed, |number| is_taken(Ipv4Addr::from(number)))
        .map(Ipv4Addr::from)
}

/// A free port; `seed` decides which.
pub fn free_port(is_taken: impl Fn(u16) -> bool, seed: u32) -> Option<u16> {
    let number = |port: u32| u16::try_from(port).ok();
    free(PORTS, PORTS_LEFT_TO_PEOPLE, seed, |port| number(port).is_none_or(&is_taken)).and_then(number)
}

fn free(range: RangeInclusive<u32>, left: u32, seed: u32, is_taken: impl Fn(u32) -> bool) -> Option<u32> {
    let (first, last) = range.into_inner();
    let split = first + left;
    let offset = seed % (last - split + 1);
    let mut candidates = (split + offset..=last).chain(split..split + offset).chain(first..split);
    candidates.find(|number| !is_taken(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_port(taken: RangeInclusive<u16>, seed: u32, expected: Option<u16>) {
        assert_eq!(free_port(|port| taken.contains(&port), seed), expected);
    }

    #[test]
    fn the_low_end_comes_last() {
        check_port(1..=1, 0, Some(30086));
        check_port(1..=1, 5, Some(30091));
        check_port(30091..=32767, 5, Some(30086));
        check_port(30086..=32767, 5, Some(30000));
        check_port(30000..=32767, 5, None);
    }

    #[test]
    fn addresses_are_inside_the_network() {
        assert_eq!(free_address(|_| false, 0), Some(Ipv4Addr::new(10, 96, 1, 1)));
        assert_eq!(free_address(|_| false, u32::MAX).map(has_address), Some(true));
        assert!(has_address(Ipv4Addr::new(10, 96, 0, 1)));
        assert!(!has_address(Ipv4Addr::new(10, 96, 0, 0)));
        assert!(!has_address(Ipv4Addr::new(10, 97, 0, 1)));
        assert!(has_port(30000) && !has_port(32768));
    }
}
