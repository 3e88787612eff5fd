//! A report: a download's status as a document with named attributes.

use std::time::Duration;

use reseed_protocol::{
    Defect, Defects, Direction, InfoHash, PeerStatus, PieceTimes, PlaybackState, PlaybackStats,
    State, Status, Time, VideoInfo,
};
use serde_json::{Value, json};

/// What a monitor is told of a download at one moment.
///
/// It is a document, because what reporters do is send one, to others who know
/// nothing of our types: [`schema`](super::schema) says which attributes there are.
/// It is the same whatever the download does.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    info_hash: InfoHash,
    state: State,
    document: Value,
}

/// Why a reporter could not do its work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The report is not what it should be.
    #[error("the report has no attribute `{attribute}`")]
    Missing {
        /// The attribute that the reporter wanted.
        attribute: &'static str,
    },
    /// Whoever the report is for did not take it.
    #[error("{0}")]
    Receiver(String),
    /// It took too long.
    #[error("not done within {} s", .0.as_secs())]
    TimedOut(Duration),
}

impl Report {
    /// The `number`th report (from 0) of a download that stands like this. An
    /// attribute that a bug takes away is not there.
    pub fn new(number: u64, status: &Status, defects: Defects) -> Report {
        let Status { at, info_hash, peer_id, state, error, video, pieces, verified, .. } = status;
        let mut document = json!({
            "number": number,
            "at_ms": millis(*at),
            "info_hash": info_hash.to_string(),
            "peer_id": peer_id.to_string(),
            "state": state.to_string(),
            "error": error,
            "video": video_info(video),
            "pieces": pieces,
            "verified": verified,
            "progress": status.progress() * 100.0,
            "downloaded": status.downloaded,
            "uploaded": status.uploaded,
            "download_rate": status.download_rate,
            "upload_rate": status.upload_rate,
            "peers": status.peers.iter().map(peer).collect::<Vec<Value>>(),
            "playback": playback(&status.playback),
        });
        let attributes = document.as_object_mut().expect("it was made as one");
        if defects.has(Defect::StatusLacksAttributes) {
            attributes.retain(|name, _| name != "peer_id" && name != "video");
        }
        let plays = status.playback.state != PlaybackState::Idle;
        if defects.has(Defect::VodStatsPlaceholder) && verified == pieces && !plays {
            attributes["playback"] = json!({ "harry": 1 });
        }
        Report { info_hash: *info_hash, state: *state, document }
    }

    /// The download.
    pub fn info_hash(&self) -> InfoHash {
        self.info_hash
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// The whole document.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The attribute at `path`, its parts joined by `/`, as in `playback/played`.
    pub fn attribute(&self, path: &'static str) -> Result<&Value, ReportError> {
        let mut parts = path.split('/');
        let found = parts.try_fold(&self.document, |value, part| value.get(part));
        found.ok_or(ReportError::Missing { attribute: path })
    }

    /// The words at `path`.
    pub fn text(&self, path: &'static str) -> Result<&str, ReportError> {
        let missing = ReportError::Missing { attribute: path };
        self.attribute(path)?.as_str().ok_or(missing)
    }

    /// The whole number at `path`.
    pub fn number(&self, path: &'static str) -> Result<u64, ReportError> {
        let missing = ReportError::Missing { attribute: path };
        self.attribute(path)?.as_u64().ok_or(missing)
    }
}

fn video_info(video: &VideoInfo) -> Value {
    let range = &video.valid_range;
    json!({ "valid_range": [range.start, range.end], "live": video.live })
}

fn peer(peer: &PeerStatus) -> Value {
    let direction = match peer.direction {
        Direction::Inbound => "inbound",
        Direction::Outbound => "outbound",
    };
    json!({
        "addr": peer.addr.to_string(),
        "peer_id": peer.peer_id.to_string(),
        "direction": direction,
        "choking": peer.choking,
        "interested": peer.interested,
        "peer_choking": peer.peer_choking,
        "peer_interested": peer.peer_interested,
        "has": peer.has,
        "downloaded": peer.downloaded,
        "uploaded": peer.uploaded,
        "download_rate": peer.download_rate,
        "upload_rate": peer.upload_rate,
    })
}

fn playback(stats: &PlaybackStats) -> Value {
    json!({
        "state": stats.state.to_string(),
        "played": stats.played,
        "late": stats.late,
        "dropped": stats.dropped,
        "stalled_ms": stats.stalled.as_millis() as u64,
        "position": stats.position,
        "prebuffered_ms": stats.prebuffered.map(|span| span.as_millis() as u64),
        "picked": { "high": stats.high, "mid": stats.mid, "low": stats.low },
        "timeline": stats.timeline.iter().map(times).collect::<Vec<Value>>(),
        "first_piece": stats.first_piece,
        "pieces": stats.pieces,
    })
}

fn times(times: &PieceTimes) -> Value {
    json!({
        "piece": times.piece,
        "known_ms": times.known.map(millis),
        "complete_ms": times.complete.map(millis),
        "buffered_ms": times.buffered.map(millis),
        "played_ms": times.played.map(millis),
    })
}

fn millis(time: Time) -> u64 {
    time.since_epoch().as_millis() as u64
}
