//! I-STREAM of a live stream: it is watched without a step back, true byte by byte, and
//! not far behind its source.

use std::{rc::Rc, time::Duration};

use reseed_protocol::{Time, Torrent, live::Notice, torrent::Event};

use super::{Code, Finding, Oracle, Scene};
use crate::{
    Content, Plan,
    broadcast::Broadcast,
    members,
    plan::{Has, Lies, PeerPlan},
};

/// Follows what each viewer's player is given:
/// - Nothing that was given before, or lies before that.
/// - The source's bytes of that position of the stream.
/// - Nothing that lies a window behind what the source still has: a viewer that is so
///   far behind lives on what others were slow to forget.
/// - Most of what was made since it began: of what was passed over, a part that is
///   small. That is so where everybody can give, no fault holds, and it stays.
///
/// Who lies reads lies itself, and its player's bytes do not count.
///
/// Only what is given from a place that was used before counts as a check, so that a
/// run in which the stream did not go round shows nothing.
pub(super) struct Live {
    content: Rc<Content>,
    peers: Vec<Viewer>,
    /// Pieces that the source has made (count).
    made: u64,
    /// When it made the last.
    over: Option<Time>,
    /// A fault has held, or there is too little to give: how much of the stream comes, and
    /// how late, is the doing of that.
    disturbed: bool,
    checks: u64,
}

#[derive(Default)]
struct Viewer {
    name: String,
    /// How long after its start it watches, to the end of the run, if it does.
    watches: Option<Duration>,
    /// Whether its own disk lies to it.
    lies: bool,
    /// Whether somebody is sure to watch there for as long as there is anything.
    stays: bool,
    /// When it started, if it is there.
    started: Option<Time>,
    /// Where the first byte was that it was given, and where the next one should be.
    given: Option<(u64, u64)>,
    /// Bytes that it was given (count).
    bytes: u64,
    /// How often it was told where the stream is (count).
    hooked_in: u32,
}

/// How much of what was made since it began a viewer is given at least (share).
const GIVEN_MIN: f64 = 0.9;

/// By when a viewer is given something: the prebuffer, the patience with what is missing
/// of it, and some time to meet others.
const BEGINS_WITHIN: Duration = Duration::from_secs(40);

/// How many times its rate each peer must be able to give and take of the stream, so that
/// most of it comes to everybody.
const PLENTY: u64 = 2;

/// How much one of them may lie for that (share of blocks).
const LIES_MAX: f64 = 0.25;

/// Slots that each peer must have for that (count).
const SLOTS_MIN: usize = 2;

impl Live {
    pub(super) fn new(plan: &Plan, content: Rc<Content>) -> Live {
        let viewer = |peer: &PeerPlan| {
            let is_member = members::is_to_finish(plan, peer) && peer.has != Has::Everything;
            let player = peer.player.as_ref().filter(|_| is_member);
            let watches = player.map(|player| Duration::from_millis(player.start_ms));
            let stays = plan.events.iter().all(|event| event.peer != peer.name);
            Viewer {
                name: peer.name.clone(),
                watches,
                lies: peer.lies.is_some(),
                stays: watches.is_some() && stays,
                ..Viewer::default()
            }
        };
        let peers = plan.peers.iter().map(viewer).collect();
        let liars = plan.peers.iter().filter(|peer| peer.lies.is_some()).count();
        let disturbed = liars > 1 || !plan.peers.iter().all(|peer| gives_plenty(plan, peer));
        Live { content, peers, made: 0, over: None, disturbed, checks: 0 }
    }

    fn broadcast(&self) -> &Broadcast {
        self.content.broadcast().expect("a live stream is shared")
    }
}

