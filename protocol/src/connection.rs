//! One peer, as we know it.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
};

use crate::{
    Bitfield, Block, ConnectionId, Defect, Defects, Meter, PeerId, Pipeline, Time,
    extension::{
        Registry,
        give_to_get::{ForwardScore, ForwardSender},
        pex::{PexReceiver, PexSender},
    },
    few::Few,
    torrent::{Access, Frame, Speaker},
    wire::{Decoder, Handshake, Message, Outbox, WireError},
};

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// We did.
    Outbound,
    /// The remote did.
    Inbound,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is being opened since then.
    Dialling {
        /// When the dial began.
        since: Time,
    },
    /// It is open, and the remote's handshake is missing since then.
    Handshaking {
        /// When it was opened.
        since: Time,
    },
    /// Handshakes were exchanged.
    Established,
}

/// A request of ours that waits for its block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) block: Block,
    pub(crate) sent: Time,
}

/// All that we know of one peer. It is changed by its torrent only; others read.
pub struct Connection {
    pub(crate) id: ConnectionId,
    pub(crate) addr: SocketAddr,
    pub(crate) direction: Direction,
    pub(crate) phase: Phase,
    pub(crate) decoder: Decoder,
    pub(crate) outbox: Outbox,
    /// Frames said and heard that were not put out yet; `None` if nobody asks.
    pub(crate) spoken: Option<Few<(Speaker, Frame)>>,
    pub(crate) defects: Defects,
    /// Bytes handed out to be sent that have not left yet.
    pub(crate) backlog: usize,
    pub(crate) last_received: Time,
    pub(crate) last_sent: Time,
    pub(crate) established: Time,

    pub(crate) remote_id: Option<PeerId>,
    pub(crate) fast: bool,
    pub(crate) extended: bool,
    pub(crate) registry: Registry,
    pub(crate) remote_reqq: u32,
    /// The remote wants nothing more. BEP 21.
    pub(crate) remote_upload_only: bool,
    /// What the remote has proven, in a closed swarm.
    pub(crate) closed_swarm: Option<Box<Access>>,
    /// Where the remote listens, once we know.
    pub(crate) listen_addr: Option<SocketAddr>,

    pub(crate) remote_pieces: Bitfield,
    /// Of the torrent's news, what the remote has been told of (count).
    pub(crate) news_told: usize,
    /// Messages that are allowed only as the first one are so no more.
    pub(crate) past_first_message: bool,
    pub(crate) am_choking: bool,
    pub(crate) am_interested: bool,
    pub(crate) peer_choking: bool,
    pub(crate) peer_interested: bool,

    /// Our requests that wait for a block, oldest first. Blocks mostly come in
    /// that order, so a search from the front ends soon.
    pub(crate) requested: VecDeque<Request>,
    /// Requests that we gave up; their blocks may still come. Bounded by
    /// [`Connection::ABANDONED_MAX`].
    pub(crate) abandoned: VecDeque<Block>,
    pub(crate) unrequested: u32,
    /// Blocks of a live stream's past that were asked for and may still come (count).
    pub(crate) forgiven: u32,
    /// Rejects since the last block or unchoke, though we were unchoked.
    pub(crate) rejections: u32,
    /// When there were so many of them that we wait.
    pub(crate) refused: Option<Time>,
    /// Requests for what is played next that it was too late with, less the blocks
    /// that came since (count).
    pub(crate) lapses: u32,
    pub(crate) last_block: Time,
    pub(crate) snubbed: bool,
    pub(crate) pipeline: Pipeline,
    pub(crate) download: Meter,
    /// Pieces that the remote lets us request while it chokes us. BEP 6.
    pub(crate) allowed_fast: BTreeSet<u32>,

    /// The remote's requests that wait to be read, oldest first. Bounded by
    /// `Config::request_queue_max`.
    pub(crate) uploads: VecDeque<Block>,
    /// Blocks that are being read for the remote.
    pub(crate) reading: VecDeque<Block>,
    pub(crate) upload: Meter,
    /// Pieces that we let the remote request while we choke it. BEP 6.
    pub(crate) granted_fast: BTreeSet<u32>,

    pub(crate) pex_sender: PexSender,
    pub(crate) pex_receiver: PexReceiver,

