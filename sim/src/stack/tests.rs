//! What RFC 9293 (TCP), RFC 1122 (hosts) and RFC 768 (UDP) ask of a stack, segment by
//! segment.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Wake, Waker},
};

use proptest::prelude::*;
use tokio::io::ReadBuf;

use super::{
    connection::{RECEIVE_BUFFER, SEND_BUFFER},
    *,
};

const A: HostId = HostId(0);
const B: HostId = HostId(1);
const PORT: u16 = 80;

fn ip(host: HostId) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, host.0 as u8 + 1).into()
}

fn server() -> SocketAddr {
    SocketAddr::new(ip(B), PORT)
}

/// Two hosts, and the packets that go between them.
struct Net {
    stacks: Stacks,
    now: Time,
    /// Flags, sequence number, acknowledgement, window and payload of what was sent.
    seen: Vec<String>,
}

impl Net {
    fn new() -> Net {
        let mut stacks = Stacks::new(1500);
        stacks.add(vec![ip(A)]);
        stacks.add(vec![ip(B)]);
        Net { stacks, now: Time::ZERO, seen: Vec::new() }
    }

    /// What leaves the hosts now.
    fn flush(&mut self) -> Vec<Packet> {
        let mut out = Vec::new();
        self.stacks.flush(self.now, &mut out);
        let out: Vec<Packet> = out.into_iter().map(|(packet, _)| packet).collect();
        self.seen.extend(out.iter().map(words));
        out
    }

    fn deliver(&mut self, packets: Vec<Packet>) {
        for packet in packets {
            let to = if packet.dst == ip(A) { A } else { B };
            self.stacks.deliver(self.now, to, &packet, None);
        }
    }

    /// All that is sent arrives, until nobody says anything any more.
    fn exchange(&mut self) {
        loop {
            let packets = self.flush();
            if !packets.is_empty() {
                self.deliver(packets);
            } else if let Some(at) = self.stacks.next_acknowledgement() {
                self.now = at;
                assert!(self.stacks.acknowledge(at), "something is due at {at}");
            } else {
                return;
            }
        }
    }

    /// A connection from A to B: its two ends, and B's listener.
    fn connected() -> (Net, Id, Id, Id) {
        let mut net = Net::new();
        let (listener, _) = net.stacks.listen(B, B, server()).unwrap();
        let (a, _) = net.stacks.connect(A, A, server()).unwrap();
        net.exchange();
        let b = net.accept(listener).expect("it is accepted");
        net.seen.clear();
        (net, a, b, listener)
    }

    fn accept(&mut self, listener: Id) -> Option<Id> {
        match self.stacks.poll_accept(listener, &cx()) {
            Poll::Ready(accepted) => accepted.ok().map(|(id, ..)| id),
            Poll::Pending => None,
        }
    }

    fn connection(&mut self, id: Id) -> &mut Connection {
        self.stacks.connections.get_mut(id).expect("it is there")
    }

    fn write(&mut self, host: HostId, id: Id, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = self.connection(id).poll_write(&cx(), bytes.len(), |unsent, now| {
            unsent.push(&bytes[..now]);
        });
        self.stacks.touch(host, id);
        poll
    }

    /// Reads up to `most` bytes.
    fn read(&mut self, host: HostId, id: Id, most: usize) -> Poll<Result<Vec<u8>, ErrorKind>> {
        self.read_with(host, id, most, &cx())
    }

    fn read_with(
        &mut self,
        host: HostId,
        id: Id,
        most: usize,
        cx: &Context<'_>,
    ) -> Poll<Result<Vec<u8>, ErrorKind>> {
        let mut space = vec![0; most];
        let mut buffer = ReadBuf::new(&mut space);
        let poll = self.connection(id).poll_read(cx, |received| received.read(&mut buffer));
        if let Poll::Ready(Ok(((), true))) = poll {
            self.stacks.touch(host, id);
        }
        poll.map(|done| done.map(|_| buffer.filled().to_vec()).map_err(|error| error.kind()))
    }

    fn shut_down(&mut self, host: HostId, id: Id) {
        self.connection(id).shut_down().unwrap();
        self.stacks.touch(host, id);
    }

