//! I-INIT: no part of a peer is called before it is there, nor when it is no more.

use std::time::Duration;

use reseed_protocol::{Time, Torrent, torrent::Event};

use super::{Code, Finding, Oracle, Scene, Touched};
use crate::Plan;

/// Follows the parts of a download that is streamed: a transporter there is from the
/// first step to the stop, the one-second check comes once a second, and never does
/// it come to somebody who is not there.
pub(super) struct Init {
    /// When each peer's check was made last, or when it started.
    checked: Vec<Option<Time>>,
    /// Whose times do not count, because a fault holds them up.
    held_up: Vec<bool>,
    checks: u64,
    /// Nobody who streams is sure to stay.
    may_rest: bool,
}

/// From one check to the next.
const CHECK_EACH: Duration = Duration::from_secs(1);

impl Init {
    pub(super) fn new(plan: &Plan) -> Init {
        let peers = plan.peers.len();
        Init {
            checked: vec![None; peers],
            held_up: vec![false; peers],
            checks: 0,
            may_rest: !plan.streams_on(),
        }
    }
}

impl Oracle for Init {
    fn code(&self) -> Code {
        Code::Init
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn may_rest(&self) -> bool {
        self.may_rest
    }

    fn started(&mut self, peer: usize) {
        self.checked[peer] = None;
    }

    fn happened(&mut self, _: Scene<'_>, torrent: &Torrent, event: &Event) -> Finding {
        let Event::CheckFailed(error) = event else { return Ok(()) };
        let picker = torrent.picker();
        let (have, pieces) = (picker.have().count(), torrent.layout().pieces());
        Err(format!("{error}; it has {have} of {pieces} pieces, and was never given one"))
    }

    fn faulty(&mut self, _: Time, peer: usize, _: bool, held_up: bool) {
        self.held_up[peer] = held_up;
    }

    fn stepped(&mut self, scene: Scene<'_>, torrent: &Torrent, _: Touched<'_>) -> Finding {
        if torrent.picker().streaming().is_none() {
            return Ok(());
        }
        self.checks += 1;
        if torrent.is_stopping() {
            return match torrent.transporter() {
                Some(_) => Err("it has stopped, and its transporter is still there".to_owned()),
                None => Ok(()),
            };
        }
        let last = self.checked[scene.peer].get_or_insert(scene.now);
        *last = torrent.checked().unwrap_or(*last);
        if scene.now - *last > CHECK_EACH && !self.held_up[scene.peer] {
            let since = scene.now - *last;
            return Err(format!("its one-second check was not made for {since:?}"));
        }
        Ok(())
    }
}
