use std::{cell::RefCell, rc::Rc, time::Duration};

use etherparse::{SlicedPacket, TransportSlice};
use pcap_file::pcapng::{
    Block, PcapNgReader,
    blocks::{
        enhanced_packet::EnhancedPacketOption, opt_common::CommonOption,
        section_header::SectionHeaderOption,
    },
};
use reseed_client::{Listener, Network};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{Fate, HostId, HostLink, Impairment, PacketSummary, Recorder, World, WorldOptions};

/// What is in a file: comments of the section, interfaces, packets.
#[derive(Default)]
struct File {
    section: Vec<String>,
    interfaces: usize,
    packets: Vec<Shown>,
}

struct Shown {
    at: Duration,
    interface: u32,
    bytes: Vec<u8>,
    comments: Vec<String>,
    dropped: bool,
}

fn file(capture: &Capture, comments: &[String]) -> File {
    let mut out = Vec::new();
    capture.write(comments, &mut out).expect("a vector takes everything");
    let mut reader = PcapNgReader::new(&out[..]).expect("it begins with a section");
    let section = reader.section().options.iter().filter_map(section_comment).collect();
    let mut file = File { section, ..File::default() };
    while let Some(block) = reader.next_block() {
        let (block, _) = block.expect("it is well-formed");
        match block {
            Block::InterfaceDescription(_) => file.interfaces += 1,
            Block::EnhancedPacket(packet) => file.packets.push(Shown {
                at: packet.timestamp,
                interface: packet.interface_id,
                bytes: packet.data.to_vec(),
                comments: packet.options.iter().filter_map(packet_comment).collect(),
                dropped: packet.options.iter().any(is_drop),
            }),
            other => panic!("a block of another kind: {other:?}"),
        }
    }
    file
}

fn section_comment(option: &SectionHeaderOption<'_>) -> Option<String> {
    match option {
        SectionHeaderOption::Common(CommonOption::Comment(words)) => Some(words.to_string()),
        _ => None,
    }
}

fn packet_comment(option: &EnhancedPacketOption<'_>) -> Option<String> {
    match option {
        EnhancedPacketOption::Common(CommonOption::Comment(words)) => Some(words.to_string()),
        _ => None,
    }
}

fn is_drop(option: &EnhancedPacketOption<'_>) -> bool {
    let dropped = [1, 2, 0, 0, 0, 0, 0, 0, 0];
    matches!(option, EnhancedPacketOption::Common(CommonOption::Unknown(it))
        if it.code == 7 && it.value[..] == dropped)
}

struct Keeper(RefCell<Capture>);

impl Recorder for Keeper {
    fn record(&self, at: Time, event: &Event<'_>) {
        self.0.borrow_mut().event(at, event);
    }

    fn sets_out(&self, at: Time, number: u64, again: bool, packet: &Packet) {
        self.0.borrow_mut().sets_out(at, number, again, packet);
    }
}

/// Takes the packet of that number when it first sets out.
struct Takes(Option<u64>);

impl Impairment for Takes {
    fn fate(&mut self, _: Time, packet: &PacketSummary, _: HostId, _: Option<HostId>) -> Fate {
        match self.0.take_if(|number| *number == packet.number) {
            Some(_) => Fate::Lose,
            None => Fate::Pass,
        }
    }
}

