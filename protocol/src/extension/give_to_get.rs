//! Give-to-get: peers that stream tell each other what they gave to others, and
//! unchoke those who pass on the most. `Tr_G2G_v2` of the NextShare engine.
//!
//! [`ForwardReport`] is the message, [`ForwardSender`] gathers what to report to a
//! peer and when, and [`ForwardScore`] keeps what a peer reported.
//!
//! Whoever reports vouches for itself, and nobody checks: a peer can claim to have
//! passed on what it never did. So a report only ranks its sender among those who
//! report, and the choker leaves as many slots to those who give to us.

use std::{collections::BTreeMap, fmt, time::Duration};

use bendy::{
    decoding::{Decoder, Object},
    encoding::{Encoder, Error as EncodeError},
};
use bytes::Bytes;

use super::{DEPTH_MAX, ExtensionError, dictionary};
use crate::{Forwarding, Layout, Meter, Time};

/// The least time between two reports to one peer. NextShare: 4 s.
pub const FORWARD_INTERVAL: Duration = Duration::from_secs(4);

/// The longest report that is read (bytes): more pieces than anybody passes on in
/// [`FORWARD_INTERVAL`].
pub const FORWARD_LENGTH_MAX: usize = 64 * 1024;

/// What all of a piece is, in the unit of a report.
const WHOLE: u64 = 100;

/// What the sender passed on to others since its last report: of each piece, how
/// many hundredths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForwardReport {
    /// Piece index, and hundredths of the piece, 1 to 100. What is passed on more
    /// than once counts once.
    pub shares: BTreeMap<u32, u8>,
}

impl ForwardReport {
    /// The payload to send: a dictionary from the index in decimal digits to a byte.
    pub fn encode(&self) -> Bytes {
        self.write().expect("keys are put in order").into()
    }

    /// Reads a payload. An entry that makes no sense is passed over.
    pub fn decode(payload: &[u8]) -> Result<ForwardReport, ExtensionError> {
        if payload.len() > FORWARD_LENGTH_MAX {
            return Err(ExtensionError::TooLong {
                what: WHAT,
                got: payload.len(),
                most: FORWARD_LENGTH_MAX,
            });
        }
        let mut decoder = Decoder::new(payload).with_max_depth(DEPTH_MAX);
        let bencode = ExtensionError::bencode(WHAT);
        let mut dict = dictionary(&mut decoder).map_err(&bencode)?;
        let mut report = ForwardReport::default();
        while let Some((piece, share)) = dict.next_pair().map_err(&bencode)? {
            let piece = str::from_utf8(piece).ok().and_then(|digits| digits.parse().ok());
            if let (Some(piece), Object::Bytes(&[share])) = (piece, share)
                && (1..=WHOLE).contains(&share.into())
            {
                report.shares.insert(piece, share);
            }
        }
        Ok(report)
    }

    fn write(&self) -> Result<Vec<u8>, EncodeError> {
        let mut encoder = Encoder::new();
        encoder.emit_and_sort_dict(|dict| {
            self.shares.iter().try_for_each(|(piece, share)| {
                dict.emit_pair_with(piece.to_string().as_bytes(), |value| {
                    value.emit_bytes(&[*share])
                })
            })
        })?;
        encoder.get_output()
    }
}

impl fmt::Display for ForwardReport {
    /// One line of a transcript: `gave 3 % of 7, 100 % of 8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (piece, share)) in self.shares.iter().enumerate() {
            let before = if at == 0 { "gave" } else { "," };
            write!(f, "{before} {share} % of {piece}")?;
        }
        Ok(())
    }
}

const WHAT: &str = "forward report";

/// What one peer is still to be told of what we passed on to others.
#[derive(Debug, Clone, Default)]
pub struct ForwardSender {
    /// Bytes of each piece that went out and were not reported.
    untold: BTreeMap<u32, u64>,
    reported: Option<Time>,
}

impl ForwardSender {
    /// Nothing to tell.
    pub fn new() -> ForwardSender {
        ForwardSender::default()
    }

