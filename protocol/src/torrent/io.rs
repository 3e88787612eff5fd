//! What goes into a [`Torrent`](super::Torrent), and what comes out.

use std::{fmt, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};

use super::CheckFailed;
use crate::{
    Block, ConnectionId, Delivery, PeerId,
    extension::closed_swarm::PublicKey,
    live::Notice,
    tracker::{AnnounceRequest, AnnounceResponse},
    wire::{Handshake, Message, Parts},
};

/// Something that happened outside.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// The time of [`poll_timeout`](super::Torrent::poll_timeout) has come.
    Timeout,
    /// A connection asked for by [`Output::Dial`] is open.
    Dialled {
        /// Which one.
        connection: ConnectionId,
    },
    /// Bytes came in.
    Received {
        /// On which connection.
        connection: ConnectionId,
        /// Any number of them, cut anywhere.
        bytes: BytesMut,
    },
    /// Bytes of an [`Output::Send`] went out to the socket.
    Flushed {
        /// On which connection.
        connection: ConnectionId,
        /// How many.
        bytes: usize,
    },
    /// A connection is gone, or could not be opened, by no wish of ours.
    Lost {
        /// Which one.
        connection: ConnectionId,
    },
    /// The answer to [`Output::ReadBlock`].
    BlockRead {
        /// For whom it was read.
        connection: ConnectionId,
        /// What was to be read.
        block: Block,
        /// The bytes, or what the disk said when it failed us.
        data: Result<Bytes, String>,
    },
    /// The answer to [`Output::CheckPiece`].
    PieceChecked {
        /// Which piece.
        piece: u32,
        /// Whether its hash is right.
        valid: bool,
    },
    /// The answer to [`Output::CheckPiece`] where the disk failed us: the piece is not
    /// here, and its bytes are forgotten.
    PieceUnwritten {
        /// Which piece.
        piece: u32,
        /// What the disk said.
        reason: String,
    },
    /// The answer to [`Output::CheckPiece`] where the content is a live stream.
    PieceOpened {
        /// Which piece.
        piece: u32,
        /// The sequence number that its seal bears, if the source sealed it.
        sequence: Option<u64>,
    },
    /// The answer to [`Output::MakePiece`].
    PieceMade {
        /// Its sequence number.
        sequence: u64,
        /// Whether it is on the disk now; otherwise the stream has ended.
        made: bool,
    },
    /// The answer to [`Output::Announce`].
    Announced {
        /// The tracker's answer, or why there is none.
        result: Result<Box<AnnounceResponse>, String>,
    },
    /// Addresses given by the user.
    AddPeers {
        /// Where they listen.
        addrs: Vec<SocketAddr>,
    },
    /// The reader of a download that is streamed wants what is from here on: it
    /// begins, or goes elsewhere.
    Seek {
        /// A number for what it reads from now on; another each time.
        stream: u64,
        /// Bytes from the start of the video.
        at: u64,
    },
    /// The reader took some of what [`Output::Deliver`] handed to it.
    Taken {
        /// Of what it was reading then.
        stream: u64,
        /// How many.
        bytes: u64,
    },
    /// The reader's user wants a pause, or wants to go on.
    Pause {
        /// Which of the two.
        paused: bool,
    },
    /// Close every connection, tell the tracker, and come to rest.
    Stop {
        /// How long that may take; a tracker that has not answered by then is not
        /// waited for any more.
        grace: Duration,
    },
}

impl Input {
    /// The one connection that it is about and whose own affair it is.
    pub(super) fn connection(&self) -> Option<ConnectionId> {
        match self {
            Input::Dialled { connection }
            | Input::Received { connection, .. }
            | Input::Flushed { connection, .. }
            | Input::BlockRead { connection, .. } => Some(*connection),
            _ => None,
        }
    }
}

