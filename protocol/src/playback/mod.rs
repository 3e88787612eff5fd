//! Playing a download while it comes in: video on demand.
//!
//! Two hold the state between them. The picker's [`Streaming`](crate::Streaming)
//! knows which pieces are wanted how soon: position, ranges, whether it still
//! prebuffers. The [`Transporter`] here moves that on: it decides when enough is
//! here to begin, hands pieces to the reader in order, stops when it runs dry and
//! goes on when it can last.

mod deadline;
mod timeline;
mod transporter;
mod video;

#[cfg(test)]
mod tests;

pub use deadline::Delays;
pub(crate) use deadline::expected;
pub use timeline::Picked;
pub use transporter::{Delivery, Figures, PlayState, Transporter};
pub use video::Video;
