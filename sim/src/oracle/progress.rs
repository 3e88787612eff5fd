//! I-PROG: who can have a block gets one before long.

use std::{collections::BTreeMap, time::Duration};

use reseed_protocol::{
    BLOCK_LENGTH, PeerId, Time, Torrent,
    torrent::{Event, Speaker, Spoken},
};

use super::{Code, Finding, Oracle, Scene, Touched, brought};
use crate::{Plan, members, plan::FaultPlan};

/// How often it looks at who could give what.
const LOOK_EACH: Duration = Duration::from_secs(1);

/// How long the next block may take where nothing limits it: longer than a request
/// waits before it is made elsewhere.
const PATIENCE: Duration = Duration::from_secs(120);

/// RFC 6298 §5.7: how long TCP waits at most before it sends again.
const RETRANSMISSION_MAX: Duration = Duration::from_secs(60);

/// Measures for how long a peer has got nothing, though all the time somebody who is
/// there, and honest, and does not choke it, has a piece that it wants.
pub(super) struct Progress {
    patience: Duration,
    /// Whose word counts: it gives true bytes, and is up.
    gives: Vec<bool>,
    up: Vec<bool>,
    /// Who fetches whatever it can get: no stream, which has an order and pauses.
    fetches: Vec<bool>,
    /// The ids that each peer has had, in all its lives.
    ids: BTreeMap<PeerId, usize>,
    looked: Vec<Time>,
    /// Since when each could have had a block, and got none.
    since: Vec<Option<Time>>,
    checks: u64,
}

impl Progress {
    pub(super) fn new(plan: &Plan) -> Progress {
        let peers = plan.peers.len();
        let gives = |peer| members::is_to_finish(plan, peer);
        Progress {
            patience: PATIENCE + slowest(plan) + faults(plan),
            gives: plan.peers.iter().map(|it| gives(it) && it.lies.is_none()).collect(),
            up: vec![false; peers],
            fetches: plan.peers.iter().map(|peer| gives(peer) && !peer.stream).collect(),
            ids: BTreeMap::new(),
            looked: vec![Time::ZERO; peers],
            since: vec![None; peers],
            checks: 0,
        }
    }

    /// Whether `torrent` has somebody to get something from.
    fn could_have(&self, torrent: &Torrent) -> bool {
        let picker = torrent.picker();
        torrent.connections().any(|connection| {
            let who = connection.remote_id().and_then(|id| self.ids.get(&id));
            who.is_some_and(|who| self.gives[*who] && self.up[*who])
                && connection.is_established()
                && !connection.is_peer_choking()
                && connection
                    .remote_pieces()
                    .iter()
                    .any(|piece| picker.is_wanted(piece) && !picker.have().contains(piece))
        })
    }
}

/// A block at the lowest rate that a client of `plan` has set itself, if all the others
/// want one as well.
fn slowest(plan: &Plan) -> Duration {
    let limits = plan.peers.iter().flat_map(|peer| [peer.upload_limit, peer.download_limit]);
    let links = plan.peers.iter().map(|peer| peer.link.bandwidth);
    let lowest = limits.chain(links).flatten().min().unwrap_or(u64::MAX).max(1);
    let waiting = u64::from(BLOCK_LENGTH) * 4 * plan.peers.len() as u64;
    Duration::from_secs(waiting.div_ceil(lowest))
}

/// While a fault holds nothing need come, and what it delayed comes a retransmission later.
fn faults(plan: &Plan) -> Duration {
    let of = |fault: &FaultPlan| Duration::from_millis(fault.for_ms) + RETRANSMISSION_MAX;
    plan.faults.iter().map(of).sum()
}

impl Oracle for Progress {
    fn code(&self) -> Code {
        Code::Prog
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    /// It may be over before it was looked at.
    fn may_rest(&self) -> bool {
        true
    }

    fn started(&mut self, peer: usize) {
        self.up[peer] = true;
        self.since[peer] = None;
    }

    fn gone(&mut self, peer: usize) {
        self.up[peer] = false;
        self.since[peer] = None;
    }

    fn spoke(&mut self, scene: Scene<'_>, _: &Torrent, spoken: &Spoken) -> Finding {
        if let (Speaker::Remote, reseed_protocol::torrent::Frame::Message(message)) =
            (spoken.by, &spoken.frame)
            && brought(message).is_some()
        {
            self.since[scene.peer] = None;
        }
        Ok(())
    }

    fn happened(&mut self, scene: Scene<'_>, torrent: &Torrent, _: &Event) -> Finding {
        self.ids.insert(torrent.config().peer_id, scene.peer);
        Ok(())
    }

    fn stepped(&mut self, scene: Scene<'_>, torrent: &Torrent, _: Touched<'_>) -> Finding {
        let Scene { now, peer, .. } = scene;
        if !self.fetches[peer] || now < self.looked[peer] + LOOK_EACH {
            return Ok(());
        }
        self.looked[peer] = now;
        if torrent.is_seeding() || !self.could_have(torrent) {
            self.since[peer] = None;
            return Ok(());
        }
        self.checks += 1;
        let since = *self.since[peer].get_or_insert(now);
        match now - since > self.patience {
            false => Ok(()),
            true => Err(format!(
                "for {} s it has got no block, though somebody has one, does not choke it, and \
                 nothing is wrong with either",
                (now - since).as_secs()
            )),
        }
    }
}
