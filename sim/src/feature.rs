//! Options of a peer that may be switched without changing anything but themselves.

use std::time::Duration;

use reseed_protocol::{
    extension::{Extension, ExtensionHandshake, pex::PEX_INTERVAL},
    torrent::Frame,
    wire::Message,
};
use serde::{Deserialize, Serialize};

use crate::plan::{Exit, PeerPlan, Plan};

/// An option that I-FLAG can switch: which frames are its own, and in which plans
/// nothing else may change with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Feature {
    /// Peer exchange. BEP 11.
    Pex,
    /// The fast extension. BEP 6.
    Fast,
    /// Fetching a video in the order in which it is played, and give-to-get.
    Stream,
}

impl Feature {
    /// Its name in plans.
    pub const fn name(self) -> &'static str {
        match self {
            Feature::Pex => "pex",
            Feature::Fast => "fast",
            Feature::Stream => "stream",
        }
    }

    /// Whether `peer` has it.
    pub fn is_on(self, peer: &PeerPlan) -> bool {
        match self {
            Feature::Pex => peer.pex,
            Feature::Fast => peer.fast,
            Feature::Stream => peer.stream,
        }
    }

    /// Switches it.
    pub fn flip(self, peer: &mut PeerPlan) {
        let option = match self {
            Feature::Pex => &mut peer.pex,
            Feature::Fast => &mut peer.fast,
            Feature::Stream => &mut peer.stream,
        };
        *option = !*option;
    }

    /// `frame` without what is this option's; `None` if nothing is left.
    pub(crate) fn strip(self, frame: &Frame) -> Option<Frame> {
        match self {
            Feature::Pex => strip_extension(frame, Extension::Pex),
            Feature::Fast => strip_fast(frame),
            // It also changes which block is asked for when.
            Feature::Stream => strip_extension(frame, Extension::GiveToGet),
        }
    }

    /// How long two runs that differ in it go the same way, from the first handshake
    /// to whatever is its first own frame in either: after that, what is left to
    /// chance may fall otherwise. None if they part with the handshake.
    pub(crate) fn same_way_for(self) -> Option<Duration> {
        match self {
            // Then a sender looks for news, whether there are any or not.
            Feature::Pex => Some(PEX_INTERVAL),
            Feature::Fast | Feature::Stream => None,
        }
    }

    /// Why switching it may rightly change more in `plan`, if it may.
    pub fn changes_more(self, plan: &Plan) -> Option<String> {
        let exits = |peer: &PeerPlan| peer.app.exit_when != Exit::Never;
        if !plan.events.is_empty() || plan.peers.iter().any(exits) {
            let what = "peers come and go by what others have, and so by chance";
            return Some(what.to_owned());
        }
        if !plan.faults.is_empty() {
            return Some("which packets meet a fault is chance".to_owned());
        }
        if plan.peers.iter().any(|peer| peer.lies.is_some()) {
            return Some(
                "who is asked for what, and so who is found out to lie, is chance".to_owned(),
            );
        }
        if plan.tracker.as_ref().is_some_and(|tracker| !tracker.faults.is_empty()) {
            return Some("whom the tracker tells of whom hangs on its faults".to_owned());
        }
        if let Some(peer) = plan.peers.iter().find(|peer| peer.nat) {
            return Some(format!("who can dial {} hangs on who tells of whom", peer.name));
        }
        if let Some(peer) = plan.peers.iter().find(|peer| !peer.runs_client()) {
            return Some(format!("what {} does hangs on chance", peer.name));
        }
        match self {
            Feature::Pex => stranger(plan),
            Feature::Fast | Feature::Stream => None,
        }
    }
}

/// Without `extension`, in `m` and as a message. BEP 10.
fn strip_extension(frame: &Frame, extension: Extension) -> Option<Frame> {
    if matches!(frame, Frame::Message(Message::Extended { id, .. }) if *id == extension.local_id())
    {
        return None;
    }
    Some(with_handshake(frame, |handshake| _ = handshake.m.remove(extension.name())))
}

/// The same, with `change` made if it is a handshake of the extension protocol. BEP 10.
pub(crate) fn with_handshake(frame: &Frame, change: impl FnOnce(&mut ExtensionHandshake)) -> Frame {
    let Frame::Message(Message::Extended { id: 0, payload }) = frame else {
        return frame.clone();
    };
    let Ok(mut handshake) = ExtensionHandshake::decode(payload) else { return frame.clone() };
    change(&mut handshake);
    Frame::Message(Message::Extended { id: 0, payload: handshake.encode() })
}

/// Without the bit in the handshake, and the messages that there are only with it;
/// what says which pieces are there has other forms with it. BEP 6.
fn strip_fast(frame: &Frame) -> Option<Frame> {
    match frame {
        Frame::Handshake(handshake) => {
            let mut handshake = *handshake;
            handshake.reserved[7] &= !0x04;
            Some(Frame::Handshake(handshake))
        }
        Frame::Message(
            Message::HaveAll
            | Message::HaveNone
            | Message::Bitfield(_)
            | Message::Suggest { .. }
            | Message::Reject(_)
            | Message::AllowedFast { .. },
        ) => None,
        frame => Some(frame.clone()),
    }
}

/// Two peers of whom the one that comes later cannot know the other but by peer
/// exchange: with it they are connected, without they are not.
fn stranger(plan: &Plan) -> Option<String> {
    let tracker_tells = plan.tracker.as_ref().is_some_and(|tracker| !tracker.silent);
    let knows = |a: &PeerPlan, b: &PeerPlan| {
        let told = tracker_tells && a.announce && b.announce;
        a.knows.contains(&b.name) || told
    };
    for (at, a) in plan.peers.iter().enumerate() {
        for b in &plan.peers[at + 1..] {
            let met = match a.join_ms.cmp(&b.join_ms) {
                std::cmp::Ordering::Less => knows(b, a),
                std::cmp::Ordering::Equal => knows(a, b) || knows(b, a),
                std::cmp::Ordering::Greater => knows(a, b),
            };
            if !met {
                return Some(format!("{} and {} may learn of each other by it", a.name, b.name));
            }
        }
    }
    None
}