    /// `bytes` of `piece` went to somebody else.
    pub fn forwarded(&mut self, piece: u32, bytes: u64) {
        *self.untold.entry(piece).or_default() += bytes;
    }

    /// When to ask for a report, if there is anything to tell by now.
    pub fn poll_timeout(&self) -> Option<Time> {
        let since = self.reported.map_or(Time::ZERO, |reported| reported + FORWARD_INTERVAL);
        (!self.untold.is_empty()).then_some(since)
    }

    /// The report that is due, if one is. What is less than a hundredth of its piece
    /// waits for more.
    pub fn report(&mut self, now: Time, layout: &Layout) -> Option<ForwardReport> {
        self.poll_timeout().filter(|due| *due <= now)?;
        self.reported = Some(now);
        let mut report = ForwardReport::default();
        self.untold.retain(|&piece, bytes| {
            let length = u64::from(layout.length_of(piece));
            let share = *bytes * WHOLE / length;
            if share > 0 {
                report.shares.insert(piece, share.min(WHOLE) as u8);
            }
            *bytes = if share >= WHOLE { 0 } else { *bytes - (share * length).div_ceil(WHOLE) };
            *bytes > 0
        });
        (!report.shares.is_empty()).then_some(report)
    }
}

/// What one peer says it passed on, of what we gave it and of all.
#[derive(Debug, Clone)]
pub struct ForwardScore {
    /// Bytes of each piece that we gave it.
    given: BTreeMap<u32, u64>,
    ours: Meter,
    overall: Meter,
}

impl ForwardScore {
    /// A peer that connects `now`.
    pub fn new(now: Time) -> ForwardScore {
        ForwardScore { given: BTreeMap::new(), ours: Meter::new(now), overall: Meter::new(now) }
    }

    /// We gave it `bytes` of `piece`.
    pub fn gave(&mut self, piece: u32, bytes: u64) {
        *self.given.entry(piece).or_default() += bytes;
    }

    /// It says what it passed on. Pieces that there are not count for nothing.
    pub fn reported(&mut self, report: &ForwardReport, layout: &Layout, now: Time) {
        let there = report.shares.iter().filter(|(piece, _)| **piece < layout.pieces());
        for (&piece, &share) in there {
            let length = u64::from(layout.length_of(piece));
            let forwarded = length * u64::from(share) / WHOLE;
            self.overall.add(forwarded, now);
            // Which bytes it passed on is not said: what was ours is so in proportion.
            let given = self.given.get(&piece).copied().unwrap_or(0).min(length);
            self.ours.add(forwarded * given / length, now);
        }
    }