    /// What the remote is to be told of what we gave to others.
    pub(crate) forward_sender: ForwardSender,
    /// What it says it gave to others, once it has said that it may.
    pub(crate) forward_score: Option<Box<ForwardScore>>,
}

impl Connection {
    /// Given-up requests that are remembered (count).
    pub(crate) const ABANDONED_MAX: usize = 1024;

    /// Blocks that may come unasked before the remote is dropped (count).
    pub(crate) const UNREQUESTED_MAX: u32 = 16;

    /// Rejects from a remote that says it lets us request, after which we wait
    /// for its next block or unchoke, or for as long as a request may take (count): asking
    /// on would go on for ever, and a remote whose disk failed for a while says nothing
    /// when it can read again.
    pub(crate) const REJECTIONS_MAX: u32 = 100;

    /// What BEP 10 says a remote accepts that names no `reqq` (count).
    const REQQ_DEFAULT: u32 = 250;

    pub(crate) fn new(
        id: ConnectionId,
        addr: SocketAddr,
        direction: Direction,
        pieces: u32,
        message_cap: usize,
        registry: Registry,
        now: Time,
    ) -> Connection {
        Connection {
            id,
            addr,
            direction,
            phase: match direction {
                Direction::Outbound => Phase::Dialling { since: now },
                Direction::Inbound => Phase::Handshaking { since: now },
            },
            decoder: Decoder::new(message_cap),
            outbox: Outbox::default(),
            spoken: None,
            defects: Defects::NONE,
            backlog: 0,
            last_received: now,
            last_sent: now,
            established: now,
            remote_id: None,
            fast: false,
            extended: false,
            registry,
            remote_reqq: Self::REQQ_DEFAULT,
            remote_upload_only: false,
            closed_swarm: None,
            listen_addr: (direction == Direction::Outbound).then_some(addr),
            remote_pieces: Bitfield::empty(pieces),
            news_told: 0,
            past_first_message: false,
            am_choking: true,
            am_interested: false,
            peer_choking: true,
            peer_interested: false,
            requested: VecDeque::new(),
            abandoned: VecDeque::new(),
            unrequested: 0,
            forgiven: 0,
            rejections: 0,
            refused: None,
            lapses: 0,
            last_block: now,
            snubbed: false,
            pipeline: Pipeline::new(),
            download: Meter::new(now),
            allowed_fast: BTreeSet::new(),
            uploads: VecDeque::new(),
            reading: VecDeque::new(),
            upload: Meter::new(now),
            granted_fast: BTreeSet::new(),
            pex_sender: PexSender::new(),
            pex_receiver: PexReceiver::new(),
            forward_sender: ForwardSender::new(),
            forward_score: None,
        }
    }

    /// Our number for it.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The remote's address; its port is the listening one only if we dialled.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Who opened it.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether handshakes were exchanged.
    pub fn is_established(&self) -> bool {
        self.phase == Phase::Established
    }

    /// Who the remote says it is, once its handshake came.
    pub fn remote_id(&self) -> Option<PeerId> {
        self.remote_id
    }

    /// When handshakes had been exchanged; before that, when it was opened.
    pub fn established_at(&self) -> Time {
        self.established
    }

    /// The pieces that the remote says it has.
    pub fn remote_pieces(&self) -> &Bitfield {
        &self.remote_pieces
    }

    /// Whether we choke the remote.
    pub fn is_choking(&self) -> bool {
        self.am_choking
    }

    /// Whether the remote chokes us.
    pub fn is_peer_choking(&self) -> bool {
        self.peer_choking
    }

    /// Whether we want pieces of the remote.
    pub fn is_interested(&self) -> bool {
        self.am_interested
    }

    /// Whether the remote wants pieces of us.
    pub fn is_peer_interested(&self) -> bool {
        self.peer_interested
    }

