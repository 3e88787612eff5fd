//! Give-to-get: what we gave is told to those who ask us for more, and what they say
//! they gave decides whom we give to.

use super::Torrent;
use crate::{
    Block, ConnectionId, Forwarding, Time,
    connection::Connection,
    extension::{Extension, ExtensionError, give_to_get::ForwardReport},
    wire::Message,
};

impl Connection {
    /// What the remote says it gives to others, if give-to-get is used with it.
    pub fn forwarding(&self, now: Time) -> Option<Forwarding> {
        self.forwards().and(self.forward_score.as_ref()).map(|score| score.forwarding(now))
    }

    /// The remote's id for reports, if give-to-get is used with it. They are word of
    /// content, which a stranger to a closed swarm does not get.
    fn forwards(&self) -> Option<u8> {
        self.registry.remote_id(Extension::GiveToGet).filter(|_| self.may_have_content())
    }
}

impl Torrent {
    /// A block went out to `id`.
    pub(super) fn note_forwarded(&mut self, id: ConnectionId, block: Block, now: Time) {
        if !self.reports_forwarded {
            return;
        }
        let bytes = u64::from(block.length);
        let mut due = None;
        for connection in self.connections.values_mut() {
            if connection.id == id {
                if let Some(score) = &mut connection.forward_score {
                    score.gave(block.piece, bytes);
                }
            } else if connection.forwards().is_some() {
                connection.forward_sender.forwarded(block.piece, bytes);
                due = due.into_iter().chain(connection.forward_sender.poll_timeout()).min();
            }
        }
        if let Some(due) = due {
            self.wake_by(due.max(now));
        }
    }

    /// Tells each remote what we gave to others, where that is due.
    pub(super) fn report_forwarded(&mut self, now: Time) {
        let layout = self.layout;
        for id in self.established_ids() {
            let connection = self.connections.get_mut(&id).expect("it is established");
            let Some(extension) = connection.forwards() else { continue };
            let report = connection.forward_sender.report(now, &layout);
            let next = connection.forward_sender.poll_timeout();
            if let Some(report) = report {
                let payload = report.encode();
                self.send(id, &Message::Extended { id: extension, payload }, now);
            }
            if let Some(next) = next {
                self.wake_by(next);
            }
        }
    }

    /// A remote says what it gave to others.
    pub(super) fn forward_report_came(
        &mut self,
        id: ConnectionId,
        payload: &[u8],
        now: Time,
    ) -> Result<(), ExtensionError> {
        let layout = self.layout;
        let connection = self.connections.get_mut(&id).expect("the caller has it");
        let report = ForwardReport::decode(payload)?;
        if let Some(score) = &mut connection.forward_score {
            score.reported(&report, &layout, now);
        }
        Ok(())
    }
}
