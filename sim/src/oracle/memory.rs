//! I-MEM: what a connection and the peer table hold is bounded by constants,
//! whatever a remote declares.

use reseed_protocol::{Connection, PeerTable, Torrent, wire::message_cap};

use super::{Code, Finding, Oracle, Scene, Touched};

/// Bytes that a connection may hold besides one message that is still coming in:
/// what was read at a time (64 KiB), what a remote has not read yet (2 MiB and the
/// blocks on their way), and its queues.
const CONNECTION_MAX: usize = 3 * 1024 * 1024;

/// Asks every connection what it holds.
#[derive(Default)]
pub(super) struct Memory {
    checks: u64,
}

impl Memory {
    fn look_at(&mut self, connection: &Connection, most: usize) -> Finding {
        self.checks += 1;
        let held = connection.memory();
        match held <= most {
            true => Ok(()),
            false => {
                let (id, addr) = (connection.id(), connection.addr());
                Err(format!("{id} to {addr} holds {held} bytes; {most} are allowed"))
            }
        }
    }
}

impl Oracle for Memory {
    fn code(&self) -> Code {
        Code::Mem
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn stepped(&mut self, _: Scene<'_>, torrent: &Torrent, touched: Touched<'_>) -> Finding {
        let most = message_cap(Some(torrent.layout().pieces())) + CONNECTION_MAX;
        match touched {
            Some(touched) => touched.iter().try_for_each(|it| self.look_at(it, most)),
            None => torrent.connections().try_for_each(|it| self.look_at(it, most)),
        }?;
        let known = torrent.known_peers();
        match known <= PeerTable::ENTRIES_MAX {
            true => Ok(()),
            false => Err(format!("{known} peers are known; {} may be", PeerTable::ENTRIES_MAX)),
        }
    }
}