    /// Our requests that wait for a block, oldest first.
    pub fn requested(&self) -> impl ExactSizeIterator<Item = Block> + '_ {
        self.requested.iter().map(|request| request.block)
    }

    /// Our requests that wait for a block, oldest first, and when each was made.
    pub fn requests(&self) -> impl ExactSizeIterator<Item = (Block, Time)> + '_ {
        self.requested.iter().map(|request| (request.block, request.sent))
    }

    /// When anything came from the remote last.
    pub fn last_received(&self) -> Time {
        self.last_received
    }

    /// Pieces that the remote lets us request while it chokes us. BEP 6.
    pub fn allowed_fast(&self) -> &BTreeSet<u32> {
        &self.allowed_fast
    }

    /// Whether the remote left our requests without a block for so long that they were
    /// given to others. BEP 3 §anti-snubbing.
    pub fn is_snubbing(&self) -> bool {
        self.snubbed
    }

    /// Whether the remote refused so many requests that we wait for a sign of it.
    pub fn refuses(&self) -> bool {
        self.rejections >= Connection::REJECTIONS_MAX
    }

    /// How often it was late with what is played next, less the blocks that came
    /// since (count).
    pub fn lapses(&self) -> u32 {
        self.lapses
    }

    /// The remote's requests that wait for us (count): those queued and those
    /// being read.
    pub fn uploads_waiting(&self) -> usize {
        self.uploads.len() + self.reading.len()
    }

    /// Bytes of ours that have not left yet.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.backlog + self.outbox.len()
    }

    /// Bytes held for this connection: what came in and is no whole message yet,
    /// what goes out and has not left, and what its queues take.
    pub fn memory(&self) -> usize {
        let block = size_of::<Block>();
        self.decoder.buffered()
            + self.unsent_bytes()
            + self.requested.len() * size_of::<Request>()
            + (self.abandoned.len() + self.uploads_waiting()) * block
            + (self.allowed_fast.len() + self.granted_fast.len()) * size_of::<u32>()
    }

    /// Bytes a second that blocks come in with.
    pub fn download_rate(&self, now: Time) -> u64 {
        self.download.rate(now)
    }

    /// Bytes a second that blocks go out with.
    pub fn upload_rate(&self, now: Time) -> u64 {
        self.upload.rate(now)
    }

    /// Content bytes that came in.
    pub fn downloaded(&self) -> u64 {
        self.download.total()
    }

    /// Content bytes that went out.
    pub fn uploaded(&self) -> u64 {
        self.upload.total()
    }

    /// Puts `message` behind what is to be sent.
    pub(crate) fn send(&mut self, message: &Message, now: Time) {
        match message {
            Message::Have { piece } if self.defects.has(Defect::HaveInHostOrder) => {
                self.outbox.say(&Message::Have { piece: piece.swap_bytes() });
            }
            _ => self.outbox.say(message),
        }
        self.last_sent = now;
        self.record(Speaker::Us, || Frame::Message(message.clone()));
    }

    /// Takes the next message that came in.
    pub(crate) fn next_message(&mut self) -> Result<Option<Message>, WireError> {
        match self.decoder.next_message()? {
            Some(Message::Have { piece }) if self.defects.has(Defect::HaveInHostOrder) => {
                Ok(Some(Message::Have { piece: piece.swap_bytes() }))
            }
            message => Ok(message),
        }
    }

    /// Puts our handshake before all else that is to be sent.
    pub(crate) fn send_handshake(&mut self, handshake: Handshake, now: Time) {
        self.outbox.push(&handshake.encode());
        self.last_sent = now;
        self.record(Speaker::Us, || Frame::Handshake(handshake));
    }

    /// Notes what was said, if anybody asks.
    pub(crate) fn record(&mut self, by: Speaker, frame: impl FnOnce() -> Frame) {
        if let Some(spoken) = &mut self.spoken {
            spoken.push_back((by, frame()));
        }
    }

    /// Remembers a request that we gave up, because its block may still come.
    pub(crate) fn abandon(&mut self, block: Block) {
        if self.abandoned.len() == Self::ABANDONED_MAX {
            self.abandoned.pop_front();
        }
        self.abandoned.push_back(block);
    }

    /// Whether `block` was asked of the remote at some time and has not come;
    /// takes the request away.
    pub(crate) fn take_request(&mut self, block: Block) -> bool {
        if let Some(at) = self.requested.iter().position(|request| request.block == block) {
            self.requested.remove(at);
            return true;
        }
        let at = self.abandoned.iter().position(|abandoned| *abandoned == block);
        at.and_then(|at| self.abandoned.remove(at)).is_some()
    }
}
