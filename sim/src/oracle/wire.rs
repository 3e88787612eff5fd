//! I-WIRE: what a peer sends, it may send.
//!
//! Each connection is followed from both sides' words alone, as a third party
//! would who knows only the BEPs. That those words are what is really on the wire is
//! found out by reading its bytes once more, by a decoder that knows nothing else
//! either.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use reseed_protocol::{
    Bitfield, Block, Layout, Torrent,
    extension::ExtensionHandshake,
    torrent::{Event, Frame, Speaker, Spoken},
    wire::{Handshake, Message},
};

use super::{Code, Finding, Listener, Oracle, Scene, brought};
use crate::{
    plan::{PeerPlan, Plan},
    table::Table,
};

mod bencode;
mod carried;
mod extension;
mod naive;

use carried::Carried;

/// Follows every connection of every peer.
pub(super) struct Wire {
    peers: Vec<Table<Box<Dialogue>>>,
    carried: Carried,
    /// What sides were found to take, which is mostly the same.
    known: BTreeSet<Rc<BTreeMap<String, u8>>>,
    checks: u64,
}

/// What has been said on one connection.
#[derive(Default)]
struct Dialogue {
    said: Side,
    heard: Side,
}

/// What one side has said, and so may not say again, or must keep to.
struct Side {
    handshake: Option<Handshake>,
    messages: u64,
    pieces: Option<Bitfield>,
    choking: bool,
    /// Requests of the other side's that this one may still answer.
    requests: BTreeSet<Block>,
    /// Those of them that were cancelled: they may be made again. BEP 6.
    cancelled: BTreeSet<Block>,
    allowed_fast: BTreeSet<u32>,
    /// Ids that this side takes extended messages under.
    extensions: Rc<BTreeMap<String, u8>>,
}

impl Default for Side {
    fn default() -> Side {
        Side {
            handshake: None,
            messages: 0,
            pieces: None,
            choking: true,
            requests: BTreeSet::new(),
            cancelled: BTreeSet::new(),
            allowed_fast: BTreeSet::new(),
            extensions: Rc::default(),
        }
    }
}

impl Side {
    fn has(&self, piece: u32) -> bool {
        self.pieces.as_ref().is_some_and(|pieces| pieces.contains(piece))
    }
}

impl Wire {
    pub(super) fn new(plan: &Plan) -> Wire {
        let several = |(at, peer): (usize, &PeerPlan)| (peer.app.downloads > 1).then_some(at);
        let carried = Carried::new(plan.peers.iter().enumerate().filter_map(several).collect());
        let peers = plan.peers.iter().map(|_| Table::default()).collect();
        Wire { peers, carried, known: BTreeSet::new(), checks: 0 }
    }
}

impl Oracle for Wire {
    fn code(&self) -> Code {
        Code::Wire
    }

    /// Words that no bytes were held against are not checked.
    fn checks(&self) -> u64 {
        if self.carried.compared() > 0 { self.checks } else { 0 }
    }

    fn started(&mut self, peer: usize) {
        self.peers[peer].clear();
        self.carried.started(peer);
    }

    fn listener(&mut self) -> Option<&mut dyn Listener> {
        Some(&mut self.carried)
    }

    fn spoke(&mut self, scene: Scene<'_>, torrent: &Torrent, spoken: &Spoken) -> Finding {
        self.carried.spoke(scene.peer, spoken)?;
        let dialogues = &mut self.peers[scene.peer];
        let dialogue = dialogues.get_or_insert_with(spoken.connection.0, Box::default);
        let layout = torrent.layout();
        let finding = match spoken.by {
            Speaker::Us => {
                self.checks += 1;
                let wrong = |why| format!("`{}` to {}: {why}", spoken.frame, spoken.addr);
                dialogue.say(&spoken.frame, layout).map_err(wrong)
            }
            Speaker::Remote => {
                dialogue.hear(&spoken.frame, layout);
                Ok(())
            }
        };
        if let Frame::Message(Message::Extended { id: 0, .. }) = spoken.frame {
            let Dialogue { said, heard } = &mut **dialogue;
            share(&mut self.known, &mut said.extensions);
            share(&mut self.known, &mut heard.extensions);
        }
        finding
    }

    fn happened(&mut self, scene: Scene<'_>, _: &Torrent, event: &Event) -> Finding {
        if let Event::Disconnected { connection, .. } = event {
            self.peers[scene.peer].remove(connection.0);
            self.carried.ended(scene.peer, *connection);
        }
        Ok(())
    }
}

/// Holds `it` together with others that are the same: there are many connections.
fn share<T: Ord>(known: &mut BTreeSet<Rc<T>>, it: &mut Rc<T>) {
    match known.get(it) {
        Some(same) => *it = same.clone(),
        None => _ = known.insert(it.clone()),
    }
}

