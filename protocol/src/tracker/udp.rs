//! The UDP tracker. BEP 15, BEP 41.
//!
//! A [`UdpExchange`] is one announce or scrape as the peer lives it: it connects, asks, and
//! asks again if no answer comes. [`UdpRequest`] and [`UdpResponse`] are the codec, for
//! both ends.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rand::Rng;

use super::{AnnounceRequest, AnnounceResponse, Event, SwarmCounts};
use crate::{InfoHash, PeerId, Time};

/// What opens a connect request, so that it is not taken for something else.
const PROTOCOL_ID: u64 = 0x0417_2710_1980;

const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

/// Bytes of an announce without options.
const ANNOUNCE_LENGTH: usize = 98;

/// Swarms that a scrape asks for at most (count). BEP 15.
const SWARMS_MAX: usize = 74;

/// Options that end the list of them, that fill it, and that give the URL. BEP 41.
const END_OF_OPTIONS: u8 = 0;
const NOP: u8 = 1;
const URL_DATA: u8 = 2;

/// Bytes kept of a tracker's error message.
const MESSAGE_LENGTH_MAX: usize = 256;

/// What a peer sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UdpRequest {
    /// Asks for a connection id, which proves that the sender's address is its own.
    Connect {
        /// To be repeated in the answer.
        transaction: u32,
    },
    /// An announce.
    Announce {
        /// The id that the tracker gave.
        connection: u64,
        /// To be repeated in the answer.
        transaction: u32,
        /// What is announced; there is no way to send its `compact` or `tracker_id`.
        announce: AnnounceRequest,
        /// Path and query of the tracker's URL. BEP 41.
        url_data: String,
    },
    /// A scrape.
    Scrape {
        /// The id that the tracker gave.
        connection: u64,
        /// To be repeated in the answer.
        transaction: u32,
        /// The swarms: 74 at most, of more the first ones.
        swarms: Vec<InfoHash>,
    },
}

/// What a tracker answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UdpResponse {
    /// A connection id, good for two minutes.
    Connect {
        /// That of the request.
        transaction: u32,
        /// The id.
        connection: u64,
    },
    /// The answer to an announce; it has no more than interval, counts and peers.
    Announce {
        /// That of the request.
        transaction: u32,
        /// The answer.
        response: AnnounceResponse,
    },
    /// The answer to a scrape.
    Scrape {
        /// That of the request.
        transaction: u32,
        /// How each swarm stands, in the order of the request.
        swarms: Vec<SwarmCounts>,
    },
    /// It refuses.
    Error {
        /// That of the request.
        transaction: u32,
        /// Why, for people; shortened.
        message: String,
    },
}

impl UdpRequest {
    /// The datagram.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(ANNOUNCE_LENGTH);
        match self {
            UdpRequest::Connect { transaction } => {
                bytes.put_u64(PROTOCOL_ID);
                bytes.put_u32(CONNECT);
                bytes.put_u32(*transaction);
            }
            UdpRequest::Announce { connection, transaction, announce, url_data } => {
                bytes.put_u64(*connection);
                bytes.put_u32(ANNOUNCE);
                bytes.put_u32(*transaction);
                bytes.put_slice(&announce.info_hash.0);
                bytes.put_slice(&announce.peer_id.0);
                bytes.put_u64(announce.downloaded);
                bytes.put_u64(announce.left);
                bytes.put_u64(announce.uploaded);
                bytes.put_u32(match announce.event {
                    None => 0,
                    Some(Event::Completed) => 1,
                    Some(Event::Started) => 2,
                    Some(Event::Stopped) => 3,
                });
                // Our address is the one that this comes from.
                bytes.put_u32(0);
                bytes.put_u32(announce.key);
                let wanted = announce.numwant.and_then(|wanted| i32::try_from(wanted).ok());
                bytes.put_i32(wanted.unwrap_or(-1));
                bytes.put_u16(announce.port);
                for part in url_data.as_bytes().chunks(usize::from(u8::MAX)) {
                    bytes.put_u8(URL_DATA);
                    bytes.put_u8(part.len() as u8);
                    bytes.put_slice(part);
                }
            }
            UdpRequest::Scrape { connection, transaction, swarms } => {
                bytes.put_u64(*connection);
                bytes.put_u32(SCRAPE);
                bytes.put_u32(*transaction);
                swarms.iter().take(SWARMS_MAX).for_each(|swarm| bytes.put_slice(&swarm.0));
            }
        }
        bytes.freeze()
    }

    /// Reads a datagram; `None` is one that a tracker passes over.
    pub fn decode(mut bytes: &[u8]) -> Option<UdpRequest> {
        let (connection, action) = (bytes.try_get_u64().ok()?, bytes.try_get_u32().ok()?);
        let transaction = bytes.try_get_u32().ok()?;
        match action {
            CONNECT if connection == PROTOCOL_ID => Some(UdpRequest::Connect { transaction }),
            ANNOUNCE if bytes.len() >= ANNOUNCE_LENGTH - 16 => {
                let (mut info_hash, mut peer_id) = ([0; 20], [0; 20]);
                bytes.copy_to_slice(&mut info_hash);
                bytes.copy_to_slice(&mut peer_id);
                let (downloaded, left, uploaded) =
                    (bytes.get_u64(), bytes.get_u64(), bytes.get_u64());
                let event = match bytes.get_u32() {
                    0 => None,
                    1 => Some(Event::Completed),
                    2 => Some(Event::Started),
                    3 => Some(Event::Stopped),
                    _ => return None,
                };
                bytes.advance(4);
                let (key, wanted, port) = (bytes.get_u32(), bytes.get_i32(), bytes.get_u16());
                let announce = AnnounceRequest {
                    info_hash: InfoHash(info_hash),
                    peer_id: PeerId(peer_id),
                    port,
                    uploaded,
                    downloaded,
                    left,
                    event,
                    numwant: wanted.try_into().ok(),
                    compact: true,
                    key,
                    tracker_id: None,
                };
                let url_data = read_url_data(bytes)?;
                Some(UdpRequest::Announce { connection, transaction, announce, url_data })
            }
            SCRAPE => {
                let (swarms, _) = bytes.as_chunks::<20>();
                let swarms = swarms.iter().take(SWARMS_MAX).copied().map(InfoHash).collect();
                Some(UdpRequest::Scrape { connection, transaction, swarms })
            }
            _ => None,
        }
    }
}

