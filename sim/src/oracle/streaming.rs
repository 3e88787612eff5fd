//! I-STREAM: the piece at the playhead is asked of somebody who can bring it in time,
//! or is being asked for anew; after a seek, within one tick.

use std::time::Duration;

use reseed_protocol::{Connection, Time, Torrent, torrent::Event};

use super::{Code, Finding, Oracle, Scene, Touched};
use crate::Plan;

/// Looks at the piece at the playhead after each one-second check, by when everything
/// should have been asked for that can be:
/// - No block of it is free while somebody could be asked for it: who was not late of
///   late, or anybody if no such one has it.
/// - None waits with a remote that has been silent since it was asked, longer than a
///   check lets it, while another could be asked that is not waited for as well.
/// - None waits with a remote that will take very long, while one that is as good as
///   any has nothing to do.
/// - After a seek, none is free while somebody who has it still brings what was asked
///   for before.
///
/// A suspect piece is fetched from one remote alone, and is left out.
pub(super) struct Stream {
    /// When each peer's player went elsewhere, until the next check.
    sought: Vec<Option<Time>>,
    /// The check of each peer that was looked at last: what comes after it at the same instant
    /// is for the next one to see to.
    looked_at: Vec<Option<Time>>,
    checks: u64,
    /// Nobody who streams is sure to stay.
    may_rest: bool,
}

/// How long a silent remote is waited for at most. The legacy engine: 7.5 s.
const SILENCE_MAX: Duration = Duration::from_millis(7_500);
/// How long a block may take that is needed next, from now on. The legacy engine:
/// 30 s, and 10 s on top.
const DELIVERY_MAX: Duration = Duration::from_secs(40);

impl Stream {
    pub(super) fn new(plan: &Plan) -> Stream {
        let peers = plan.peers.len();
        Stream {
            sought: vec![None; peers],
            looked_at: vec![None; peers],
            checks: 0,
            may_rest: !plan.streams_on(),
        }
    }
}

impl Oracle for Stream {
    fn code(&self) -> Code {
        Code::Stream
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn may_rest(&self) -> bool {
        self.may_rest
    }

    fn started(&mut self, peer: usize) {
        self.sought[peer] = None;
        self.looked_at[peer] = None;
    }

    fn happened(&mut self, scene: Scene<'_>, _: &Torrent, event: &Event) -> Finding {
        if let Event::Sought { .. } = event {
            self.sought[scene.peer] = Some(scene.now);
        }
        Ok(())
    }

    fn stepped(&mut self, scene: Scene<'_>, torrent: &Torrent, _: Touched<'_>) -> Finding {
        let Some(streaming) = torrent.picker().streaming() else { return Ok(()) };
        self.checks += 1;
        let waits = !streaming.is_at_end()
            && !torrent.picker().have().contains(streaming.position())
            && !torrent.picker().is_suspect(streaming.position());
        let is_new = std::mem::replace(&mut self.looked_at[scene.peer], torrent.checked())
            != torrent.checked();
        // A disk that fails is given time.
        if !is_new || torrent.is_stopping() || torrent.rests() {
            return Ok(());
        }
        let sought = self.sought[scene.peer].take();
        if !waits {
            return Ok(());
        }
        let playhead = Playhead { torrent, piece: streaming.position(), now: scene.now };
        playhead.nothing_is_left_free()?;
        playhead.nobody_is_waited_for_in_vain()?;
        sought.map_or(Ok(()), |sought| playhead.what_was_asked_before_does_not_go_first(sought))
    }
}

/// The piece that is played next, and is not here.
struct Playhead<'a> {
    torrent: &'a Torrent,
    piece: u32,
    now: Time,
}

impl Playhead<'_> {
    fn free(&self) -> u32 {
        self.torrent.picker().free_in(self.piece)
    }

    /// Who has the piece and lets us request it.
    fn able(&self) -> impl Iterator<Item = &Connection> {
        self.torrent.connections().filter(|connection| {
            let may =
                !connection.is_peer_choking() || connection.allowed_fast().contains(&self.piece);
            let has = connection.remote_pieces().contains(self.piece);
            connection.is_established() && may && has && !connection.refuses()
        })
    }

    fn nothing_is_left_free(&self) -> Finding {
        let free = self.free();
        let well = self.able().any(Connection::serves_well);
        let asked = |connection: &&Connection| {
            (connection.serves_well() || !well) && connection.pipeline_room(self.now) > 0
        };
        let idle = self.able().find(asked).filter(|_| free > 0);
        idle.map_or(Ok(()), |connection| {
            Err(format!(
                "{free} blocks of piece {}, which is played next, are asked of nobody, but {} to \
                 {} has it, lets us request, and has room for {} requests; it was late {} times",
                self.piece,
                connection.id(),
                connection.addr(),
                connection.pipeline_room(self.now),
                connection.lapses(),
            ))
        })
    }

    fn nobody_is_waited_for_in_vain(&self) -> Finding {
        for connection in self.torrent.connections() {
            let rate = connection.download_rate(self.now).max(1);
            let mut before = 0;
            for (block, asked) in connection.requests() {
                before += u64::from(block.length);
                let waits = self.now - asked;
                if block.piece != self.piece || waits <= SILENCE_MAX {
                    continue;
                }
                let who = format!("{} to {}", connection.id(), connection.addr());
                let is_free = |other: &&Connection| {
                    other.id() != connection.id()
                        && !other.is_peer_choking()
                        && other.requested().len() == 0
                        && other.pipeline_room(self.now) > 0
                };
                if self.now - connection.last_received() > SILENCE_MAX
                    && let Some(other) = self.able().find(is_free)
                {
                    return Err(format!(
                        "{block:?} is played next and was asked of {who} {waits:?} ago, which \
                         has said nothing since, while {} has nothing to do",
                        other.id()
                    ));
                }
                let will_take = Duration::from_secs(before / rate);
                let is_idle =
                    |other: &&Connection| other.serves_well() && other.requested().len() == 0;
                if will_take > DELIVERY_MAX
                    && let Some(other) = self.able().find(is_idle)
                {
                    return Err(format!(
                        "{block:?} is played next and will take {who} {will_take:?}, while {} \
                         has nothing to do",
                        other.id()
                    ));
                }
            }
        }
        Ok(())
    }

    fn what_was_asked_before_does_not_go_first(&self, sought: Time) -> Finding {
        let high = self.torrent.picker().streaming().expect("it is streamed").high();
        for connection in self.able().filter(|_| self.free() > 0) {
            let mut requests = connection.requests();
            let stale =
                requests.find(|(block, asked)| *asked < sought && !high.contains(block.piece));
            if let Some((block, _)) = stale {
                return Err(format!(
                    "a tick after a seek to piece {} {} still brings {block:?}",
                    self.piece,
                    connection.id()
                ));
            }
        }
        Ok(())
    }
}