    /// How fast it passes on, as it says.
    pub fn forwarding(&self, now: Time) -> Forwarding {
        Forwarding { ours: self.ours.rate(now), overall: self.overall.rate(now) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Four pieces of 64 KiB and one of 16 KiB.
    fn layout() -> Layout {
        Layout::new(64 * 1024, (4 * 64 + 16) * 1024)
    }

    fn report(shares: impl IntoIterator<Item = (u32, u8)>) -> ForwardReport {
        ForwardReport { shares: shares.into_iter().collect() }
    }

    #[test]
    fn a_report_is_a_dictionary_from_digits_to_bytes() {
        let encoded = report([(9, 100), (10, 1)]).encode();
        assert_eq!(encoded.as_ref(), b"d2:101:\x011:91:de", "keys in the order of their bytes");
    }

    #[test]
    fn an_entry_that_makes_no_sense_leaves_the_others() {
        let payload = b"d2:-11:\x051:11:\x051:21:\x001:31:\xff1:4i5e1:52:xx3:abc1:\x05e";
        assert_eq!(ForwardReport::decode(payload), Ok(report([(1, 5)])));
    }

    #[test]
    fn what_is_no_dictionary_or_too_long_is_an_error() {
        for payload in [&b""[..], b"le", b"d1:1", b"d1:11:\x05"] {
            assert!(ForwardReport::decode(payload).is_err());
        }
        let long = vec![b'd'; FORWARD_LENGTH_MAX + 1];
        let error = ForwardReport::decode(&long).unwrap_err();
        assert!(matches!(error, ExtensionError::TooLong { .. }), "{error}");
    }

    #[test]
    fn what_is_passed_on_is_reported_every_four_seconds() {
        let mut sender = ForwardSender::new();
        assert_eq!(sender.poll_timeout(), None);
        sender.forwarded(1, 16 * 1024);
        let start = Time::from_secs(100);
        assert!(sender.poll_timeout().unwrap() <= start, "the first one at once");
        assert_eq!(sender.report(start, &layout()), Some(report([(1, 25)])));
        assert_eq!(sender.poll_timeout(), None);
        sender.forwarded(1, 16 * 1024);
        sender.forwarded(4, 16 * 1024);
        assert_eq!(sender.poll_timeout(), Some(start + FORWARD_INTERVAL));
        assert_eq!(sender.report(start + Duration::from_secs(3), &layout()), None);
        let next = sender.report(start + FORWARD_INTERVAL, &layout());
        assert_eq!(next, Some(report([(1, 25), (4, 100)])), "what is new since the last one");
    }

    #[test]
    fn less_than_a_hundredth_waits_for_more() {
        let mut sender = ForwardSender::new();
        let mut told = 0;
        for tick in 0..64 {
            sender.forwarded(0, 1024);
            let now = Time::from_secs(100 + 4 * tick);
            told += sender.report(now, &layout()).map_or(0, |report| u32::from(report.shares[&0]));
        }
        assert!((98..=100).contains(&told), "{told} hundredths of a whole piece");
    }

    #[test]
    fn more_than_once_counts_once() {
        let mut sender = ForwardSender::new();
        sender.forwarded(2, 5 * 64 * 1024);
        assert_eq!(sender.report(Time::from_secs(1), &layout()), Some(report([(2, 100)])));
        assert_eq!(sender.poll_timeout(), None);
    }

    #[test]
    fn what_it_had_of_us_counts_in_proportion() {
        let now = Time::from_secs(1);
        let mut score = ForwardScore::new(Time::ZERO);
        score.gave(0, 32 * 1024);
        score.reported(&report([(0, 50), (1, 100)]), &layout(), now);
        let Forwarding { ours, overall } = score.forwarding(now);
        assert_eq!(overall, 96 * 1024);
        assert_eq!(ours, 16 * 1024, "half of what it passed on, of a piece that is half ours");
    }

    #[test]
    fn a_piece_that_there_is_not_counts_for_nothing() {
        let mut score = ForwardScore::new(Time::ZERO);
        score.reported(&report([(5, 100), (u32::MAX, 100)]), &layout(), Time::from_secs(1));
        assert_eq!(score.forwarding(Time::from_secs(1)), Forwarding { ours: 0, overall: 0 });
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            shares in prop::collection::btree_map(any::<u32>(), 1..=100u8, 0..60),
        ) {
            let report = ForwardReport { shares };
            prop_assert_eq!(ForwardReport::decode(&report.encode()), Ok(report));
        }

        #[test]
        fn any_bytes_are_a_report_or_an_error(noise: Vec<u8>) {
            let _ = ForwardReport::decode(&noise);
        }

        #[test]
        fn no_more_is_reported_than_was_passed_on(
            steps in prop::collection::vec((0..5u32, 1..20_000u64, 0..6u64), 0..60),
        ) {
            let (mut sender, mut now) = (ForwardSender::new(), Time::from_secs(10));
            let (mut sent, mut told) = ([0u64; 5], [0u64; 5]);
            for (piece, bytes, pause) in steps {
                sender.forwarded(piece, bytes);
                sent[piece as usize] += bytes;
                now += Duration::from_secs(pause);
                for (piece, share) in sender.report(now, &layout()).unwrap_or_default().shares {
                    told[piece as usize] += u64::from(share);
                }
            }
            for piece in 0..5 {
                let length = u64::from(layout().length_of(piece as u32));
                prop_assert!(told[piece] * length <= sent[piece] * 100);
            }
        }
    }
}