fn read_url_data(mut options: &[u8]) -> Option<String> {
    let mut data = Vec::new();
    while let Ok(option) = options.try_get_u8() {
        match option {
            END_OF_OPTIONS => break,
            NOP => {}
            _ => {
                let length = usize::from(options.try_get_u8().ok()?);
                let (value, rest) = options.split_at_checked(length)?;
                if option == URL_DATA {
                    data.extend_from_slice(value);
                }
                options = rest;
            }
        }
    }
    String::from_utf8(data).ok()
}

impl UdpResponse {
    /// The datagram.
    pub fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        match self {
            UdpResponse::Connect { transaction, connection } => {
                bytes.put_u32(CONNECT);
                bytes.put_u32(*transaction);
                bytes.put_u64(*connection);
            }
            UdpResponse::Announce { transaction, response } => {
                bytes.put_u32(ANNOUNCE);
                bytes.put_u32(*transaction);
                bytes.put_u32(response.interval.as_secs().try_into().unwrap_or(u32::MAX));
                bytes.put_u32(response.incomplete.unwrap_or_default());
                bytes.put_u32(response.complete.unwrap_or_default());
                for peer in &response.peers {
                    match peer.ip() {
                        std::net::IpAddr::V4(ip) => bytes.put_slice(&ip.octets()),
                        std::net::IpAddr::V6(ip) => bytes.put_slice(&ip.octets()),
                    }
                    bytes.put_u16(peer.port());
                }
            }
            UdpResponse::Scrape { transaction, swarms } => {
                bytes.put_u32(SCRAPE);
                bytes.put_u32(*transaction);
                for counts in swarms {
                    bytes.put_u32(counts.complete);
                    bytes.put_u32(counts.downloaded);
                    bytes.put_u32(counts.incomplete);
                }
            }
            UdpResponse::Error { transaction, message } => {
                bytes.put_u32(ERROR);
                bytes.put_u32(*transaction);
                bytes.put_slice(message.as_bytes());
            }
        }
        bytes.freeze()
    }

    /// Reads a datagram. Peers have addresses of the version that the tracker's has, of
    /// which `ipv6` tells. `None` is one that makes no sense, and is passed over.
    pub fn decode(mut bytes: &[u8], ipv6: bool) -> Option<UdpResponse> {
        let (action, transaction) = (bytes.try_get_u32().ok()?, bytes.try_get_u32().ok()?);
        match action {
            CONNECT => {
                let connection = bytes.try_get_u64().ok()?;
                Some(UdpResponse::Connect { transaction, connection })
            }
            ANNOUNCE => {
                let interval = bytes.try_get_u32().ok()?;
                let (incomplete, complete) = (bytes.try_get_u32().ok()?, bytes.try_get_u32().ok()?);
                let response =
                    AnnounceResponse::from_udp(interval, [complete, incomplete], bytes, ipv6);
                Some(UdpResponse::Announce { transaction, response })
            }
            SCRAPE => {
                let number = |bytes: [u8; 4]| u32::from_be_bytes(bytes);
                let swarms = bytes.as_chunks::<4>().0.as_chunks::<3>().0;
                let swarms = swarms.iter().take(SWARMS_MAX).map(|&[a, b, c]| SwarmCounts {
                    complete: number(a),
                    downloaded: number(b),
                    incomplete: number(c),
                });
                Some(UdpResponse::Scrape { transaction, swarms: swarms.collect() })
            }
            ERROR => {
                let message = &bytes[..bytes.len().min(MESSAGE_LENGTH_MAX)];
                let message = String::from_utf8_lossy(message).into_owned();
                Some(UdpResponse::Error { transaction, message })
            }
            _ => None,
        }
    }

    fn transaction(&self) -> u32 {
        match self {
            UdpResponse::Connect { transaction, .. }
            | UdpResponse::Announce { transaction, .. }
            | UdpResponse::Scrape { transaction, .. }
            | UdpResponse::Error { transaction, .. } => *transaction,
        }
    }
}

