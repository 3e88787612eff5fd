//! Which peers are near: a preference that spares the links between networks.

use std::net::IpAddr;

/// The rank of who is near, among ranks of which the greater is preferred. Whoever
/// is not has 0.
const NEAR: u32 = 100;

/// Who counts as near. It is a preference among peers, and keeps nobody out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Locality {
    /// Nobody is nearer than others.
    #[default]
    Anywhere,
    /// Whoever has an address that begins like this one.
    Prefix(Prefix),
    /// Whoever has an address whose last byte is odd, or even: no nearness at all,
    /// but one that needs no knowledge of the network, to try a preference with.
    Parity {
        /// Whether odd ones are preferred.
        odd: bool,
    },
}

/// The first bits of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

impl Prefix {
    /// The first `bits` (count) of `address`; all of them if it has fewer.
    pub fn new(address: IpAddr, bits: u8) -> Prefix {
        Prefix { address, bits }
    }

    /// Whether `address` begins with these bits. One of another family never does.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => self.agree(&ours.octets(), &other.octets()),
            (IpAddr::V6(ours), IpAddr::V6(other)) => self.agree(&ours.octets(), &other.octets()),
            _ => false,
        }
    }

    fn agree(&self, ours: &[u8], other: &[u8]) -> bool {
        let whole = (usize::from(self.bits) / 8).min(ours.len());
        let rest = if whole < ours.len() { self.bits % 8 } else { 0 };
        ours[..whole] == other[..whole]
            && (rest == 0 || (ours[whole] ^ other[whole]) >> (8 - rest) == 0)
    }
}

impl Locality {
    /// How near `address` is: the greater, the nearer.
    pub fn rank(&self, address: IpAddr) -> u32 {
        let near = match self {
            Locality::Anywhere => false,
            Locality::Prefix(prefix) => prefix.contains(address),
            Locality::Parity { odd } => (last_byte(address) % 2 == 1) == *odd,
        };
        if near { NEAR } else { 0 }
    }
}

fn last_byte(address: IpAddr) -> u8 {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets()[3],
        IpAddr::V6(address) => address.octets()[15],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_holds_the_addresses_that_begin_with_its_bits() {
        let near =
            |prefix: &str, bits, other: &str| Prefix::new(ip(prefix), bits).contains(ip(other));
        assert!(near("10.1.2.3", 16, "10.1.255.0"));
        assert!(!near("10.1.2.3", 16, "10.2.2.3"));
        assert!(near("10.0.128.0", 17, "10.0.255.1"));
        assert!(!near("10.0.128.0", 17, "10.0.127.1"));
        assert!(near("10.1.2.3", 32, "10.1.2.3"));
        assert!(!near("10.1.2.3", 200, "10.1.2.2"), "all of its bits");
        assert!(near("10.1.2.3", 0, "203.0.113.1"));
        assert!(near("2001:db8::1", 32, "2001:db8:ffff::"));
        assert!(!near("2001:db8::1", 32, "2001:db9::1"));
    }

    #[test]
    fn addresses_of_two_families_are_never_near_unless_one_is_mapped() {
        assert!(!Prefix::new(ip("10.0.0.1"), 0).contains(ip("2001:db8::1")));
        assert!(Prefix::new(ip("10.0.0.1"), 8).contains(ip("::ffff:10.9.9.9")));
    }

    #[test]
    fn who_is_near_ranks_before_who_is_not() {
        let subnet = Locality::Prefix(Prefix::new(ip("10.1.0.1"), 16));
        assert!(subnet.rank(ip("10.1.0.9")) > subnet.rank(ip("10.2.0.9")));
        let even = Locality::Parity { odd: false };
        assert!(even.rank(ip("10.2.0.4")) > even.rank(ip("10.1.0.1")));
        assert_eq!(Locality::Anywhere.rank(ip("10.1.0.1")), Locality::Anywhere.rank(ip("::1")));
    }
}
