//! Points that a healthy campaign of runs reaches sometimes.
//!
//! A search that never comes to a rejected request, or to a banned peer, does not
//! test what happens then, whatever its oracles say. So each run tells which of these
//! it came to, and a campaign lists those that none did.

use std::{collections::BTreeSet, fmt};

use reseed_client::Activity;
use reseed_protocol::{
    Block, BlockState, Connection, PeerId, Torrent,
    extension::{Extension, MetadataMessage, pex::PexMessage},
    torrent::{CloseReason, Event, Frame, Speaker, Spoken},
    wire::Message,
};

macro_rules! points {
    ($($variant:ident, $name:literal;)*) => {
        /// A state that runs should come to now and then.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Point {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Point {
            /// All of them.
            pub const ALL: &[Point] = &[$(Point::$variant,)*];

            /// What it is called in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Point::$variant => $name,)*
                }
            }
        }
    };
}

points! {
    AccessExpired, "a certificate ended";
    AccessProven, "access to a closed swarm was proven";
    AccessRefused, "access to a closed swarm was refused";
    AnnounceFailed, "an announce failed";
    AskedElsewhere, "a block was asked of another when a request had timed out";
    Banned, "a peer was banned";
    BlockWhileChoked, "a block was served to whom we choke";
    BrokeRules, "a peer was dropped for what it said";
    CallbacksDropped, "callbacks were cut off by the end of the grace period";
    Cancelled, "a request was cancelled";
    Completed, "a download was completed";
    DialTimedOut, "a dial timed out";
    Duplicate, "one of two connections to the same peer was closed";
    Endgame, "a block was asked of a second peer";
    HandshakeTimedOut, "a handshake timed out";
    Ignored, "a message was passed over";
    Lost, "a connection was lost";
    MetadataRefused, "metadata was asked for and rejected";
    PeersExchanged, "a peer was told of by peer exchange";
    PieceFailed, "a piece failed its hash";
    Rejected, "a request was rejected";
    ReportFailed, "a reporter failed";
    RequestRefused, "a request of ours was rejected";
    RequestTimedOut, "a request of ours timed out";
    SelfConnection, "a peer dialled itself";
    Sought, "a player went elsewhere";
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Points that a run came to.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    points: BTreeSet<Point>,
    /// Blocks that a peer asked of somebody who brought nothing; kept until the first of
    /// them was asked of another.
    given_up: BTreeSet<(PeerId, Block)>,
}

impl Reached {
    pub(crate) fn points(&self) -> Vec<Point> {
        self.points.iter().copied().collect()
    }

    pub(crate) fn happened(&mut self, event: &Event) {
        self.points.extend(match event {
            Event::AccessExpired { .. } => Some(Point::AccessExpired),
            Event::AccessProven { .. } => Some(Point::AccessProven),
            Event::AccessRefused { .. } => Some(Point::AccessRefused),
            Event::AnnounceFailed { .. } => Some(Point::AnnounceFailed),
            Event::Banned { .. } => Some(Point::Banned),
            Event::Completed => Some(Point::Completed),
            Event::Disconnected { reason, .. } => match reason {
                CloseReason::DialTimeout => Some(Point::DialTimedOut),
                CloseReason::Duplicate { .. } => Some(Point::Duplicate),
                CloseReason::HandshakeTimeout => Some(Point::HandshakeTimedOut),
                CloseReason::Lost => Some(Point::Lost),
                CloseReason::Violation(_) => Some(Point::BrokeRules),
                CloseReason::SelfConnection => Some(Point::SelfConnection),
                _ => None,
            },
            Event::Ignored { .. } => Some(Point::Ignored),
            Event::PieceFailed { .. } => Some(Point::PieceFailed),
            Event::Sought { .. } => Some(Point::Sought),
            _ => None,
        });
    }

    pub(crate) fn observed(&mut self, activity: &Activity<'_>) {
        self.points.extend(match activity {
            Activity::CallbacksDropped => Some(Point::CallbacksDropped),
            Activity::Reported { result: Err(_), .. } => Some(Point::ReportFailed),
            _ => None,
        });
    }

    pub(crate) fn spoke(&mut self, torrent: &Torrent, spoken: &Spoken) {
        let Frame::Message(message) = &spoken.frame else { return };
        if spoken.by == Speaker::Remote {
            let refused = matches!(message, Message::Reject(_));
            return self.points.extend(refused.then_some(Point::RequestRefused));
        }
        self.seek_elsewhere(torrent, spoken, message);
        let is =
            |what: fn(&Connection) -> bool| torrent.connection(spoken.connection).is_some_and(what);
        let chokes = || is(Connection::is_choking);
        self.points.extend(match message {
            // What is taken back of who brings nothing is given up.
            Message::Cancel(_) if is(Connection::is_snubbing) => Some(Point::RequestTimedOut),
            Message::Cancel(_) => Some(Point::Cancelled),
            Message::Request(block) if is_asked_twice(torrent, *block) => Some(Point::Endgame),
            Message::Reject(_) => Some(Point::Rejected),
            Message::Piece { .. } if chokes() => Some(Point::BlockWhileChoked),
            Message::Extended { id, payload } if *id == Extension::Metadata.local_id() => {
                let told = MetadataMessage::decode(payload);
                matches!(told, Ok(Some(MetadataMessage::Reject { .. })))
                    .then_some(Point::MetadataRefused)
            }
            Message::Extended { id, payload } if *id == Extension::Pex.local_id() => {
                let told = PexMessage::decode(payload).is_ok_and(|pex| !pex.added.is_empty());
                told.then_some(Point::PeersExchanged)
            }
            _ => None,
        });
    }
}

impl Reached {
    /// Looks whether what one remote did not bring is asked of another.
    fn seek_elsewhere(&mut self, torrent: &Torrent, spoken: &Spoken, message: &Message) {
        let (Message::Cancel(block) | Message::Request(block)) = message else { return };
        let (own, connection) = (torrent.config().peer_id, torrent.connection(spoken.connection));
        let Some(connection) = connection.filter(|_| !self.points.contains(&Point::AskedElsewhere))
        else {
            return;
        };
        let given_up = (own, *block);
        match message {
            Message::Cancel(_) if connection.is_snubbing() => {
                self.given_up.insert(given_up);
            }
            Message::Request(_)
                if !connection.is_snubbing() && self.given_up.contains(&given_up) =>
            {
                self.points.insert(Point::AskedElsewhere);
                self.given_up.clear();
            }
            _ => {}
        }
    }
}

/// Whether a block is asked of several at this time. BEP 3 §endgame.
fn is_asked_twice(torrent: &Torrent, block: Block) -> bool {
    torrent.layout().contains(block)
        && matches!(torrent.picker().block_state(block), BlockState::InFlight(of) if of.len() > 1)
}