    fn states(&self, host: HostId) -> Vec<NetstatState> {
        self.stacks.netstat(host).iter().filter_map(|entry| entry.state).collect()
    }
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// A segment, with its numbers counted from where its connection started.
fn words(packet: &Packet) -> String {
    let Transport::Tcp(segment) = &packet.payload else { return "udp".to_owned() };
    let TcpFlags { syn, ack, fin, rst, .. } = segment.flags;
    let flags = [(syn, 'S'), (ack, 'A'), (fin, 'F'), (rst, 'R')];
    let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| flag).collect();
    let from = if packet.src == ip(A) { 'a' } else { 'b' };
    let start = |number: u32| number.wrapping_sub(SEQUENCE.0) % SEQUENCE.1;
    let (seq, ack) = (start(segment.seq), start(segment.ack));
    format!("{from} {flags} {seq} {ack} {} {}", segment.window, segment.payload.len())
}

/// Counts how often it is woken.
#[derive(Default)]
struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_connection_takes_three_segments_and_ends_with_two_fins() {
    let mut net = Net::new();
    let (listener, _) = net.stacks.listen(B, B, server()).unwrap();
    let (a, _) = net.stacks.connect(A, A, server()).unwrap();
    net.exchange();
    let b = net.accept(listener).unwrap();
    _ = net.write(A, a, b"hello");
    net.exchange();
    assert_eq!(net.read(B, b, 9), Poll::Ready(Ok(b"hello".to_vec())));
    net.stacks.close_connection(A, a);
    net.exchange();
    net.stacks.close_connection(B, b);
    net.exchange();
    let expected = [
        "a S 0 0 65535 0",
        "b SA 0 1 65535 0",
        "a A 1 1 65535 0",
        "a A 1 1 65535 5",
        "b A 1 6 65530 0",
        "a AF 6 1 65535 0",
        "b A 1 7 65529 0",
        "b AF 1 7 65529 0",
        "a A 7 2 65534 0",
    ];
    assert_eq!(net.seen, expected);
    assert_eq!(net.states(A), []);
    assert_eq!(net.states(B), [NetstatState::Listen]);
}

#[test]
fn a_syn_where_nobody_listens_is_refused() {
    let mut net = Net::new();
    let (a, _) = net.stacks.connect(A, A, server()).unwrap();
    net.exchange();
    assert_eq!(net.seen, ["a S 0 0 65535 0", "b AR 0 1 0 0"]);
    let open = net.connection(a).poll_open(&cx());
    let Poll::Ready(Err(error)) = open else { panic!("{open:?}") };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(net.states(A), []);
}

#[test]
fn segments_carry_the_payload_that_the_mtu_leaves_and_one_acknowledgement_answers_them() {
    let (mut net, a, b, _) = Net::connected();
    assert!(matches!(net.write(A, a, &[7; 4000]), Poll::Ready(Ok(4000))));
    let packets = net.flush();
    let sizes: Vec<u32> = packets.iter().map(Packet::size).collect();
    assert_eq!(sizes, [1500, 1500, 40 + 4000 - 2 * 1460]);
    net.deliver(packets);
    net.seen.clear();
    let answers = net.flush();
    assert_eq!(net.seen, ["b A 1 4001 61535 0"]);
    net.deliver(answers);
    assert_eq!(net.read(B, b, 9000), Poll::Ready(Ok(vec![7; 4000])));
}

