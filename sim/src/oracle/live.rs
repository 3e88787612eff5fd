//! I-STREAM of a live stream: it is watched without a step back, true byte by byte, and
//! not far behind its source.

use std::rc::Rc;

use reseed_protocol::{Time, Torrent, live::Notice, torrent::Event};

use super::{Code, Finding, Oracle, Scene};
use crate::{Content, Plan, broadcast::Broadcast};

/// Follows what each viewer's player is given:
/// - Nothing that was given before, or lies before that.
/// - The source's bytes of that position of the stream.
/// - Nothing that lies a window behind what the source still has: a viewer that is so
///   far behind lives on what others were slow to forget.
/// - Most of what was made since it began: of what was passed over, a part that is
///   small.
///
/// Only what is given from a place that was used before counts as a check, so that a
/// run in which the stream did not go round shows nothing.
pub(super) struct Live {
    content: Rc<Content>,
    peers: Vec<Viewer>,
    /// Pieces that the source has made (count).
    made: u64,
    /// A fault has held: how much of the stream comes, and how late, is its doing.
    disturbed: bool,
    checks: u64,
}

#[derive(Default)]
struct Viewer {
    name: String,
    /// Whether it watches, from its start to the end of the run.
    watches: bool,
    /// When it started.
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

impl Live {
    pub(super) fn new(plan: &Plan, content: Rc<Content>) -> Live {
        let viewer = |peer: &crate::plan::PeerPlan| Viewer {
            name: peer.name.clone(),
            watches: peer.player.is_some(),
            ..Viewer::default()
        };
        let peers = plan.peers.iter().map(viewer).collect();
        Live { content, peers, made: 0, disturbed: false, checks: 0 }
    }

    fn broadcast(&self) -> &Broadcast {
        self.content.broadcast().expect("a live stream is shared")
    }
}

impl Oracle for Live {
    fn code(&self) -> Code {
        Code::Stream
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn started(&mut self, peer: usize) {
        let viewer = &mut self.peers[peer];
        (viewer.given, viewer.bytes, viewer.started) = (None, 0, None);
    }

    fn faulty(&mut self, _: Time, _: usize, network: bool, held_up: bool) {
        self.disturbed |= network || held_up;
    }

    fn happened(&mut self, scene: Scene<'_>, torrent: &Torrent, event: &Event) -> Finding {
        match event {
            Event::PieceVerified { .. } if torrent.broadcast().is_some() => self.made += 1,
            Event::Live(Notice::HookedIn) => self.peers[scene.peer].hooked_in += 1,
            _ => {}
        }
        Ok(())
    }

    fn watched(&mut self, scene: Scene<'_>, at: u64, bytes: &[u8]) -> Finding {
        let (made, broadcast) = (self.made, self.broadcast());
        let (payload, ring) = (broadcast.payload(), broadcast.ring());
        let piece = at / payload;
        let is_true = broadcast.slice(at, bytes.len()) == Some(bytes);
        let oldest = made.saturating_sub(3 * u64::from(ring.delta()));
        let viewer = &mut self.peers[scene.peer];
        let (first, next) = viewer.given.unwrap_or((at, at));
        let end = at + bytes.len() as u64;
        viewer.given = Some((first, end));
        viewer.bytes += bytes.len() as u64;
        self.checks += u64::from(piece >= u64::from(ring.pieces()));
        if at < next {
            return Err(format!("its player was at byte {next} and is given byte {at} again"));
        }
        if !is_true && !scene.disk.has_any_flipped() {
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
        if self.disturbed {
            return Ok(());
        }
        let length = self.broadcast().length();
        for viewer in self.peers.iter().filter(|viewer| viewer.watches) {
            let Some((first, _)) = viewer.given else {
                return Err(format!("{}'s player was given nothing", viewer.name));
            };
            let share = viewer.bytes as f64 / (length - first) as f64;
            if share < GIVEN_MIN {
                return Err(format!(
                    "{}'s player was given {} bytes of {} since it began, and hooked in {} times",
                    viewer.name,
                    viewer.bytes,
                    length - first,
                    viewer.hooked_in,
                ));
            }
        }
        Ok(())
    }
}
