//! What a tracker's answers become when it does something wrong.

use std::{net::SocketAddr, time::Duration};

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use reseed_protocol::tracker::UdpResponse;

use crate::{hostile::dead, plan::TrackerFault};

/// Bytes of a datagram at most: it fits into one packet.
const DATAGRAM_MAX: usize = 1_472;

/// Where a datagram has its action, and which one is an error. BEP 15.
const ACTION: std::ops::Range<usize> = 0..4;
const ERROR: u32 = 3;

/// How much later than at once it answers.
pub(super) fn delay(faults: &[TrackerFault]) -> Option<Duration> {
    let slow = faults.iter().filter_map(|fault| match fault {
        TrackerFault::Slow { ms } => Some(Duration::from_millis(*ms)),
        _ => None,
    });
    Some(slow.sum()).filter(|delay: &Duration| !delay.is_zero())
}

/// The peers that it tells of to who listens at `asks`.
pub(super) fn peers(
    peers: &mut Vec<SocketAddr>,
    asks: SocketAddr,
    faults: &[TrackerFault],
    rng: &mut ChaCha8Rng,
) {
    for fault in faults {
        match fault {
            TrackerFault::OwnAddress => peers.push(asks),
            TrackerFault::DeadAddresses { count } => {
                peers.extend((0..*count).map(|_| dead(rng)));
                peers.shuffle(rng);
            }
            _ => {}
        }
    }
}

/// The body of an answer over HTTP.
pub(super) fn body(mut body: Vec<u8>, faults: &[TrackerFault]) -> Vec<u8> {
    for fault in faults {
        match fault {
            TrackerFault::NotBencode => body = b"<html>It works!</html>".to_vec(),
            TrackerFault::WrongTypes => {
                body = b"d8:completele8:interval4:soon5:peersi7ee".to_vec();
            }
            TrackerFault::Truncated => body.truncate(body.len() / 2),
            _ => {}
        }
    }
    body
}

/// The answer over UDP, which has neither bencode nor types.
pub(super) fn datagram(answer: &UdpResponse, faults: &[TrackerFault]) -> Vec<u8> {
    let mut bytes = answer.encode().to_vec();
    bytes.truncate(DATAGRAM_MAX);
    for fault in faults {
        match fault {
            TrackerFault::NotBencode => bytes.iter_mut().for_each(|byte| *byte = !*byte),
            TrackerFault::ServerError => bytes[ACTION].copy_from_slice(&ERROR.to_be_bytes()),
            TrackerFault::WrongTypes => bytes[ACTION].copy_from_slice(&[0xff; 4]),
            TrackerFault::Truncated => bytes.truncate(bytes.len() / 2),
            _ => {}
        }
    }
    bytes
}