/// RFC 5681 §4.2; RFC 1122 §4.2.3.2.
#[test]
fn a_segment_alone_is_acknowledged_a_little_later_and_a_second_one_at_once() {
    let (mut net, a, b, _) = Net::connected();
    let send = |net: &mut Net, bytes: usize| {
        _ = net.write(A, a, &vec![7; bytes]);
        let packets = net.flush();
        net.deliver(packets);
        net.seen.clear();
        net.flush();
        std::mem::take(&mut net.seen)
    };
    assert!(send(&mut net, 100).is_empty());
    let due = net.now + Duration::from_millis(40);
    assert_eq!(net.stacks.next_acknowledgement(), Some(due));
    // Another small one does not put it off, nor does it need one of its own.
    net.now = Time::from_epoch(Duration::from_millis(30));
    assert!(send(&mut net, 100).is_empty());
    assert!(!net.stacks.acknowledge(net.now));
    assert!(net.stacks.acknowledge(due));
    net.flush();
    assert_eq!(net.seen, ["b A 1 201 65335 0"]);
    // More than a full segment is acknowledged at once.
    assert!(send(&mut net, 1460).is_empty());
    assert_eq!(send(&mut net, 1).len(), 1);
    assert_eq!(net.stacks.next_acknowledgement(), None);
    // What is said takes the acknowledgement with it.
    assert!(send(&mut net, 5).is_empty());
    _ = net.write(B, b, b"yes");
    net.flush();
    assert_eq!(net.stacks.next_acknowledgement(), None);
    assert!(!net.stacks.acknowledge(Time::from_secs(9)));
    // So does the end, which cannot wait.
    assert!(send(&mut net, 5).is_empty());
    net.shut_down(A, a);
    assert_eq!(send(&mut net, 0).len(), 1);
}

#[test]
fn one_direction_closes_while_the_other_goes_on() {
    let (mut net, a, b, _) = Net::connected();
    net.shut_down(A, a);
    net.exchange();
    assert_eq!(net.states(A), [NetstatState::FinWait2]);
    assert_eq!(net.states(B)[1], NetstatState::CloseWait);
    assert_eq!(net.read(B, b, 1), Poll::Ready(Ok(Vec::new())), "the end of the stream");
    let error = net.write(A, a, b"x").map_err(|error| error.kind());
    assert!(matches!(error, Poll::Ready(Err(ErrorKind::BrokenPipe))));
    _ = net.write(B, b, b"still here");
    net.exchange();
    assert_eq!(net.read(A, a, 99), Poll::Ready(Ok(b"still here".to_vec())));
    net.shut_down(B, b);
    net.exchange();
    assert_eq!((net.states(A), net.states(B)), (vec![], vec![NetstatState::Listen]));
    assert_eq!(net.read(A, a, 1), Poll::Ready(Ok(Vec::new())));
}

#[test]
fn both_ends_may_close_at_once() {
    let (mut net, a, b, _) = Net::connected();
    net.shut_down(A, a);
    net.shut_down(B, b);
    let packets = net.flush();
    net.deliver(packets);
    assert_eq!(net.states(A), [NetstatState::Closing]);
    net.exchange();
    assert_eq!((net.states(A), net.states(B)), (vec![], vec![NetstatState::Listen]));
}

#[test]
fn data_for_a_reader_that_is_gone_is_answered_with_a_reset() {
    let (mut net, a, b, _) = Net::connected();
    net.stacks.close_connection(B, b);
    net.exchange();
    _ = net.write(A, a, b"anybody?");
    net.exchange();
    assert_eq!(net.read(A, a, 1), Poll::Ready(Err(ErrorKind::ConnectionReset)));
    assert_eq!((net.states(A), net.states(B)), (vec![], vec![NetstatState::Listen]));
}

#[test]
fn closing_with_bytes_unread_resets() {
    let (mut net, a, b, _) = Net::connected();
    _ = net.write(A, a, b"unread");
    net.exchange();
    net.seen.clear();
    net.stacks.close_connection(B, b);
    net.exchange();
    assert_eq!(net.seen, ["b AR 1 7 0 0"]);
    assert_eq!(net.read(A, a, 1), Poll::Ready(Err(ErrorKind::ConnectionReset)));
}

