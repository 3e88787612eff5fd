//! Packets as bytes, in a pcapng file. draft-ietf-opsawg-pcapng.

use std::{
    borrow::Cow,
    io::{self, Write},
    net::IpAddr,
    time::Duration,
};

use etherparse::{PacketBuilder, PacketBuilderStep, TcpHeader};
use pcap_file::{
    DataLink, Endianness,
    pcapng::{
        PcapNgBlock, PcapNgWriter,
        blocks::{
            enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption},
            interface_description::{
                InterfaceDescriptionBlock, InterfaceDescriptionOption, InterfaceTsResolution,
            },
            opt_common::{CommonOption, UnknownOption},
            section_header::{SectionHeaderBlock, SectionHeaderOption},
        },
    },
};
use reseed_protocol::Time;
use turmoil_net::{Packet, TcpSegment, Transport};

use super::{Capture, Captured, Lost};
use crate::{Loss, members::UNIX_EPOCH_S};

/// `epb_flags`, the direction: every packet is seen as it leaves its sender.
const OUTBOUND: u32 = 2;

/// `epb_verdict`, and in it: what Linux's traffic control says, which is to drop it.
const EPB_VERDICT: u16 = 7;
const LINUX_TC: u8 = 1;
const TC_ACT_SHOT: u64 = 2;

pub(super) fn write(capture: &Capture, comments: &[String], out: impl Write) -> io::Result<()> {
    let application = concat!("reseed ", env!("CARGO_PKG_VERSION"));
    let mut options = vec![SectionHeaderOption::UserApplication(application.into())];
    let said = |(at, words): &(Time, String)| (*at, format!("{at} s: {words}"));
    // What comes behind the last packet has none to stand on.
    let last = capture.packets.last().map(|packet| packet.at);
    let behind = capture.notes.iter().filter(|(at, _)| last.is_none_or(|last| *at > last));
    let comments = comments.iter().cloned().chain(behind.map(|note| said(note).1));
    options.extend(comments.map(|words| SectionHeaderOption::Common(comment(words))));
    let mut notes = capture.notes.iter().map(said).peekable();
    // The same bytes on every machine.
    let endianness = Endianness::Little;
    let section = SectionHeaderBlock { endianness, options, ..SectionHeaderBlock::default() };
    let mut writer = PcapNgWriter::with_section_header(out, section).map_err(io::Error::other)?;
    for (address, name) in &capture.hosts {
        let block = interface(*address, name).into_block();
        writer.write_block(&block).map_err(io::Error::other)?;
    }
    for captured in &capture.packets {
        let mut comments = Vec::new();
        while let Some((_, words)) = notes.next_if(|(at, _)| *at <= captured.at) {
            comments.push(words);
        }
        let block = packet(capture, captured, comments)?.into_block();
        writer.write_block(&block).map_err(io::Error::other)?;
    }
    writer.into_inner().flush()
}

fn interface(address: IpAddr, name: &str) -> InterfaceDescriptionBlock<'_> {
    let address = match address {
        // With the mask.
        IpAddr::V4(ip) => {
            InterfaceDescriptionOption::IfIpv4Addr([ip.octets(), [255; 4]].concat().into())
        }
        // With the length of the prefix.
        IpAddr::V6(ip) => {
            InterfaceDescriptionOption::IfIpv6Addr([&ip.octets()[..], &[128]].concat().into())
        }
    };
    let options = vec![
        InterfaceDescriptionOption::IfName(name.into()),
        InterfaceDescriptionOption::IfDescription(
            "simulated host; packets are seen as they leave it".into(),
        ),
        address,
        InterfaceDescriptionOption::IfTsResol(InterfaceTsResolution::NANO),
    ];
    InterfaceDescriptionBlock { linktype: DataLink::RAW, snaplen: 0, options }
}

fn packet(
    capture: &Capture,
    captured: &Captured,
    mut comments: Vec<String>,
) -> io::Result<EnhancedPacketBlock<'static>> {
    let source = captured.packet.src;
    let host = capture.hosts.iter().position(|(address, _)| *address == source);
    let host = host.ok_or_else(|| io::Error::other(format!("{source} is no host's address")))?;
    let mut options = vec![EnhancedPacketOption::Flags(OUTBOUND)];
    if captured.again {
        comments.push("sent again".to_owned());
    }
    if let Some(lost) = &captured.lost {
        comments.push(words(lost));
        let verdict = [&[LINUX_TC][..], &TC_ACT_SHOT.to_le_bytes()].concat();
        options.push(EnhancedPacketOption::Common(CommonOption::Unknown(UnknownOption {
            code: EPB_VERDICT,
            value: verdict.into(),
        })));
    }
    options.extend(comments.into_iter().map(|it| EnhancedPacketOption::Common(comment(it))));
    let data = bytes(&captured.packet)?;
    Ok(EnhancedPacketBlock {
        interface_id: host as u32,
        timestamp: Duration::from_secs(UNIX_EPOCH_S) + captured.at.since_epoch(),
        original_len: data.len() as u32,
        data: data.into(),
        options,
    })
}

/// Bytes of a comment: an option's length has 16 bits.
const COMMENT_MAX: usize = 60_000;

fn comment(mut words: String) -> CommonOption<'static> {
    words.truncate(words.floor_char_boundary(COMMENT_MAX));
    CommonOption::Comment(Cow::Owned(words))
}

fn words(lost: &Lost) -> String {
    let Lost { at, cause, until } = lost;
    let why = match cause {
        Loss::QueueFull => "a queue is full",
        Loss::Impaired => "a fault takes it",
        Loss::Unreachable => "nobody is there",
        Loss::SenderGone => "its sender is gone",
        Loss::TimedOut => "its sender gives up",
    };
    match until {
        Some(until) => format!("lost at {at} s: {why}; sent again at {until} s"),
        None => format!("lost at {at} s: {why}"),
    }
}

/// A packet from its IP header on, with right checksums.
fn bytes(packet: &Packet) -> io::Result<Vec<u8>> {
    let header = match (packet.src, packet.dst) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            PacketBuilder::ipv4(from.octets(), to.octets(), packet.ttl)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            PacketBuilder::ipv6(from.octets(), to.octets(), packet.ttl)
        }
        (from, to) => return Err(io::Error::other(format!("a packet from {from} to {to}"))),
    };
    let mut out = Vec::new();
    match &packet.payload {
        Transport::Tcp(segment) => with_tcp(header, segment).write(&mut out, &segment.payload),
        Transport::Udp(datagram) => {
            header.udp(datagram.src_port, datagram.dst_port).write(&mut out, &datagram.payload)
        }
    }
    .map_err(io::Error::other)?;
    Ok(out)
}

fn with_tcp(
    header: PacketBuilderStep<etherparse::IpHeaders>,
    segment: &TcpSegment,
) -> PacketBuilderStep<TcpHeader> {
    let mut tcp = TcpHeader::new(segment.src_port, segment.dst_port, segment.seq, segment.window);
    tcp.acknowledgment_number = segment.ack;
    (tcp.syn, tcp.ack, tcp.fin) = (segment.flags.syn, segment.flags.ack, segment.flags.fin);
    (tcp.rst, tcp.psh, tcp.urg) = (segment.flags.rst, segment.flags.psh, segment.flags.urg);
    header.tcp_header(tcp)
}
