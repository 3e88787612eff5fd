//! I-CS: in a closed swarm nothing of the content goes to whom has not proven access,
//! and whoever has proven it hears at once what there is, but from who super-seeds.
//!
//! Who has proven what is judged from the words of both sides and from who was really
//! given a certificate, never from what the peer believes.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use reseed_protocol::{
    Bitfield, ConnectionId, Time, Torrent,
    extension::{
        Extension, ExtensionHandshake,
        closed_swarm::{ProofMessage, PublicKey},
    },
    torrent::{Event, Frame, Speaker, Spoken},
    wire::Message,
};

use super::{Code, Finding, Oracle, Scene, Touched};
use crate::{
    Plan,
    members::{self, UNIX_EPOCH_S},
};

/// How long it may take until who has proven access was told what there is.
const TELL_WITHIN: Duration = Duration::from_secs(1);

/// Follows the handshake of every connection.
pub(super) struct Access {
    truth: Truth,
    peers: Vec<BTreeMap<ConnectionId, Dialogue>>,
    /// When somebody is next to have been told what there is.
    due: Option<Time>,
    /// Whether clocks may be wrong, so that certificates do not end when they should.
    clocks_fail: bool,
    checks: u64,
}

/// What nobody on the wire can change.
struct Truth {
    owner: PublicKey,
    /// Whose each key is, and until when (Unix seconds) it may have the content.
    members: BTreeMap<PublicKey, (String, Option<u64>)>,
    /// Who is at an address, where it is one peer.
    names: BTreeMap<IpAddr, String>,
}

/// What was said on one connection.
#[derive(Default)]
struct Dialogue {
    /// The ids under which each side takes the handshake: we, the remote.
    ids: [Option<u8>; 2],
    nonces: [Option<Vec<u8>>; 2],
    /// Until when (Unix seconds) the remote has proven access.
    proven_until: Option<u64>,
    told: Option<Bitfield>,
    /// What there was when the remote proved access, and by when it is to be told.
    to_tell: Option<(Time, Bitfield, String)>,
}

impl Access {
    pub(super) fn new(plan: &Plan) -> Access {
        let member = |peer: &crate::plan::PeerPlan| {
            let until = members::entitled_until(plan, peer);
            (members::public_key(plan, peer), (peer.name.clone(), until))
        };
        let mut names: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
        for peer in &plan.peers {
            names.entry(peer.address).or_default().push(&peer.name);
        }
        let alone = |(address, names): (IpAddr, Vec<&str>)| match names.as_slice() {
            [name] => Some((address, (*name).to_owned())),
            _ => None,
        };
        Access {
            truth: Truth {
                owner: members::owner().public(),
                members: plan.peers.iter().map(member).collect(),
                names: names.into_iter().filter_map(alone).collect(),
            },
            peers: plan.peers.iter().map(|_| BTreeMap::new()).collect(),
            due: None,
            clocks_fail: plan.faults.iter().any(|plan| plan.fault.is_of_clock()),
            checks: 0,
        }
    }

    /// Whoever was to be told of something by `now` was told.
    fn look_whether_told(&mut self, now: Time) -> Finding {
        if self.due.is_none_or(|due| due > now) {
            return Ok(());
        }
        self.due = None;
        for (connection, dialogue) in self.peers.iter_mut().flatten() {
            let Some((due, what, whom)) = &dialogue.to_tell else { continue };
            if *due > now {
                self.due = Some(self.due.map_or(*due, |earliest| earliest.min(*due)));
                continue;
            }
            let untold = match &dialogue.told {
                Some(told) => what.difference(told).next(),
                None => what.iter().next(),
            };
            if let Some(piece) = untold {
                let within = TELL_WITHIN.as_secs();
                return Err(format!(
                    "{whom} proved access on {connection} and was not told of piece {piece} within {within} s"
                ));
            }
            dialogue.to_tell = None;
        }
        Ok(())
    }
}

