//! Which connections of a swarm come first: canonical peer priority. BEP 40.
//!
//! Both ends of a connection reckon one number from their two addresses, and nobody can
//! choose the numbers that he has with others. Where each peer keeps to its greatest
//! ones, a newcomer finds room with some, and who floods a swarm with connections gets
//! no larger share of it than there are addresses of his.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use crc::{CRC_32_ISCSI, Crc};

use crate::ConnectionId;

/// CRC32-C, which iSCSI uses as well.
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The priority of a connection between who listens at `a` and who listens at `b`, the
/// greater the better; to both ends it is the same. BEP 40.
pub fn peer_priority(a: SocketAddr, b: SocketAddr) -> u32 {
    match (a.ip().to_canonical(), b.ip().to_canonical()) {
        (a_ip, b_ip) if a_ip == b_ip => of(a.port().to_be_bytes(), b.port().to_be_bytes()),
        (IpAddr::V4(a), IpAddr::V4(b)) => of_addresses(a.octets(), b.octets(), 2),
        // An IPv4 address among IPv6 ones is the one that is mapped from it.
        (a, b) => of_addresses(as_ipv6(a), as_ipv6(b), 6),
    }
}

/// The first `whole` bytes of addresses count whole, and more if they have these in
/// common: all up to the first that differs. Of the others every second bit counts, so
/// that to have a network's other addresses gains one little.
fn of_addresses<const N: usize>(mut a: [u8; N], mut b: [u8; N], whole: usize) -> u32 {
    let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    for at in whole.max(common + 1)..N {
        a[at] &= 0x55;
        b[at] &= 0x55;
    }
    of(a, b)
}

/// Of both, the smaller one first.
fn of<const N: usize>(a: [u8; N], b: [u8; N]) -> u32 {
    CRC32C.checksum(&[a.min(b), a.max(b)].concat())
}

fn as_ipv6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// Our own address, as those see it whom we are connected to (BEP 10, `yourip`). Each
/// has a vote, so that a single liar does not choose our priorities for us. BEP 40.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnAddress {
    votes: BTreeMap<ConnectionId, IpAddr>,
}

impl OwnAddress {
    /// A remote says where it sees us.
    pub(crate) fn seen(&mut self, by: ConnectionId, ip: IpAddr) {
        self.votes.insert(by, ip.to_canonical());
    }

    /// A connection is over.
    pub(crate) fn forget(&mut self, by: ConnectionId) {
        self.votes.remove(&by);
    }

    /// Whether nobody has said anything yet.
    pub(crate) fn is_unknown(&self) -> bool {
        self.votes.is_empty()
    }

    /// Our address of the version of `other`: the one that most see.
    pub(crate) fn like(&self, other: IpAddr) -> Option<IpAddr> {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        let other = other.to_canonical();
        for ip in self.votes.values().filter(|ip| ip.is_ipv4() == other.is_ipv4()) {
            *counts.entry(*ip).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(ip, _)| ip)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn priority(a: &str, b: &str) -> u32 {
        let at = |ip: &str| SocketAddr::new(ip.parse().unwrap(), 6881);
        peer_priority(at(a), at(b))
    }

    fn crc(hexadecimal: &str) -> u32 {
        CRC32C.checksum(&data_encoding::HEXLOWER.decode(hexadecimal.as_bytes()).unwrap())
    }

    #[test]
    fn the_examples_of_bep_40() {
        assert_eq!(crc("624c14007bd50000"), 0xec2d_7224);
        assert_eq!(priority("123.213.32.10", "98.76.54.32"), 0xec2d_7224);
        assert_eq!(priority("123.213.32.10", "123.213.32.234"), 0x9956_8189);
    }

    #[test]
    fn of_an_ipv4_address_more_counts_among_neighbours() {
        // FF.FF.55.55, and FF.FF.FF.55 within a /16.
        assert_eq!(priority("10.0.255.255", "10.1.170.1"), crc("0a0055550a010001"));
        assert_eq!(priority("10.0.255.255", "10.0.170.171"), crc("0a00aa010a00ff55"));
    }

    #[test]
    fn of_an_ipv6_address_six_bytes_count_and_more_among_neighbours() {
        let of = |a: &str, b: &str| crc(&[a, b].concat());
        assert_eq!(
            priority("2001:db8:0:ffff::1", "2001:db8:1:ffff::1"),
            of("20010db8000055550000000000000001", "20010db8000155550000000000000001"),
        );
        // In the same /48, and in the same /56.
        assert_eq!(
            priority("2001:db8::ff:ff:ff:ff", "2001:db8:0:100:ff:ff:ff:ff"),
            of("20010db8000000000055005500550055", "20010db8000001000055005500550055"),
        );
        assert_eq!(
            priority("2001:db8::aa:aa:aa:aa", "2001:db8:0:ff:aa:aa:aa:aa"),
            of("20010db8000000000000000000000000", "20010db8000000ff0000000000000000"),
        );
    }

    #[test]
    fn of_two_peers_at_one_address_the_ports_count() {
        let at = |port| SocketAddr::from(([10, 0, 0, 1], port));
        assert_eq!(peer_priority(at(0x4d2), at(0x12c)), crc("012c04d2"));
        assert_eq!(peer_priority(at(0x12c), at(0x4d2)), crc("012c04d2"));
    }

    #[test]
    fn our_address_is_the_one_that_most_see() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut own = OwnAddress::default();
        assert_eq!(own.like(ip("1.2.3.4")), None);
        own.seen(ConnectionId(1), ip("::ffff:10.0.0.9"));
        own.seen(ConnectionId(2), ip("10.0.0.1"));
        own.seen(ConnectionId(3), ip("10.0.0.1"));
        own.seen(ConnectionId(4), ip("2001:db8::1"));
        assert_eq!(own.like(ip("1.2.3.4")), Some(ip("10.0.0.1")));
        assert_eq!(own.like(ip("2001:db8::2")), Some(ip("2001:db8::1")));
        own.forget(ConnectionId(2));
        own.forget(ConnectionId(3));
        assert_eq!(own.like(ip("1.2.3.4")), Some(ip("10.0.0.9")));
    }

    proptest! {
        #[test]
        fn both_ends_of_a_connection_give_it_the_same_priority(
            a in any::<(IpAddr, u16)>(),
            b in any::<(IpAddr, u16)>(),
        ) {
            let (a, b) = (SocketAddr::from(a), SocketAddr::from(b));
            prop_assert_eq!(peer_priority(a, b), peer_priority(b, a));
        }
    }
}