/// Something to do outside.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// Open a connection; answer with [`Input::Dialled`] or [`Input::Lost`].
    Dial {
        /// Its number from here on.
        connection: ConnectionId,
        /// Where to.
        addr: SocketAddr,
    },
    /// Send bytes, in the order of these outputs; answer with [`Input::Flushed`]
    /// as they leave.
    Send {
        /// On which connection.
        connection: ConnectionId,
        /// Whole messages.
        bytes: Parts,
    },
    /// Close a connection, or give up opening it. It is already forgotten here.
    Close {
        /// Which one.
        connection: ConnectionId,
    },
    /// Read a block to be sent; answer with [`Input::BlockRead`].
    ReadBlock {
        /// For whom.
        connection: ConnectionId,
        /// What.
        block: Block,
    },
    /// Keep a block that came in.
    WriteBlock {
        /// Which.
        block: Block,
        /// Its bytes, as many as it is long.
        data: Bytes,
    },
    /// Hash a piece whose blocks were all written; answer with
    /// [`Input::PieceChecked`], or with [`Input::PieceOpened`] if it is of a live stream,
    /// or with [`Input::PieceUnwritten`] if the disk did not keep it.
    CheckPiece {
        /// Which.
        piece: u32,
        /// SHA-1 that it must have, if the metainfo does not say. BEP 30.
        hash: Option<[u8; 20]>,
    },
    /// Hand something to the reader, in the order of these outputs; answer with
    /// [`Input::Taken`] as it takes it.
    Deliver {
        /// The number of what it reads; it may want something else by now.
        stream: u64,
        /// What.
        delivery: Delivery,
    },
    /// Make the next piece of the live stream, and put it at its place; answer with
    /// [`Input::PieceMade`].
    MakePiece {
        /// Its sequence number.
        sequence: u64,
    },
    /// Hand the player this piece of the live stream.
    Play {
        /// Its sequence number.
        sequence: u64,
        /// Where it is.
        piece: u32,
    },
    /// Forget what was received of a piece that is no longer wanted.
    ForgetPiece {
        /// Which.
        piece: u32,
    },
    /// Tell the tracker; answer with [`Input::Announced`].
    Announce(AnnounceRequest),
    /// Nothing to do: for logs, users and tests.
    Event(Event),
    /// Nothing to do: what was said on a connection, in the order in which it was
    /// acted on. Only with `Config::transcript`.
    Spoken(Spoken),
}

/// A frame, and who said it to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    /// On which connection.
    pub connection: ConnectionId,
    /// The remote's address.
    pub addr: SocketAddr,
    /// Who said it.
    pub by: Speaker,
    /// What.
    pub frame: Frame,
}

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// We.
    Us,
    /// The remote.
    Remote,
}