#[test]
fn a_window_that_closes_holds_the_writer_up_until_it_opens() {
    let (mut net, a, b, _) = Net::connected();
    let mut written = 0;
    while let Poll::Ready(Ok(now)) = net.write(A, a, &[1; 10_000]) {
        written += now;
        net.exchange();
    }
    assert_eq!(
        written,
        65_535 + SEND_BUFFER,
        "what the reader's window holds, and the writer's buffer"
    );
    assert!(net.seen.last().unwrap().starts_with("b A 1 0 0 "), "{:?}", net.seen.last());
    net.seen.clear();
    // Less than a segment is no reason to say so.
    assert_eq!(net.read(B, b, 1000), Poll::Ready(Ok(vec![1; 1000])));
    net.exchange();
    assert_eq!(net.seen, [""; 0]);
    assert_eq!(net.read(B, b, 1000), Poll::Ready(Ok(vec![1; 1000])));
    net.exchange();
    // The numbers have come round.
    assert_eq!(net.seen[..2], ["b A 1 0 2001 0", "a A 0 1 65535 1460"]);
    // Whatever the reader does, all arrives.
    let mut read = 2000;
    while let Poll::Ready(Ok(bytes)) = net.read(B, b, 777) {
        read += bytes.len();
        net.exchange();
    }
    assert_eq!(read, written);
}

#[test]
fn a_reader_with_a_low_water_mark_is_woken_when_there_is_enough_and_once() {
    let (mut net, a, b, _) = Net::connected();
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let cx = Context::from_waker(&waker);
    let woken = || count.0.load(Ordering::Relaxed);
    net.connection(b).set_low_water(3000);
    assert!(net.read_with(B, b, 9000, &cx).is_pending());
    for (length, times) in [(1000, 0), (1999, 0), (1, 1), (500, 1)] {
        _ = net.write(A, a, &vec![1; length]);
        net.exchange();
        assert_eq!(woken(), times);
    }
    assert_eq!(net.read_with(B, b, 100, &cx), Poll::Ready(Ok(vec![1; 100])));
    // From the next read on it is what it always was.
    assert_eq!(net.read_with(B, b, 9000, &cx), Poll::Ready(Ok(vec![1; 3400])));
    net.connection(b).set_low_water(3000);
    assert!(net.read_with(B, b, 9000, &cx).is_pending());
    _ = net.write(A, a, b"last");
    net.stacks.close_connection(A, a);
    net.exchange();
    assert_eq!(woken(), 2, "there will be no more");
    assert_eq!(net.read_with(B, b, 9000, &cx), Poll::Ready(Ok(b"last".to_vec())));
}

#[test]
fn a_low_water_mark_above_what_a_window_holds_stalls_nobody() {
    let (mut net, a, b, _) = Net::connected();
    net.connection(b).set_low_water(1_000_000);
    assert!(net.read(B, b, 1).is_pending());
    while let Poll::Ready(Ok(_)) = net.write(A, a, &[1; 9999]) {
        net.exchange();
    }
    let Poll::Ready(Ok(bytes)) = net.read(B, b, 100_000) else { panic!("it waits") };
    assert_eq!(bytes.len(), RECEIVE_BUFFER - 1, "all that a header can tell of");
}

#[test]
fn a_small_segment_waits_for_a_writer_that_has_more_but_not_alone() {
    let (mut net, a, _, _) = Net::connected();
    // Alone, it goes at once.
    _ = net.write(A, a, &[1; 10]);
    let first = net.flush();
    assert_eq!(first.len(), 1);
    // So does the next, as nobody is known to have more.
    _ = net.write(A, a, &[1; 10]);
    assert_eq!(net.flush().len(), 1);
    // The writer waits for room now.
    while net.write(A, a, &[1; 50_000]).is_ready() {}
    let packets = net.flush();
    assert!(packets.iter().all(|packet| packet.size() == 1500));
}

#[test]
fn a_port_is_free_for_the_next_listener_while_connections_of_the_last_go_on() {
    let (mut net, _, b, listener) = Net::connected();
    assert_eq!(
        net.stacks.listen(B, B, server()).map_err(|error| error.kind()),
        Err(ErrorKind::AddrInUse)
    );
    net.stacks.close_listener(B, listener);
    assert!(net.stacks.listen(B, B, server()).is_ok());
    assert_eq!(net.states(B), [NetstatState::Listen, NetstatState::Established]);
    _ = net.connection(b);
}

