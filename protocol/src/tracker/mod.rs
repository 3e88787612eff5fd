//! The tracker: what is announced, what it answers, and when. BEP 3, 7, 12,
//! 15, 23, 41, 48.
//!
//! [`Announcer`] decides when to announce what, [`Trackers`] to whom, [`AnnounceRequest`] and
//! [`AnnounceResponse`] are the codec; scrapes have [`scrape_query`] and [`ScrapeResponse`]. Both ends of the codec are here, since the
//! simulated tracker answers with it.

mod announcer;
mod request;
mod response;
mod scrape;
mod tiers;
mod udp;

pub use announcer::{Announce, Announcer};
pub use request::{AnnounceRequest, Event, RequestError};
pub use response::{AnnounceError, AnnounceResponse};
pub use scrape::{ScrapeResponse, SwarmCounts, read_scrape_query, scrape_query, scrape_url};
pub use tiers::Trackers;
pub use udp::{UdpAnswer, UdpExchange, UdpRequest, UdpResponse};