impl Oracle for Access {
    fn code(&self) -> Code {
        Code::Cs
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn started(&mut self, peer: usize) {
        self.peers[peer].clear();
    }

    fn spoke(&mut self, scene: Scene<'_>, torrent: &Torrent, spoken: &Spoken) -> Finding {
        let Frame::Message(message) = &spoken.frame else { return Ok(()) };
        let dialogue = self.peers[scene.peer].entry(spoken.connection).or_default();
        let epoch_s = match self.clocks_fail {
            // Nobody can do better than to go by the own clock.
            true => torrent.config().unix_epoch_s,
            false => UNIX_EPOCH_S,
        };
        let now_s = epoch_s + scene.now.since_epoch().as_secs();
        match spoken.by {
            Speaker::Us => {
                self.checks += 1;
                dialogue.note(0, message, torrent);
                // A second for the timer that is due at that time.
                let may = dialogue.proven_until.is_some_and(|until| now_s <= until);
                match may || tells_nothing(message) {
                    true => Ok(()),
                    false => {
                        let whom = self.truth.name(spoken.addr);
                        Err(format!("`{message}` to {whom}, who has not proven access"))
                    }
                }
            }
            Speaker::Remote => {
                let proof = dialogue.note(1, message, torrent);
                let Some(proof) = proof else { return Ok(()) };
                let Some((name, until)) = self.truth.proves(dialogue, &proof, now_s) else {
                    return Ok(());
                };
                dialogue.proven_until = Some(until);
                if torrent.is_super_seeding() {
                    return Ok(());
                }
                let due = scene.now + TELL_WITHIN;
                dialogue.to_tell = Some((due, torrent.picker().have().clone(), name));
                self.due = Some(self.due.map_or(due, |earliest| earliest.min(due)));
                Ok(())
            }
        }
    }

    fn happened(&mut self, scene: Scene<'_>, _: &Torrent, event: &Event) -> Finding {
        if let Event::Disconnected { connection, .. } = event {
            self.peers[scene.peer].remove(connection);
        }
        Ok(())
    }

    fn stepped(&mut self, scene: Scene<'_>, _: &Torrent, _: Touched<'_>) -> Finding {
        self.look_whether_told(scene.now)
    }
}

/// Whether a message may go to anybody, since it says nothing of the content.
fn tells_nothing(message: &Message) -> bool {
    match message {
        Message::Have { .. }
        | Message::HaveAll
        | Message::Piece { .. }
        | Message::Unchoke
        | Message::AllowedFast { .. }
        | Message::Suggest { .. } => false,
        Message::Bitfield(bits) => bits.iter().all(|byte| *byte == 0),
        _ => true,
    }
}

impl Dialogue {
    /// Remembers what `side` (we are 0) said; returns a proof, if it was one.
    fn note(&mut self, side: usize, message: &Message, torrent: &Torrent) -> Option<ProofMessage> {
        let pieces = torrent.layout().pieces();
        let told = |dialogue: &mut Dialogue, more: &dyn Fn(&mut Bitfield)| {
            if side == 0 {
                more(dialogue.told.get_or_insert_with(|| Bitfield::empty(pieces)));
            }
        };
        match message {
            Message::Have { piece } => told(self, &|told| _ = told.insert(*piece)),
            Message::HaveAll => told(self, &|told| *told = Bitfield::full(pieces)),
            Message::Bitfield(bytes) => {
                if let Ok(bits) = Bitfield::from_wire(bytes, pieces) {
                    told(self, &|told| told.clone_from(&bits));
                }
            }
            Message::Extended { id: 0, payload } => {
                let handshake = ExtensionHandshake::decode(payload).ok()?;
                let id = handshake.m.get(Extension::ClosedSwarm.name()).copied();
                self.ids[side] = id.or(self.ids[side]);
            }
            Message::Extended { id, payload } if Some(*id) == self.ids[1 - side] => {
                match ProofMessage::decode(payload).ok()? {
                    ProofMessage::Challenge { returned, nonce, .. } => {
                        self.nonces[usize::from(returned)] = Some(nonce);
                    }
                    proof @ ProofMessage::Proof { .. } => return Some(proof),
                }
            }
            _ => {}
        }
        None
    }
}

impl Truth {
    /// Who a heard proof proves to be there, and until when (Unix seconds) they may
    /// have the content.
    fn proves(
        &self,
        dialogue: &Dialogue,
        proof: &ProofMessage,
        now_s: u64,
    ) -> Option<(String, u64)> {
        let ProofMessage::Proof { certificate, signature, .. } = proof else { return None };
        let (name, until) = self.members.get(&certificate.node_key)?;
        let until = until.filter(|until| now_s < *until)?;
        let [Some(a), Some(b)] = &dialogue.nonces else { return None };
        let signed = ProofMessage::signed(a, b, certificate);
        let holds = certificate.torrent_key == self.owner
            && certificate.node_key.verifies(&signed, signature);
        holds.then(|| (name.clone(), until))
    }

    fn name(&self, addr: SocketAddr) -> String {
        self.names.get(&addr.ip()).cloned().unwrap_or_else(|| addr.to_string())
    }
}
