use std::net::SocketAddr;

use super::Assembly;
use crate::{
    Direction, PeerId, Phase, Time,
    extension::{Extension, Registry},
    wire::{Decoder, message_cap},
};

/// A connection to somebody who may have the metadata.
pub struct Link {
    pub addr: SocketAddr,
    pub direction: Direction,
    pub phase: Phase,
    pub decoder: Decoder,
    pub registry: Registry,
    pub remote_id: Option<PeerId>,
    /// Where it listens, once that is known.
    pub listen_addr: Option<SocketAddr>,
    /// Bytes of the metadata, as the remote says.
    pub size: Option<u32>,
    /// What came of it, if it is asked.
    pub assembly: Option<Assembly>,
    /// Bytes handed out to be sent that have not left yet.
    pub unsent: usize,
    /// When it was connected, or asked, or gave something, whichever was last.
    pub heard: Time,
}

impl Link {
    /// One that has just been opened, or is to be.
    pub fn new(addr: SocketAddr, direction: Direction, now: Time) -> Link {
        let (phase, listen_addr) = match direction {
            Direction::Outbound => (Phase::Dialling { since: now }, Some(addr)),
            Direction::Inbound => (Phase::Handshaking { since: now }, None),
        };
        Link {
            addr,
            direction,
            phase,
            decoder: Decoder::new(message_cap(None)),
            registry: Registry::new(&[Extension::Metadata]),
            remote_id: None,
            listen_addr,
            size: None,
            assembly: None,
            unsent: 0,
            heard: now,
        }
    }
}
