//! I-SLOT: connections, upload slots and queues keep to their limits.

use reseed_protocol::{Phase, Torrent};

use super::{Code, Finding, Oracle, Scene};

/// Counts everything that a limit is set for.
#[derive(Default)]
pub(super) struct Slots {
    checks: u64,
}

impl Oracle for Slots {
    fn code(&self) -> Code {
        Code::Slot
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn stepped(&mut self, _: Scene<'_>, torrent: &Torrent) -> Finding {
        let config = torrent.config();
        let (mut connections, mut half_open, mut unchoked, mut requested) = (0, 0, 0, 0);
        for connection in torrent.connections() {
            self.checks += 1;
            connections += 1;
            requested += connection.requested().len();
            half_open += usize::from(matches!(connection.phase(), Phase::Dialling { .. }));
            unchoked += usize::from(connection.is_peer_interested() && !connection.is_choking());
            let uploads = connection.uploads_waiting();
            within(uploads, config.request_queue_max as usize, "requests wait of one remote")?;
            if !connection.is_established() && connection.requested().len() > 0 {
                return Err(format!("{} has requests before its handshake", connection.id()));
            }
        }
        within(connections, config.connections_max, "connections")?;
        within(half_open, config.half_open_max, "half-open connections")?;
        within(unchoked, config.upload_slots, "upload slots in use")?;
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