#[test]
fn a_listener_that_closes_resets_those_whom_it_did_not_accept() {
    let mut net = Net::new();
    let (listener, _) = net.stacks.listen(B, B, server()).unwrap();
    let (open, _) = net.stacks.connect(A, A, server()).unwrap();
    net.exchange();
    let (half, _) = net.stacks.connect(A, A, server()).unwrap();
    let syn = net.flush();
    net.deliver(syn);
    net.stacks.close_listener(B, listener);
    net.exchange();
    assert_eq!(net.read(A, open, 1), Poll::Ready(Err(ErrorKind::ConnectionReset)));
    let Poll::Ready(Err(error)) = net.connection(half).poll_open(&cx()) else { panic!() };
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!((net.states(A), net.states(B)), (vec![], vec![]));
}

#[test]
fn a_listener_holds_as_many_as_its_backlog() {
    let mut net = Net::new();
    let (listener, _) = net.stacks.listen(B, B, server()).unwrap();
    let dialled: Vec<Id> =
        (0..BACKLOG + 2).map(|_| net.stacks.connect(A, A, server()).unwrap().0).collect();
    net.exchange();
    let is_open = |id: &&Id| matches!(net.stacks.connections.get(**id), Some(it) if !it.is_over());
    assert_eq!(dialled.iter().filter(is_open).count(), BACKLOG);
    assert!(net.accept(listener).is_some());
    net.stacks.connect(A, A, server()).unwrap();
    net.exchange();
    let open = net.states(A).len();
    assert_eq!(open, BACKLOG + 1, "there is room again");
}

#[test]
fn a_host_that_dials_itself_is_connected_without_a_packet() {
    let mut net = Net::new();
    for to in [SocketAddr::new(ip(A), PORT), "127.0.0.1:80".parse().unwrap()] {
        let (listener, _) = net.stacks.listen(A, A, to).unwrap();
        let (one, _) = net.stacks.connect(A, A, to).unwrap();
        assert_eq!(net.flush().len(), 0);
        let other = net.accept(listener).unwrap();
        _ = net.write(A, one, &[3; 60_000]);
        assert_eq!(net.flush().len(), 0);
        assert_eq!(net.read(A, other, 99_999), Poll::Ready(Ok(vec![3; 60_000])));
        net.stacks.close_listener(A, listener);
    }
}

#[test]
fn who_forgets_a_connection_says_nothing_and_resets_whoever_remembers() {
    let (mut net, a, b, _) = Net::connected();
    _ = net.write(B, b, b"never sent");
    net.stacks.close_all(B, B);
    net.stacks.forget(B);
    assert_eq!(net.flush().len(), 0);
    assert_eq!(net.stacks.netstat(B), []);
    _ = net.write(A, a, b"are you there?");
    net.exchange();
    assert_eq!(net.read(A, a, 1), Poll::Ready(Err(ErrorKind::ConnectionReset)));
}

#[test]
fn a_connection_that_its_remote_opens_anew_gives_way() {
    let (mut net, a, b, listener) = Net::connected();
    net.stacks.forget(A);
    let ends = net.connection(a).ends;
    // The same port again, after a very long time.
    let again = Connection::dialling(A, ends, 77, 1500);
    let again = net.stacks.insert(A, again);
    net.exchange();
    assert!(matches!(net.connection(again).poll_open(&cx()), Poll::Ready(Ok(()))));
    assert_eq!(net.read(B, b, 1), Poll::Ready(Err(ErrorKind::ConnectionReset)));
    let accepted = net.accept(listener).expect("the new one");
    _ = net.write(A, again, b"new");
    net.exchange();
    assert_eq!(net.read(B, accepted, 9), Poll::Ready(Ok(b"new".to_vec())));
}

#[test]
fn a_dial_that_is_given_up_is_reset_when_it_is_answered() {
    let mut net = Net::new();
    let (listener, _) = net.stacks.listen(B, B, server()).unwrap();
    let (a, _) = net.stacks.connect(A, A, server()).unwrap();
    let syn = net.flush();
    net.stacks.close_connection(A, a);
    net.deliver(syn);
    net.exchange();
    assert!(net.accept(listener).is_none());
    assert_eq!((net.states(A), net.states(B)), (vec![], vec![NetstatState::Listen]));
}

