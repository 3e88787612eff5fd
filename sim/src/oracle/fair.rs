//! I-FAIR: an interested peer that could be served is unchoked before long.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use reseed_protocol::{Connection, ConnectionId, Time, Torrent};

use super::{Code, Finding, Oracle, Scene, Touched};

/// Measures how long each interested peer is choked without a pause, and holds it to
/// what the choker's times promise: a turn of the optimistic slot for everyone who
/// waited at the same time.
pub(super) struct Fair {
    peers: Vec<BTreeMap<ConnectionId, Wait>>,
    /// Whose times do not count, because a fault holds them up.
    held_up: Vec<bool>,
    /// When it is seen next who has waited for too long.
    due: Vec<Option<Time>>,
    checks: u64,
}

/// A peer that is interested and choked.
struct Wait {
    since: Time,
    /// The most that waited at one time since then (count), itself among them.
    waiting_max: usize,
    /// Whether the choker was a seed's all the time.
    seeding: bool,
}

/// How often it is seen who has waited for too long.
const LOOK_EACH: Duration = Duration::from_millis(100);

/// Whether a peer wants something, and may have it.
fn could_be_served(connection: &Connection) -> bool {
    connection.is_established()
        && connection.is_peer_interested()
        // In a closed swarm to be unchoked is for members.
        && connection.may_have_content()
}

fn waits_for_a_slot(connection: &Connection) -> bool {
    could_be_served(connection) && connection.is_choking()
}

impl Fair {
    pub(super) fn new(peers: usize) -> Fair {
        let waits = (0..peers).map(|_| BTreeMap::new()).collect();
        Fair { peers: waits, held_up: vec![false; peers], due: vec![None; peers], checks: 0 }
    }
}

impl Oracle for Fair {
    fn code(&self) -> Code {
        Code::Fair
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn started(&mut self, peer: usize) {
        self.peers[peer].clear();
    }

    fn faulty(&mut self, _: Time, peer: usize, _: bool, held_up: bool) {
        if std::mem::replace(&mut self.held_up[peer], held_up) != held_up {
            self.peers[peer].clear();
        }
    }

    fn stepped(&mut self, scene: Scene<'_>, torrent: &Torrent, touched: Touched<'_>) -> Finding {
        let options = torrent.choker().options();
        if options.slots == 0 || self.held_up[scene.peer] {
            return Ok(());
        }
        let waits = &mut self.peers[scene.peer];
        let seeding = torrent.is_seeding();
        let mut more_wait = false;
        let mut see = |connection: &Connection| {
            let id = connection.id();
            self.checks += u64::from(connection.is_established());
            if !waits_for_a_slot(connection) {
                waits.remove(&id);
            } else if let Entry::Vacant(entry) = waits.entry(id) {
                entry.insert(Wait { since: scene.now, waiting_max: 0, seeding });
                more_wait = true;
            }
        };
        match touched {
            Some(touched) => touched.iter().copied().for_each(see),
            None => {
                torrent.connections().for_each(&mut see);
                waits.retain(|id, _| torrent.connection(*id).is_some());
            }
        }
        let is_due = self.due[scene.peer].is_none_or(|due| due <= scene.now);
        if !is_due && !more_wait {
            return Ok(());
        }
        let waiting = waits.len();
        for wait in waits.values_mut() {
            wait.waiting_max = wait.waiting_max.max(waiting);
            wait.seeding &= seeding;
        }
        if !is_due {
            return Ok(());
        }
        self.due[scene.peer] = Some(scene.now + LOOK_EACH);
        for (id, wait) in &*waits {
            let most = options.wait_max(wait.seeding, wait.waiting_max);
            let waited = scene.now - wait.since;
            if waited > most {
                let connection = torrent.connection(*id).expect("it waits");
                return Err(evidence(torrent, connection.addr(), waited, most, wait));
            }
        }
        Ok(())
    }
}

fn evidence(
    torrent: &Torrent,
    who: std::net::SocketAddr,
    waited: Duration,
    most: Duration,
    wait: &Wait,
) -> String {
    let unchoked: Vec<String> = torrent
        .connections()
        .filter(|connection| connection.is_peer_interested() && !connection.is_choking())
        .map(|connection| connection.addr().ip().to_string())
        .collect();
    format!(
        "{} has been interested and choked for {} s; where at most {} wait, its turn comes within \
         {} s; unchoked are {}",
        who.ip(),
        waited.as_secs_f64(),
        wait.waiting_max,
        most.as_secs_f64(),
        unchoked.join(", ")
    )
}
