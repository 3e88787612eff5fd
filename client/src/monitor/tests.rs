//! A report has one form, whatever its download does.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use proptest::{collection::vec, option, prelude::*, sample::select};
use reseed_protocol::{
    Defect, Defects, Direction, InfoHash, PeerId, PeerStatus, PieceTimes, PlaybackState,
    PlaybackStats, State, Status, Time, VideoInfo,
};
use serde_json::Value;

use super::{Report, schema};

fn waiting() -> Status {
    Status::waiting(InfoHash([1; 20]), PeerId(*b"-RE0001-abcdefghijkl"), 8, Time::from_secs(1))
}

fn report(status: &Status) -> Report {
    Report::new(3, status, Defects::NONE)
}

fn time() -> impl Strategy<Value = Time> {
    (0u64..1 << 40).prop_map(|ms| Time::from_epoch(Duration::from_millis(ms)))
}

fn peer() -> impl Strategy<Value = PeerStatus> {
    let flags = any::<[bool; 5]>();
    (flags, any::<(u32, [u64; 4])>(), any::<([u8; 4], u16)>()).prop_map(
        |([inbound, choking, interested, peer_choking, peer_interested], (has, bytes), addr)| {
            let [downloaded, uploaded, download_rate, upload_rate] = bytes;
            PeerStatus {
                addr: SocketAddr::from(addr),
                peer_id: PeerId([7; 20]),
                direction: if inbound { Direction::Inbound } else { Direction::Outbound },
                choking,
                interested,
                peer_choking,
                peer_interested,
                has,
                downloaded,
                uploaded,
                download_rate,
                upload_rate,
            }
        },
    )
}

fn piece_times() -> impl Strategy<Value = PieceTimes> {
    let times = (any::<u32>(), option::of(time()), option::of(time()), option::of(time()));
    (times, option::of(time())).prop_map(|((piece, known, complete, buffered), played)| {
        PieceTimes { piece, known, complete, buffered, played }
    })
}

fn playback() -> impl Strategy<Value = PlaybackStats> {
    let state = select(&PlaybackState::ALL[..]);
    let spans = (0u64..1 << 40, option::of(0u64..1 << 40));
    let timeline = vec(piece_times(), 0..PlaybackStats::TIMELINE_MAX);
    (state, spans, any::<[u32; 9]>(), timeline).prop_map(|(state, spans, counts, timeline)| {
        let [played, late, dropped, position, high, mid, low, first_piece, pieces] = counts;
        let (stalled, prebuffered) = spans;
        PlaybackStats {
            state,
            played,
            late,
            dropped,
            stalled: Duration::from_millis(stalled),
            position,
            prebuffered: prebuffered.map(Duration::from_millis),
            high,
            mid,
            low,
            timeline,
            first_piece,
            pieces,
        }
    })
}

fn status() -> impl Strategy<Value = Status> {
    let parts = (select(&State::ALL[..]), option::of(".*"), vec(peer(), 0..4), playback());
    let video = (any::<(u32, u32)>(), any::<bool>());
    (parts, video, any::<[u32; 2]>(), any::<[u64; 5]>(), time()).prop_map(
        |((state, error, peers, playback), ((from, more), live), [pieces, verified], bytes, at)| {
            let [length, downloaded, uploaded, download_rate, upload_rate] = bytes;
            let (from, more) = (u64::from(from), u64::from(more));
            Status {
                at,
                state,
                error,
                video: VideoInfo { valid_range: from..from + more, live },
                pieces,
                length,
                verified,
                downloaded,
                uploaded,
                download_rate,
                upload_rate,
                peers,
                playback,
                ..waiting()
            }
        },
    )
}

/// The names of a document's attributes, in lists those of the elements.
fn names(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(attributes) => attributes.iter().for_each(|(name, value)| {
            into.insert(format!("{path}/{name}"));
            names(value, &format!("{path}/{name}"), into);
        }),
        Value::Array(items) => items.iter().for_each(|item| names(item, path, into)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn a_report_conforms_in_every_state(status in status()) {
        prop_assert_eq!(schema::conforms(report(&status).document()), Ok(()));
    }

    #[test]
    fn it_has_the_attributes_that_it_had_before_anything_happened(status in status()) {
        let empty = Status { peers: Vec::new(), ..status };
        let mut playback = empty.playback.clone();
        playback.timeline.clear();
        let empty = Status { playback, ..empty };
        let (mut then, mut now) = (BTreeSet::new(), BTreeSet::new());
        names(report(&waiting()).document(), "", &mut then);
        names(report(&empty).document(), "", &mut now);
        prop_assert_eq!(then, now);
    }
}

#[cfg(feature = "defects")]
#[test]
fn what_the_old_engine_did_to_reports_does_not_conform() {
    let done = Status { state: State::Seeding, verified: 8, ..waiting() };
    for defect in [Defect::StatusLacksAttributes, Defect::VodStatsPlaceholder] {
        let report = Report::new(0, &done, Defects::NONE.with(defect));
        assert!(schema::conforms(report.document()).is_err(), "{defect}");
    }
}

#[cfg(not(feature = "defects"))]
const _: [Defect; 0] = [];

#[test]
fn a_report_is_as_reviewed() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let _bound = settings.bind_to_scope();
    insta::assert_json_snapshot!("report-waiting", report(&waiting()).document());
    let at = Time::from_secs;
    let peer = PeerStatus {
        addr: ([10, 0, 0, 2], 6881).into(),
        peer_id: PeerId(*b"-RE0001-mnopqrstuvwx"),
        direction: Direction::Outbound,
        choking: true,
        interested: true,
        peer_choking: false,
        peer_interested: false,
        has: 8,
        downloaded: 81_920,
        uploaded: 0,
        download_rate: 16_384,
        upload_rate: 0,
    };
    let taken = PieceTimes {
        piece: 0,
        known: Some(at(1)),
        complete: Some(at(2)),
        buffered: Some(at(3)),
        played: Some(at(4)),
    };
    let playing = Status {
        at: at(9),
        state: State::Downloading,
        verified: 5,
        length: 131_072,
        downloaded: 81_920,
        download_rate: 16_384,
        video: VideoInfo { valid_range: 2..8, live: false },
        peers: vec![peer],
        playback: PlaybackStats {
            state: PlaybackState::Playing,
            played: 2,
            late: 1,
            stalled: Duration::from_millis(300),
            position: 2,
            prebuffered: Some(Duration::from_secs(2)),
            high: 4,
            mid: 1,
            low: 1,
            timeline: vec![taken, PieceTimes { piece: 1, played: None, ..taken }],
            ..PlaybackStats::idle(8)
        },
        ..waiting()
    };
    insta::assert_json_snapshot!("report-playing", report(&playing).document());
}
