//! I-SLOT: connections, upload slots and queues keep to their limits.

use reseed_protocol::{Connection, Phase, Torrent, torrent::Config};

use super::{Code, Finding, Oracle, Scene, Touched};
use crate::table::Table;

/// Counts everything that a limit is set for.
///
/// What a step has changed is counted anew with it. All is counted anew when connections
/// came or went, when the step was about none of them, and every [`COUNT_EACH`]th step,
/// where it has to come to the same.
pub(super) struct Slots {
    peers: Vec<Counts>,
    checks: u64,
}

/// Steps from one count of everything to the next (count).
const COUNT_EACH: u64 = 64;

/// What one peer's connections come to.
#[derive(Default)]
struct Counts {
    steps: u64,
    connections: Table<Count>,
    total: Count,
}

/// What one connection adds, or all do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Count {
    connections: u32,
    half_open: u32,
    unchoked: u32,
    requested: u32,
}

impl Count {
    /// Fails if the connection alone is past a limit.
    fn of(connection: &Connection, config: &Config) -> Result<Count, String> {
        let requested = connection.requested().len();
        let uploads = connection.uploads_waiting();
        within(uploads, config.request_queue_max as usize, "requests wait of one remote")?;
        if !connection.is_established() && requested > 0 {
            return Err(format!("{} has requests before its handshake", connection.id()));
        }
        Ok(Count {
            connections: 1,
            half_open: u32::from(matches!(connection.phase(), Phase::Dialling { .. })),
            unchoked: u32::from(connection.is_peer_interested() && !connection.is_choking()),
            requested: requested as u32,
        })
    }

    fn add(&mut self, more: Count) {
        self.connections += more.connections;
        self.half_open += more.half_open;
        self.unchoked += more.unchoked;
        self.requested += more.requested;
    }

    fn subtract(&mut self, less: Count) {
        self.connections -= less.connections;
        self.half_open -= less.half_open;
        self.unchoked -= less.unchoked;
        self.requested -= less.requested;
    }
}

impl Slots {
    pub(super) fn new(peers: usize) -> Slots {
        Slots { peers: (0..peers).map(|_| Counts::default()).collect(), checks: 0 }
    }
}

impl Counts {
    /// Takes in what the last step changed.
    fn update(&mut self, torrent: &Torrent, touched: Touched<'_>) -> Finding {
        let is_due = self.steps.is_multiple_of(COUNT_EACH);
        self.steps += 1;
        let Some(touched) = touched else { return self.update_all(torrent) };
        for connection in touched {
            let now = Count::of(connection, torrent.config())?;
            let last = self.connections.get_mut(connection.id().0);
            let Some(last) = last else { return self.update_all(torrent) };
            if *last != now {
                self.total.subtract(std::mem::replace(last, now));
                self.total.add(now);
            }
        }
        if torrent.connections().len() != self.total.connections as usize {
            return self.update_all(torrent);
        }
        if !is_due {
            return Ok(());
        }
        let before = self.total;
        self.update_all(torrent)?;
        match self.total == before {
            true => Ok(()),
            false => {
                let now = self.total;
                Err(format!("{now:?} in all; what is known to have changed comes to {before:?}"))
            }
        }
    }

    fn update_all(&mut self, torrent: &Torrent) -> Finding {
        self.connections.clear();
        self.total = Count::default();
        for connection in torrent.connections() {
            let now = Count::of(connection, torrent.config())?;
            self.connections.insert(connection.id().0, now);
            self.total.add(now);
        }
        Ok(())
    }
}

impl Oracle for Slots {
    fn code(&self) -> Code {
        Code::Slot
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn started(&mut self, peer: usize) {
        self.peers[peer] = Counts::default();
    }

    fn stepped(&mut self, scene: Scene<'_>, torrent: &Torrent, touched: Touched<'_>) -> Finding {
        let counts = &mut self.peers[scene.peer];
        counts.update(torrent, touched)?;
        let Count { connections, half_open, unchoked, requested } = counts.total;
        self.checks += u64::from(connections);
        let config = torrent.config();
        within(connections as usize, config.connections_max, "connections")?;
        within(half_open as usize, config.half_open_max, "half-open connections")?;
        within(unchoked as usize, config.upload_slots, "upload slots in use")?;
        let in_flight = torrent.picker().in_flight_count();
        if connections == 0 && in_flight > 0 {
            return Err(format!("{in_flight} blocks are in flight from nobody"));
        }
        if torrent.is_complete() && requested > 0 {
            return Err(format!("{requested} requests wait though all is complete"));
        }
        Ok(())
    }
}

fn within(count: usize, limit: usize, what: &str) -> Finding {
    match count <= limit {
        true => Ok(()),
        false => Err(format!("{count} {what}; the limit is {limit}")),
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use reseed_protocol::{Time, torrent::Input, wire::Handshake};

    use super::*;
    use crate::oracle::stage::{id, torrent};

    #[test]
    fn what_changed_unnoticed_is_found_when_everything_is_counted() {
        let (mut torrent, mut rng) = (torrent(id(1)), ChaCha8Rng::seed_from_u64(0));
        let connection = torrent.accept(([10, 0, 0, 2], 6881).into(), Time::ZERO).unwrap();
        let handshake = Handshake::new(torrent.info_hash(), id(2)).encode();
        let mut hear = |torrent: &mut Torrent, bytes: &[u8]| {
            let bytes = BytesMut::from(bytes);
            torrent.handle(Input::Received { connection, bytes }, Time::ZERO, &mut rng);
            while torrent.poll_output().is_some() {}
        };
        let update = |counts: &mut Counts, torrent: &Torrent| {
            let touched: Option<Vec<&Connection>> = torrent.touched().map(Iterator::collect);
            counts.update(torrent, touched.as_deref())
        };
        let mut counts = Counts::default();
        hear(&mut torrent, &handshake);
        // Keepalives, which change nothing.
        for _ in 0..=COUNT_EACH {
            assert_eq!(update(&mut counts, &torrent), Ok(()));
            hear(&mut torrent, &[0; 4]);
            assert!(torrent.touched().is_some());
        }
        counts.total.requested += 1;
        let findings = (0..COUNT_EACH).map(|_| update(&mut counts, &torrent));
        let found: Vec<String> = findings.filter_map(Result::err).collect();
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("requested: 0 } in all"), "{}", found[0]);
    }
}
