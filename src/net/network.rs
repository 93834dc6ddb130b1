//! Networks in `trusted_proxies`: an address, or an address and a prefix length (RFC 4632, RFC 4291 section
//! 2.3).

use super::system::Peer;
use crate::base::UNIX_PREFIX;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A set of peers: a network of addresses (`10.0.0.0/8`, `fd00::/8`, a single address), or all clients of
/// Unix sockets, which have no address (`unix:`, as in nginx).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// A network of addresses.
    Ip(IpNetwork),
    /// Clients of Unix sockets.
    Unix,
}

/// A network of addresses.
///
/// A socket that listens on `[::]` reports an IPv4 peer as `::ffff:10.0.0.1`. Both notations are the same
/// address here, in the network and in the address to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpNetwork {
    /// The first address; bits after the prefix are zero.
    first: IpAddr,
    /// Prefix length in bits: up to 32 for IPv4, up to 128 for IPv6.
    prefix_bits: u8,
}

/// Why a text is not a network, for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkError {
    /// The fault.
    pub what: String,
    /// What to write instead.
    pub hint: String,
}

impl Network {
    /// Parses a network.
    ///
    /// # Errors
    /// As [`IpNetwork::parse`].
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        match text {
            UNIX_PREFIX => Ok(Self::Unix),
            "unix" => Err(NetworkError {
                what: "not a network".to_owned(),
                hint: format!("clients of Unix sockets are \"{UNIX_PREFIX}\""),
            }),
            _ => IpNetwork::parse(text).map(Self::Ip),
        }
    }

    /// Whether the peer belongs to the network.
    pub fn contains(&self, peer: impl Into<Peer>) -> bool {
        match (self, peer.into()) {
            (Self::Ip(network), Peer::Ip(address)) => network.contains(address),
            (Self::Unix, Peer::Unix) => true,
            (Self::Ip(_), Peer::Unix) | (Self::Unix, Peer::Ip(_)) => false,
        }
    }
}

impl IpNetwork {
    /// Parses a network of addresses.
    ///
    /// # Errors
    /// A malformed address or prefix length, or bits set after the prefix: `10.0.0.1/8` may mean one address
    /// or sixteen million.
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| NetworkError {
            what: "not a network".to_owned(),
            hint: "an address and the length of its prefix, as in \"10.0.0.0/8\" or \"fd00::/8\"".to_owned(),
        })?;
        let written_bits = bits_of(written);
        let prefix_bits = match length {
            None => written_bits,
            Some(length) => prefix_length(length, written_bits)?,
        };
        let network = Self::normalised(written, prefix_bits);
        let first = masked(network.first, network.prefix_bits);
        if first != network.first {
            let meant = Self { first, prefix_bits: network.prefix_bits };
            return Err(NetworkError {
                what: format!("bits are set behind the prefix of {} bits", network.prefix_bits),
                hint: format!("the network is \"{meant}\"; the one address is \"{}\"", network.first),
            });
        }
        Ok(network)
    }

    /// Whether the network contains `address`. IPv4-mapped IPv6 addresses count as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        bits_of(address) == bits_of(self.first) && masked(address, self.prefix_bits) == self.first
    }

    /// A network within `::ffff:0:0/96` becomes the IPv4 network that it maps.
    fn normalised(address: IpAddr, prefix_bits: u8) -> Self {
        match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(mapped)) if prefix_bits >= 96 => {
                Self { first: IpAddr::V4(mapped), prefix_bits: prefix_bits - 96 }
            }
            _ => Self { first: address, prefix_bits },
        }
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_bits)
    }
}

/// Bits of an address of that family.
fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Parses a prefix length: digits only, at most `bits_max`.
fn prefix_length(text: &str, bits_max: u8) -> Result<u8, NetworkError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&bits| digits && bits <= bits_max).ok_or_else(|| NetworkError {
        what: "not the length of a prefix".to_owned(),
        hint: format!("behind the `/` stands a number of bits from 0 to {bits_max}"),
    })
}

/// The address with all bits after the first `prefix_bits` cleared.
fn masked(address: IpAddr, prefix_bits: u8) -> IpAddr {
    // A shift by the whole width overflows: `checked_shl` gives `None`, and no bit is kept.
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix_bits.min(32))).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix_bits.min(128))).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contains_what_it_should() {
        let cases = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "::ffff:11.1.2.3", false),
            ("192.168.1.7", "192.168.1.7", true),
            ("192.168.1.7", "192.168.1.8", false),
            ("::ffff:192.168.1.7", "192.168.1.7", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "127.0.0.1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::1", "::1", true),
            ("172.16.0.0/12", "172.31.255.255", true),
            ("172.16.0.0/12", "172.32.0.0", false),
            ("10.0.0.4/31", "10.0.0.5", true),
            ("10.0.0.4/31", "10.0.0.6", false),
        ];
        for (network, address, inside) in cases {
            let read = Network::parse(network).unwrap();
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(read.contains(address), inside, "{network} {address}");
            assert!(!read.contains(Peer::Unix) && !Network::Unix.contains(address));
        }
        assert!(Network::parse("unix:").unwrap().contains(Peer::Unix));
        assert!(Network::parse("unix").unwrap_err().hint.contains("\"unix:\""));
    }

    #[test]
    fn refuses_what_can_be_read_in_two_ways() {
        let refused = Network::parse("10.0.0.1/8").unwrap_err();
        assert_eq!(refused.hint, "the network is \"10.0.0.0/8\"; the one address is \"10.0.0.1\"");
        for text in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "::/129",
            "10.0.0/8",
            "010.0.0.0/8",
            "localhost",
            "10.0.0.0/ 8",
            "10.0.0.0/255.0.0.0",
            "fd00::1/8",
            "[::1]",
            "10.0.0.0/999",
        ] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
    }
}