/// Whether `peer` takes and gives so much that it holds nobody back.
fn gives_plenty(plan: &Plan, peer: &PeerPlan) -> bool {
    let enough = plan.torrent.bitrate.unwrap_or(0) * PLENTY;
    let limits = [peer.upload_limit, peer.download_limit, peer.link.bandwidth];
    let is_honest_enough = match peer.lies {
        None => true,
        Some(Lies::Blocks(share)) => share <= LIES_MAX,
        Some(Lies::Pieces(_)) => false,
    };
    members::is_to_finish(plan, peer)
        && is_honest_enough
        && limits.into_iter().flatten().all(|limit| limit >= enough)
        && peer.upload_slots >= SLOTS_MIN
}

impl Oracle for Live {
    fn code(&self) -> Code {
        Code::Stream
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn may_rest(&self) -> bool {
        !self.peers.iter().any(|viewer| viewer.stays)
    }

    fn starts(&mut self, scene: Scene<'_>) -> Finding {
        let viewer = &mut self.peers[scene.peer];
        (viewer.given, viewer.bytes, viewer.hooked_in) = (None, 0, 0);
        viewer.started = Some(scene.now);
        Ok(())
    }

    fn gone(&mut self, peer: usize) {
        self.peers[peer].started = None;
        // Whom it gave to or took from has to notice first.
        self.disturbed |= self.over.is_none();
    }

    fn faulty(&mut self, _: Time, _: usize, network: bool, held_up: bool) {
        self.disturbed |= network || held_up;
    }

    fn happened(&mut self, scene: Scene<'_>, torrent: &Torrent, event: &Event) -> Finding {
        match event {
            Event::PieceVerified { .. } if torrent.broadcast().is_some() => {
                self.made += 1;
                let is_last = self.made == self.broadcast().pieces();
                self.over = self.over.or(is_last.then_some(scene.now));
            }
            Event::Live(Notice::HookedIn) => self.peers[scene.peer].hooked_in += 1,
            _ => {}
        }
        Ok(())
    }

    fn watched(&mut self, scene: Scene<'_>, at: u64, bytes: &[u8]) -> Finding {
        let (made, broadcast) = (self.made, self.broadcast());
        let (payload, ring) = (broadcast.payload(), broadcast.ring());
        let piece = at / payload;
        let is_true = broadcast.is(at, bytes);
        let oldest = made.saturating_sub(4 * u64::from(ring.delta()));
        let viewer = &mut self.peers[scene.peer];
        let (first, next) = viewer.given.unwrap_or((at, at));
        let end = at + bytes.len() as u64;
        viewer.given = Some((first, end));
        viewer.bytes += bytes.len() as u64;
        self.checks += u64::from(piece >= u64::from(ring.pieces()));
        if at < next {
            return Err(format!("its player was at byte {next} and is given byte {at} again"));
        }
        if !is_true && !viewer.lies && !scene.disk.has_any_flipped() {
            let last = end - 1;
            return Err(format!(
                "its player is given wrong bytes, of {at} to {last} of the stream"
            ));
        }
        if piece < oldest && !self.disturbed {
            return Err(format!(
                "its player is given bytes of piece {piece}, while the source has made {made}: \
                 none before {oldest} is near enough to that"
            ));
        }
        Ok(())
    }

    fn ended(&mut self) -> Finding {
        let Some(over) = self.over.filter(|_| !self.disturbed) else { return Ok(()) };
        let length = self.broadcast().length();
        for viewer in &self.peers {
            let Some((after, started)) = viewer.watches.zip(viewer.started) else { continue };
            if viewer.lies {
                continue;
            }
            let Some((first, _)) = viewer.given else {
                if started + after + BEGINS_WITHIN > over {
                    continue;
                }
                return Err(format!("{}'s player was given nothing", viewer.name));
            };
            let made = length.saturating_sub(first);
            if (viewer.bytes as f64) < GIVEN_MIN * made as f64 {
                return Err(format!(
                    "{}'s player was given {} bytes of {} since it began, and hooked in {} times",
                    viewer.name, viewer.bytes, made, viewer.hooked_in,
                ));
            }
        }
        Ok(())
    }
}
