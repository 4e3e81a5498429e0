//! Where a registry may send us. Pure.

use std::net::{IpAddr, Ipv4Addr};

use reqwest::Url;

use super::answer::shown;
use super::error::ClientError;

/// Checks a redirect or upload address. Says whether credentials may go along: only to where they came from.
pub(super) fn check(from: &Url, to: &Url, private_allowed: bool) -> Result<bool, ClientError> {
    let refuse = |problem| Err(ClientError::Redirect { from: shown(from), to: shown(to), problem });
    if !matches!(to.scheme(), "http" | "https") {
        return refuse("that is not HTTP");
    }
    if from.scheme() == "https" && to.scheme() == "http" {
        return refuse("that would give up TLS");
    }
    if !to.username().is_empty() || to.password().is_some() {
        return refuse("the address carries a user name");
    }
    let same_host = from.host_str() == to.host_str();
    if !same_host && is_private(to) && !is_private(from) && !private_allowed {
        return refuse("that is a private address");
    }
    Ok(same_host
        && from.scheme() == to.scheme()
        && from.port_or_known_default() == to.port_or_known_default())
}

/// Whether the address is on this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match address(url) {
        Some(address) => address.is_loopback(),
        None => {
            let name = url.host_str().unwrap_or_default().trim_end_matches('.');
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

fn is_private(url: &Url) -> bool {
    let Some(address) = address(url) else { return is_loopback(url) };
    match address {
        IpAddr::V4(address) => {
            let shared = (u32::from(address) & 0xffc0_0000) == u32::from(Ipv4Addr::new(100, 64, 0, 0));
            address.is_loopback()
                || address.is_private()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_broadcast()
                || shared
        }
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_unspecified()
        }
    }
}

/// The host, where it is an address. An IPv4 address in IPv6 clothes is an IPv4 address.
fn address(url: &Url) -> Option<IpAddr> {
    match url.host_str()?.trim_matches(['[', ']']).parse().ok()? {
        IpAddr::V6(address) => Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)),
        address => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: &str, to: &str) -> Result<bool, &'static str> {
        match super::check(&from.parse().unwrap(), &to.parse().unwrap(), false) {
            Ok(same) => Ok(same),
            Err(ClientError::Redirect { problem, .. }) => Err(problem),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn credentials_stay_with_their_origin() {
        assert_eq!(check("https://r.example/v2/", "https://r.example:443/x"), Ok(true));
        assert_eq!(check("https://r.example/v2/", "https://r.example:8443/x"), Ok(false));
        assert_eq!(check("https://r.example/v2/", "https://cdn.example/x"), Ok(false));
        assert_eq!(check("http://r.example/v2/", "https://r.example/x"), Ok(false));
    }

    #[test]
    fn some_ways_are_not_gone() {
        let https = "https://r.example/v2/";
        assert_eq!(check(https, "http://r.example/x"), Err("that would give up TLS"));
        assert_eq!(check(https, "ftp://r.example/x"), Err("that is not HTTP"));
        assert_eq!(check(https, "https://me:pw@r.example/x"), Err("the address carries a user name"));
        for private in [
            "https://localhost/x",
            "https://a.localhost/x",
            "https://127.0.0.1/x",
            "https://10.1.2.3/x",
            "https://192.168.0.1/x",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1/",
            "https://0.0.0.0/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[fd00::1]/",
            "https://[fe80::1]/",
            "https://2130706433/",
        ] {
            assert_eq!(check(https, private), Err("that is a private address"), "{private}");
        }
    }

    #[test]
    fn a_private_registry_may_stay_private() {
        assert_eq!(check("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/x"), Ok(false));
        assert_eq!(check("http://10.0.0.1/v2/", "http://10.0.0.2/x"), Ok(false));
        let (from, to) = ("https://r.example/".parse().unwrap(), "https://10.0.0.2/".parse().unwrap());
        assert!(!super::check(&from, &to, true).unwrap());
    }
}
