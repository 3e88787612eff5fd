//! What must hold.

use std::time::Duration;

use reseed_protocol::{
    Block, Connection, ConnectionId, PeerTable, torrent::Input as Happening, wire::message_cap,
};

use super::{CONNECTION_MAX, FINISH_WITHIN, HEAP, PEER_MAX, Play};

impl Play {
    /// What must hold at every moment.
    pub(super) fn check(&self) {
        self.check_books();
        let message = message_cap(Some(self.layout.pieces()));
        for connection in self.torrent.connections() {
            let held = connection.memory();
            assert!(held <= message + CONNECTION_MAX, "a connection holds {held} bytes");
        }
        assert!(self.torrent.known_peers() <= PeerTable::ENTRIES_MAX);
        let connections = self.torrent.connections().count();
        self.check_heap(PEER_MAX + connections * (message + CONNECTION_MAX));
    }

    /// What is kept in one place is as it is kept in another (I-AVAIL, I-BLK, I-SLOT).
    fn check_books(&self) {
        let (torrent, picker) = (&self.torrent, self.torrent.picker());
        picker.check().expect("the picker's books are right");
        for (piece, available) in (0..).zip(picker.availability()) {
            let have = torrent.connections().filter(|it| it.remote_pieces().contains(piece));
            assert_eq!(*available as usize, have.count(), "availability of piece {piece}");
        }
        let requested = torrent.connections().flat_map(|it| it.requested().map(|b| (b, it.id())));
        let mut requested: Vec<(Block, ConnectionId)> = requested.collect();
        let in_flight =
            picker.in_flight().flat_map(|(b, from)| from.iter().map(move |it| (b, *it)));
        let mut in_flight: Vec<(Block, ConnectionId)> = in_flight.collect();
        requested.sort_unstable();
        in_flight.sort_unstable();
        assert_eq!(requested, in_flight, "what is asked for is what is in flight");
        let config = torrent.config();
        let unchoked =
            torrent.connections().filter(|it| it.is_peer_interested() && !it.is_choking());
        assert!(unchoked.count() <= config.upload_slots);
        let mut waiting = torrent.connections().map(Connection::uploads_waiting);
        assert!(waiting.all(|waiting| waiting <= config.request_queue_max as usize));
    }

    fn check_heap(&self, most: usize) {
        if let (Some(heap), Some(before)) = (HEAP.get(), self.heap) {
            let held = heap().saturating_sub(before);
            assert!(held <= most, "{held} bytes of the heap are held; {most} are allowed");
        }
    }

    /// The others go; what is left comes to its end with the honest one; then we stop.
    pub(super) fn end(&mut self) {
        for connection in std::mem::take(&mut self.others).into_keys() {
            self.tell(Happening::Lost { connection });
        }
        self.check();
        self.check_heap(PEER_MAX);
        let late = self.now + FINISH_WITHIN;
        while self.honest.is_some() && !self.torrent.is_complete() {
            assert!(self.now < late, "the honest one has everything, and it never came");
            self.tell(Happening::Pause { paused: false });
            self.take_delivered();
            while let Some(connection) = self.dials.pop_front() {
                self.tell(Happening::Lost { connection });
            }
            self.pass(Duration::from_secs(10));
            self.check();
        }
        let grace = Duration::from_secs(5);
        self.tell(Happening::Stop { grace });
        let end = self.now + grace + Duration::from_secs(1);
        self.fire_until(end);
        assert!(self.torrent.is_stopped(), "a stop takes no longer than its grace");
        assert_eq!(self.torrent.connections().count(), 0);
        self.check();
    }
}
