//! Extensions, as peers that both speak BEP 10 exchange them inside
//! [`Message::Extended`](crate::wire::Message::Extended).
//!
//! Each side declares in an [`ExtensionHandshake`] which extensions it takes and
//! under which id; a [`Registry`] remembers both sides' ids. [`pex`],
//! [`closed_swarm`] and [`give_to_get`] are extensions, [`HashPiece`] a message of
//! another.

pub mod closed_swarm;
mod dont_have;
pub mod give_to_get;
mod handshake;
mod hash_piece;
mod metadata;
pub mod pex;
mod registry;

use bendy::decoding::{Decoder, DictDecoder};

pub use dont_have::DontHave;
pub use handshake::ExtensionHandshake;
pub use hash_piece::HashPiece;
pub use metadata::{METADATA_LENGTH_MAX, METADATA_PIECE_LENGTH, MetadataMessage, metadata_span};
pub use registry::{Extension, NotTaken, Registry};

/// Why the payload of an extended message cannot be used.
///
/// It costs that message, not the connection: everything in BEP 10 is optional, so
/// a peer that cannot read it goes on as if it had not been sent. What is
/// grounds to drop a connection has its own type, such as [`pex::PexViolation`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// No well-formed bencode, or no dictionary. Keys out of order count: BEP 3
    /// wants them sorted, and so does our reader.
    #[error("{what} that is no bencoded dictionary: {reason}")]
    Bencode {
        /// The message that was read.
        what: &'static str,
        /// What the reader of bencode found.
        reason: String,
    },
    /// A message longer than any well-behaved one.
    #[error("{what} of {got} bytes where at most {most} are expected")]
    TooLong {
        /// The message that was read.
        what: &'static str,
        /// Bytes received.
        got: usize,
        /// Bytes that would have been read.
        most: usize,
    },
    /// A field that must be there is not, or makes no sense.
    #[error("{what} without a usable `{field}`")]
    Missing {
        /// The message that was read.
        what: &'static str,
        /// Key in the message.
        field: &'static str,
    },
    /// A field that is not a byte string.
    #[error("peer exchange with a field `{field}` that is no byte string")]
    PexType {
        /// Key in the message.
        field: &'static str,
    },
    /// A field that ends inside a contact.
    #[error("peer exchange with {got} bytes of `{field}`, where a contact takes {contact}")]
    PexContacts {
        /// Key in the message.
        field: &'static str,
        /// Bytes received.
        got: usize,
        /// Bytes a contact.
        contact: usize,
    },
    /// Flags for more or fewer contacts than were added.
    #[error("peer exchange with {got} flags in `{field}` for {contacts} contacts")]
    PexFlags {
        /// Key in the message.
        field: &'static str,
        /// Flags received (count).
        got: usize,
        /// Contacts that they are for (count).
        contacts: usize,
    },
    /// Word of a piece that is gone, in which there is no piece.
    #[error("a lt_donthave of {got} bytes, where a piece takes 4")]
    DontHaveLength {
        /// Bytes received.
        got: usize,
    },
    /// A block with hashes that ends before its hashes do.
    #[error("a block with hashes of {got} bytes, where its head and hashes take {expected}")]
    HashPieceShort {
        /// Bytes received.
        got: usize,
        /// Bytes that there must be at least.
        expected: usize,
    },
    /// Hashes that are no list of a node and its hash each.
    #[error("a block with hashes that are no list of nodes and their hashes")]
    HashList,
    /// None of the fields of which BEP 11 wants at least one.
    #[error("peer exchange without added, added6, dropped or dropped6")]
    PexEmpty,
}

/// The dictionary that a message of an extension is.
fn dictionary<'a, 'b>(
    decoder: &'a mut Decoder<'b>,
) -> Result<DictDecoder<'a, 'b>, bendy::decoding::Error> {
    decoder
        .next_object()?
        .ok_or_else(|| bendy::decoding::Error::unexpected_token("Dict", "nothing"))?
        .try_into_dictionary()
}

/// Nesting that is followed in a message of an extension; deeper is an error. None
/// of them nests more than two levels itself.
const DEPTH_MAX: usize = 16;

impl ExtensionError {
    fn bencode(what: &'static str) -> impl Fn(bendy::decoding::Error) -> ExtensionError {
        move |error| ExtensionError::Bencode { what, reason: error.to_string() }
    }
}