impl Dialogue {
    /// We say `frame`, if we may.
    fn say(&mut self, frame: &Frame, layout: Layout) -> Result<(), &'static str> {
        match frame {
            Frame::Handshake(handshake) => {
                let earlier = self.said.handshake.replace(*handshake);
                demand(earlier.is_none(), "a handshake was sent before it")
            }
            Frame::Message(message) => {
                self.may_say(message, layout)?;
                self.note(Speaker::Us, message, layout);
                Ok(())
            }
        }
    }

    /// The remote says `frame`; whether it may is not for us to judge.
    fn hear(&mut self, frame: &Frame, layout: Layout) {
        match frame {
            Frame::Handshake(handshake) => self.heard.handshake = Some(*handshake),
            Frame::Message(message) => self.note(Speaker::Remote, message, layout),
        }
    }

    fn both(&self, supports: impl Fn(&Handshake) -> bool) -> bool {
        [&self.said, &self.heard].iter().all(|side| side.handshake.as_ref().is_some_and(&supports))
    }

    fn is_fast(&self) -> bool {
        self.both(Handshake::supports_fast)
    }

    /// Whether we may say `message` now, after all that was said.
    fn may_say(&self, message: &Message, layout: Layout) -> Result<(), &'static str> {
        let (said, heard) = (&self.said, &self.heard);
        demand(said.handshake.is_some(), "no handshake was sent before it")?;
        let fast = self.is_fast();
        match message {
            Message::Bitfield(bytes) => {
                demand(said.messages == 0, NOT_FIRST)?;
                let bitfield = Bitfield::from_wire(bytes, layout.pieces());
                demand(bitfield.is_ok(), "not of as many bits as there are pieces")
            }
            Message::HaveAll | Message::HaveNone => {
                demand(said.messages == 0, NOT_FIRST)?;
                demand(fast, NOT_FAST)
            }
            Message::Request(block) => {
                demand(layout.contains(*block), "not within a piece, or longer than 16 KiB")?;
                demand(heard.has(block.piece), "the remote does not have the piece")?;
                let again = heard.cancelled.contains(block);
                demand(again || !heard.requests.contains(block), "it was requested before")?;
                let allowed = fast && heard.allowed_fast.contains(&block.piece);
                demand(!heard.choking || allowed, "the remote chokes us")
            }
            Message::Cancel(block) => {
                demand(heard.requests.contains(block), "it was not requested")?;
                demand(!heard.cancelled.contains(block), "it was cancelled before")
            }
            Message::Reject(block) => {
                demand(fast, NOT_FAST)?;
                demand(said.requests.contains(block), UNREQUESTED)
            }
            Message::Suggest { piece } | Message::AllowedFast { piece } => {
                demand(fast, NOT_FAST)?;
                demand(*piece < layout.pieces(), NO_PIECE)
            }
            Message::Extended { id: 0, .. } => {
                demand(self.both(Handshake::supports_extensions), "extensions were not agreed on")
            }
            Message::Extended { id, .. } => {
                let declared = heard.extensions.values().any(|declared| declared == id);
                demand(declared, "the remote declared no such extension")?;
                may_bring(said, message)
            }
            Message::Piece { .. } => may_bring(said, message),
            Message::Have { piece } => demand(*piece < layout.pieces(), NO_PIECE),
            _ => Ok(()),
        }
    }

    /// Remembers what `message` means for what may be said later.
    fn note(&mut self, by: Speaker, message: &Message, layout: Layout) {
        let fast = self.is_fast();
        let (speaker, other) = match by {
            Speaker::Us => (&mut self.said, &mut self.heard),
            Speaker::Remote => (&mut self.heard, &mut self.said),
        };
        speaker.messages += 1;
        let empty = || Bitfield::empty(layout.pieces());
        match message {
            Message::Bitfield(bytes) => {
                speaker.pieces = Bitfield::from_wire(bytes, layout.pieces()).ok();
            }
            Message::HaveAll => speaker.pieces = Some(Bitfield::full(layout.pieces())),
            Message::HaveNone => speaker.pieces = Some(empty()),
            Message::Have { piece } if *piece < layout.pieces() => {
                speaker.pieces.get_or_insert_with(empty).insert(*piece);
            }
            Message::Choke => {
                speaker.choking = true;
                // With the fast extension each request still gets its answer.
                if !fast {
                    speaker.requests.clear();
                }
            }
            Message::Unchoke => speaker.choking = false,
            Message::AllowedFast { piece } => _ = speaker.allowed_fast.insert(*piece),
            // Kept by the side that is to answer it.
            Message::Request(block) => {
                other.requests.insert(*block);
                other.cancelled.remove(block);
            }
            Message::Cancel(block) if fast => _ = other.cancelled.insert(*block),
            Message::Cancel(block) => _ = other.requests.remove(block),
            Message::Reject(block) => _ = speaker.requests.remove(block),
            Message::Extended { id: 0, payload } => {
                if let Ok(handshake) = ExtensionHandshake::decode(payload) {
                    let extensions = Rc::make_mut(&mut speaker.extensions);
                    extensions.extend(handshake.m);
                    extensions.retain(|_, id| *id != 0);
                }
            }
            Message::Extended { id, payload }
                if other.extensions.get("lt_donthave") == Some(id) && payload.len() == 4 =>
            {
                let piece = payload.iter().fold(0, |piece, byte| piece << 8 | u32::from(*byte));
                if let Some(pieces) = &mut speaker.pieces
                    && piece < layout.pieces()
                {
                    pieces.remove(piece);
                }
                speaker.allowed_fast.remove(&piece);
                // With the fast extension each request still gets its answer.
                if !fast {
                    speaker.requests.retain(|block| block.piece != piece);
                }
            }
            _ => {
                if let Some((block, _)) = brought(message) {
                    speaker.requests.remove(&block);
                }
            }
        }
    }
}

/// A block is only brought to who requested it.
fn may_bring(said: &Side, message: &Message) -> Result<(), &'static str> {
    let requested = |(block, _)| said.requests.contains(&block);
    demand(brought(message).is_none_or(requested), UNREQUESTED)
}

const NOT_FIRST: &str = "only the first message may say what one has";
const NOT_FAST: &str = "the fast extension was not agreed on";
const UNREQUESTED: &str = "the remote did not request it";
const NO_PIECE: &str = "there is no such piece";

fn demand(holds: bool, otherwise: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(otherwise) }
}

#[cfg(test)]
mod tests;
