//! The metadata, for who has only its hash. BEP 9.

use bytes::Bytes;

use super::{CloseReason, Torrent};
use crate::{
    ConnectionId, Time,
    extension::{Extension, MetadataMessage, metadata_span},
    wire::Message,
};

/// Bytes that may wait for a remote before its requests for metadata are rejected: far
/// below [`BACKLOG_LIMIT`](super::BACKLOG_LIMIT), lest who asks for all at once be
/// dropped for it.
const METADATA_BACKLOG_MAX: usize = 512 * 1024;

impl Torrent {
    /// Gives `metadata`, the raw info dictionary, to whom asks for it; of a private
    /// torrent to nobody (BEP 27). To be called before there are connections.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Bytes) -> Torrent {
        self.metadata = Some(metadata).filter(|_| !self.private);
        self
    }

    /// Bytes of the metadata, if it is given away.
    pub(super) fn metadata_size(&self) -> Option<u32> {
        self.metadata.as_ref().and_then(|metadata| metadata.len().try_into().ok())
    }

    /// A remote asks for a piece of the metadata. We ask for none, and so what else it
    /// may say of it is passed over.
    pub(super) fn metadata_message(
        &mut self,
        id: ConnectionId,
        payload: &Bytes,
        now: Time,
    ) -> Result<(), CloseReason> {
        let piece = match MetadataMessage::decode(payload) {
            Ok(Some(MetadataMessage::Request { piece })) => piece,
            Ok(_) => return Ok(()),
            Err(error) => return self.ignore(id, &error),
        };
        let connection = &self.connections[&id];
        let Some(extension) = connection.registry.remote_id(Extension::Metadata) else {
            return Ok(());
        };
        let metadata = self.metadata.as_ref().expect("it is offered only with it");
        let total_size = metadata.len() as u32;
        let answer = match metadata_span(piece, total_size) {
            Some(span) if connection.unsent_bytes() < METADATA_BACKLOG_MAX => {
                MetadataMessage::Data { piece, total_size, data: metadata.slice(span) }
            }
            _ => MetadataMessage::Reject { piece },
        };
        self.send(id, &Message::Extended { id: extension, payload: answer.encode() }, now);
        Ok(())
    }
}