/// One host says `hello` to another, and packet `takes` is lost.
fn hello(takes: Option<u64>, addresses: [IpAddr; 2]) -> Capture {
    let named = addresses.into_iter().zip(["a".to_owned(), "b".to_owned()]);
    let mut world = World::new(WorldOptions::default());
    let keeper = Rc::new(Keeper(RefCell::new(Capture::new(named))));
    world.set_recorder(keeper.clone());
    world.set_impairment(Box::new(Takes(takes)));
    let a = world.add_host("a", [addresses[0]], HostLink::default());
    let b = world.add_host("b", [addresses[1]], HostLink::default());
    let (from, to) = (a.network(), b.network());
    let at = (addresses[1], 6881).into();
    b.spawn("listens", async move {
        let mut listener = to.listen(at).await.unwrap();
        let mut said = [0; 5];
        listener.accept().await.unwrap().0.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"hello");
    });
    a.spawn("dials", async move {
        from.connect(at).await.unwrap().write_all(b"hello").await.unwrap();
    });
    world.run_until(Time::from_secs(20)).unwrap();
    drop(world);
    let Ok(keeper) = Rc::try_unwrap(keeper) else { panic!("the world is gone") };
    keeper.0.into_inner()
}

fn v4() -> [IpAddr; 2] {
    [[10, 0, 0, 1].into(), [10, 0, 0, 2].into()]
}

/// Holds that every packet reads back as IP and TCP with right checksums; returns the
/// payloads.
fn payloads(file: &File) -> Vec<Vec<u8>> {
    let payload = |shown: &Shown| {
        let packet = SlicedPacket::from_ip(&shown.bytes).expect("it is an IP packet");
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("it is no TCP") };
        let header = tcp.to_header();
        let right = match packet.net.as_ref().expect("it has an IP header") {
            etherparse::NetSlice::Ipv4(ip) => {
                let ip = ip.header().to_header();
                assert_eq!(ip.header_checksum, ip.calc_header_checksum());
                header.calc_checksum_ipv4(&ip, tcp.payload())
            }
            etherparse::NetSlice::Ipv6(ip) => {
                header.calc_checksum_ipv6(&ip.header().to_header(), tcp.payload())
            }
            _ => panic!("it is no IP"),
        };
        assert_eq!(Ok(header.checksum), right.map_err(|error| error.to_string()));
        tcp.payload().to_vec()
    };
    file.packets.iter().map(payload).collect()
}

#[test]
fn every_packet_is_there_once_at_its_time_on_its_senders_interface() {
    let v6 = ["2001:db8::1", "2001:db8::2"].map(|address| address.parse().unwrap());
    for addresses in [v4(), v6] {
        let file = file(&hello(None, addresses), &["why".to_owned()]);
        assert_eq!((&file.section[..], file.interfaces), (&["why".to_owned()][..], 2));
        let said = payloads(&file);
        assert_eq!(said.iter().filter(|said| said[..] == b"hello"[..]).count(), 1);
        assert!(file.packets.is_sorted_by_key(|packet| packet.at));
        assert!(file.packets[0].at >= Duration::from_secs(crate::members::UNIX_EPOCH_S));
        assert_eq!((file.packets[0].interface, file.packets[1].interface), (0, 1), "SYN, SYN-ACK");
        assert!(file.packets.iter().all(|packet| !packet.dropped && packet.comments.is_empty()));
    }
}

#[test]
fn a_packet_that_is_lost_is_marked_and_comes_again() {
    let capture = hello(Some(1), v4());
    assert_eq!(capture.lost(), 1);
    let file = file(&capture, &[]);
    let (first, second) = (&file.packets[0], &file.packets[1]);
    assert!(first.dropped && !second.dropped);
    assert_eq!(first.bytes, second.bytes, "the same SYN");
    assert_eq!(second.at - first.at, Duration::from_secs(1));
    assert_eq!(first.comments, ["lost at 0.000000 s: a fault takes it; sent again at 1.000000 s"]);
    assert_eq!(second.comments, ["sent again"]);
}

#[test]
fn what_happens_is_told_on_the_next_packet_or_by_the_section() {
    let mut capture = hello(None, v4());
    capture.note(Time::ZERO, "a starts");
    capture.note(Time::from_secs(30), "everybody leaves");
    let file = file(&capture, &[]);
    assert_eq!(file.packets[0].comments, ["0.000000 s: a starts"]);
    assert_eq!(file.section, ["30.000000 s: everybody leaves"]);
}