/// What a tracker was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UdpAnswer {
    /// To an announce.
    Announced(AnnounceResponse),
    /// To a scrape: how each swarm stands, in the order of the request.
    Scraped(Vec<SwarmCounts>),
}

#[derive(Debug)]
enum Question {
    Announce { announce: Box<AnnounceRequest>, url_data: String },
    Scrape { swarms: Vec<InfoHash> },
}

/// One announce or scrape to a UDP tracker, without a socket or a clock.
///
/// Send what [`poll`](UdpExchange::poll) gives, hand what comes to
/// [`receive`](UdpExchange::receive), and call `poll` again when
/// [`poll_timeout`](UdpExchange::poll_timeout) says.
#[derive(Debug)]
pub struct UdpExchange {
    question: Question,
    ipv6: bool,
    /// The connection id, once there is one, and when it came.
    connection: Option<(u64, Time)>,
    /// The request under way, and since when.
    asked: Option<(u32, Time)>,
    /// Times that nothing came (count).
    silences: u32,
}

impl UdpExchange {
    /// How long the first answer is waited for; doubled with each that does not come.
    /// BEP 15.
    pub const PATIENCE: Duration = Duration::from_secs(15);

    /// How long a connection id may be used. BEP 15.
    pub const CONNECTION_LIFE: Duration = Duration::from_secs(60);

    /// Patience is doubled no more after so many silences (count). BEP 15.
    pub const SILENCES_MAX: u32 = 8;

    /// An announce that has not begun. `url_data` is the path and the query of the
    /// tracker's URL (BEP 41), `ipv6` whether its address is of that version.
    pub fn new(announce: AnnounceRequest, url_data: String, ipv6: bool) -> UdpExchange {
        UdpExchange::asking(Question::Announce { announce: Box::new(announce), url_data }, ipv6)
    }

    /// A scrape that has not begun, of these swarms (74 at most). BEP 15, BEP 48.
    pub fn scrape(swarms: Vec<InfoHash>) -> UdpExchange {
        UdpExchange::asking(Question::Scrape { swarms }, false)
    }

    fn asking(question: Question, ipv6: bool) -> UdpExchange {
        UdpExchange { question, ipv6, connection: None, asked: None, silences: 0 }
    }

    /// The datagram to send now, if there is one.
    pub fn poll(&mut self, now: Time, rng: &mut impl Rng) -> Option<Bytes> {
        let mut asked = self.asked.map(|(transaction, _)| transaction);
        if asked.is_some() {
            if self.poll_timeout().is_some_and(|due| now < due) {
                return None;
            }
            self.silences = (self.silences + 1).min(Self::SILENCES_MAX);
        }
        let old = |(_, since): (u64, Time)| since + Self::CONNECTION_LIFE <= now;
        if self.connection.is_some_and(old) {
            (self.connection, asked) = (None, None);
        }
        // Asked again it is the same request: an answer to the first one is as good.
        let transaction = asked.unwrap_or_else(|| rng.next_u32());
        self.asked = Some((transaction, now));
        let request = match (self.connection, &self.question) {
            (None, _) => UdpRequest::Connect { transaction },
            (Some((connection, _)), Question::Announce { announce, url_data }) => {
                let (announce, url_data) = (AnnounceRequest::clone(announce), url_data.clone());
                UdpRequest::Announce { connection, transaction, announce, url_data }
            }
            (Some((connection, _)), Question::Scrape { swarms }) => {
                UdpRequest::Scrape { connection, transaction, swarms: swarms.clone() }
            }
        };
        Some(request.encode())
    }

    /// When to call [`UdpExchange::poll`] if nothing comes; `None` is now.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.asked.map(|(_, since)| since + Self::PATIENCE * 2u32.pow(self.silences))
    }

    /// A datagram came from the tracker's address. Returns the tracker's answer, or why
    /// it refuses; before that, and for what is no answer to what was asked, nothing.
    pub fn receive(&mut self, datagram: &[u8], now: Time) -> Option<Result<UdpAnswer, String>> {
        let (asked, _) = self.asked?;
        let response = UdpResponse::decode(datagram, self.ipv6)
            .filter(|response| response.transaction() == asked)?;
        match response {
            UdpResponse::Connect { connection, .. } if self.connection.is_none() => {
                self.connection = Some((connection, now));
                self.asked = None;
                None
            }
            UdpResponse::Announce { response, .. } if self.connection.is_some() => {
                let asked = matches!(self.question, Question::Announce { .. });
                asked.then_some(Ok(UdpAnswer::Announced(response)))
            }
            UdpResponse::Scrape { swarms, .. } if self.connection.is_some() => {
                let asked = matches!(self.question, Question::Scrape { .. });
                asked.then_some(Ok(UdpAnswer::Scraped(swarms)))
            }
            UdpResponse::Error { message, .. } => {
                Some(Err(format!("the tracker refuses: {message}")))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