#[test]
fn a_listener_at_one_address_goes_before_one_at_all() {
    let mut net = Net::new();
    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT);
    net.stacks.listen(B, B, any).unwrap();
    for at in [server(), any] {
        let error = net.stacks.listen(B, B, at).map(drop).map_err(|error| error.kind());
        assert_eq!(error, Err(ErrorKind::AddrInUse));
    }
    let v6: SocketAddr = "[::]:80".parse().unwrap();
    assert!(net.stacks.listen(B, B, v6).is_ok(), "the other version has ports of its own");
    let foreign = SocketAddr::new(ip(A), 81);
    let error = net.stacks.listen(B, B, foreign).map(drop).map_err(|error| error.kind());
    assert_eq!(error, Err(ErrorKind::AddrNotAvailable));
    let (_, free) = net.stacks.listen(B, B, SocketAddr::new(ip(B), 0)).unwrap();
    assert_eq!(free.port(), 49_152);
}

#[test]
fn datagrams_queue_up_to_a_bound_and_keep_their_bounds() {
    let mut net = Net::new();
    let (a, _) = net.stacks.bind_datagrams(A, A, SocketAddr::new(ip(A), 7)).unwrap();
    let (b, to) = net.stacks.bind_datagrams(B, B, SocketAddr::new(ip(B), 7)).unwrap();
    for number in 0..1000u32 {
        let payload = [&number.to_be_bytes()[..], &[0; 996]].concat();
        net.stacks.send_datagram(A, a, &payload, to).unwrap();
        net.exchange();
    }
    let mut numbers = Vec::new();
    while let Some(socket) = net.stacks.datagrams.get_mut(b)
        && let Poll::Ready((from, payload)) = socket.poll_receive(&cx())
    {
        assert_eq!((from.ip(), payload.len()), (ip(A), 1000));
        numbers.push(u32::from_be_bytes(payload[..4].try_into().unwrap()));
    }
    assert!(numbers.len() > 100 && numbers.len() < 300, "{}", numbers.len());
    assert!(numbers.iter().copied().eq(0..numbers.len() as u32), "the last ones are lost");
    let error = net.stacks.send_datagram(A, a, &[0; 1473], to).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(90));
    assert!(net.stacks.send_datagram(A, a, &[0; 1472], to).is_ok());
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_and_both_ends_end(
        writes in prop::collection::vec((any::<bool>(), 0..60_000usize), 1..12),
        most in 1..70_000usize,
        low_water in 0..100_000usize,
    ) {
        let (mut net, a, b, _) = Net::connected();
        let mut sent = [Vec::new(), Vec::new()];
        let mut got = [Vec::new(), Vec::new()];
        let ends = [(A, a), (B, b)];
        let mut writes = writes.into_iter();
        let mut pending: [Vec<u8>; 2] = Default::default();
        loop {
            if let Some((by, length)) = writes.next() {
                let by = usize::from(by);
                let bytes: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
                sent[by].extend_from_slice(&bytes);
                pending[by].extend(bytes);
            }
            let mut moved = false;
            for by in 0..2 {
                let (host, id) = ends[by];
                let bytes = std::mem::take(&mut pending[by]);
                let now = match net.write(host, id, &bytes) {
                    Poll::Ready(Ok(now)) if !bytes.is_empty() => now,
                    _ => 0,
                };
                pending[by] = bytes[now..].to_vec();
                moved |= now > 0;
                net.exchange();
                net.connection(id).set_low_water(low_water);
                if let Poll::Ready(Ok(bytes)) = net.read(host, id, most) {
                    moved |= !bytes.is_empty();
                    got[1 - by].extend(bytes);
                }
                net.exchange();
            }
            if !moved && writes.len() == 0 {
                break;
            }
        }
        prop_assert!(pending.iter().all(Vec::is_empty));
        for (host, id) in ends {
            net.shut_down(host, id);
        }
        net.exchange();
        for (by, (host, id)) in ends.into_iter().enumerate() {
            while let Poll::Ready(Ok(bytes)) = net.read(host, id, most) && !bytes.is_empty() {
                got[1 - by].extend(bytes);
            }
        }
        prop_assert!(got == sent);
        prop_assert_eq!(net.states(A), []);
    }
}
