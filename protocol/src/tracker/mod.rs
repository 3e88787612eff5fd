//! The tracker: what is announced, what it answers, and when. BEP 3, 7, 12, 15, 23, 41.
//!
//! [`Announcer`] decides when to announce what, [`Trackers`] to whom, [`AnnounceRequest`] and
//! [`AnnounceResponse`] are the codec. Both ends of the codec are here, since the
//! simulated tracker answers with it.

mod announcer;
mod request;
mod response;
mod tiers;
mod udp;

pub use announcer::{Announce, Announcer};
pub use request::{AnnounceRequest, Event, RequestError};
pub use response::{AnnounceError, AnnounceResponse};
pub use tiers::Trackers;
pub use udp::{UdpExchange, UdpRequest, UdpResponse};