/// A unit of the peer wire protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The first one each way.
    Handshake(Handshake),
    /// Every later one.
    Message(Message),
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Frame::Handshake(handshake) => handshake.fmt(f),
            Frame::Message(message) => message.fmt(f),
        }
    }
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Handshakes were exchanged.
    Connected {
        /// Our number for the connection.
        connection: ConnectionId,
        /// The remote's address.
        addr: SocketAddr,
        /// Who it says it is.
        peer_id: PeerId,
    },
    /// A connection ended, or could not be opened.
    Disconnected {
        /// Our number for the connection.
        connection: ConnectionId,
        /// The remote's address.
        addr: SocketAddr,
        /// Why.
        reason: CloseReason,
    },
    /// A piece is here and its hash is right.
    PieceVerified {
        /// Which.
        piece: u32,
    },
    /// A piece came and its hash is wrong.
    PieceFailed {
        /// Which.
        piece: u32,
        /// Who sent all of it, if one peer did.
        blamed: Option<ConnectionId>,
    },
    /// A peer has sent wrong bytes, for certain, and is not connected to again.
    Banned {
        /// Where it listens; where it connected from, if that is not known.
        addr: SocketAddr,
        /// Who it says it is.
        peer_id: PeerId,
    },
    /// All of the content is here and verified.
    Completed,
    /// A remote has proven that it may have the content of a closed swarm.
    AccessProven {
        /// Our number for the connection.
        connection: ConnectionId,
        /// The remote's address.
        addr: SocketAddr,
        /// The key that is its own.
        key: PublicKey,
        /// When its certificate ends (Unix seconds); 0 is never.
        expires_s: u64,
    },
    /// A remote has not proven it, and will not on this connection.
    AccessRefused {
        /// Our number for the connection.
        connection: ConnectionId,
        /// The remote's address.
        addr: SocketAddr,
        /// Why not.
        reason: String,
    },
    /// The certificate of a remote has ended.
    AccessExpired {
        /// Our number for the connection.
        connection: ConnectionId,
        /// The remote's address.
        addr: SocketAddr,
    },
    /// A viewer of a live stream got on.
    Live(Notice),
    /// A message of a remote makes no sense, and was passed over.
    Ignored {
        /// Our number for the connection.
        connection: ConnectionId,
        /// Why it makes no sense.
        reason: String,
    },
    /// A block that a remote wants could not be read; the remote does without.
    ReadFailed {
        /// Which.
        block: Block,
        /// What the disk said.
        reason: String,
    },
    /// A piece that was here cannot be read any more, and is to be got again.
    PieceLost {
        /// Which.
        piece: u32,
    },
    /// A piece that is all here could not be written, and has to come again. For a while
    /// nothing more is asked for.
    WriteFailed {
        /// Which.
        piece: u32,
        /// What the disk said.
        reason: String,
    },
    /// Something went wrong, was caught, and nobody is told but by this: a mistake
    /// of ours, always.
    Swallowed {
        /// What was being done, and with which value.
        doing: String,
        /// What went wrong.
        error: String,
    },
    /// Enough of what is played is here to begin, or to go on after a seek.
    Playable,
    /// The reader went elsewhere.
    Sought {
        /// Where to, bytes from the start of the video.
        position: u64,
    },
    /// A part of the one-second check could not be done.
    CheckFailed(CheckFailed),
    /// The tracker answered an announce.
    Announced,
    /// An announce failed; it will be tried again.
    AnnounceFailed {
        /// What the tracker or the network said.
        reason: String,
    },
    /// The tracker answered with a warning.
    TrackerWarning {
        /// What it said.
        warning: String,
    },
}

/// Why a connection ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The remote closed it, or the network did.
    #[error("lost")]
    Lost,
    /// It could not be opened in time.
    #[error("dial timed out")]
    DialTimeout,
    /// The remote did not finish its handshake in time.
    #[error("handshake timed out")]
    HandshakeTimeout,
    /// The remote was silent for too long.
    #[error("idle")]
    Idle,
    /// It leads to ourselves.
    #[error("self connection")]
    SelfConnection,
    /// Another connection to the same peer stays instead.
    #[error("duplicate of {kept}")]
    Duplicate {
        /// The one that stays.
        kept: ConnectionId,
    },
    /// Another one, of a greater priority, takes its place. BEP 40.
    #[error("outranked")]
    Outranked,
    /// Neither side will ever want anything of the other.
    #[error("both complete")]
    BothComplete,
    /// It has not proven access to a closed swarm, and has nothing that we want.
    #[error("no access, and nothing to give")]
    NoAccess,
    /// It does not give the metadata. BEP 9.
    #[error("no metadata to be had")]
    NoMetadata,
    /// The metadata is here, and the torrent begins. BEP 9.
    #[error("metadata complete")]
    MetadataHere,
    /// It shares another torrent than this one.
    #[error("other torrent")]
    OtherTorrent,
    /// It sent a whole piece with a wrong hash.
    #[error("sent a corrupt piece")]
    Corrupt,
    /// Something in our own code went wrong over it.
    #[error("exception: {0}")]
    Exception(String),
    /// It has sent a corrupt piece before.
    #[error("banned")]
    Banned,
    /// What it sent breaks the protocol.
    #[error("protocol violation: {0}")]
    Violation(String),
    /// We stop.
    #[error("stopping")]
    Stopping,
}
