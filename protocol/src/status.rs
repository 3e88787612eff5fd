//! What a download tells whoever watches it: one schema in every state of its life.
//!
//! A [`Status`] is a snapshot. It owns all that is in it, so whoever holds it can
//! neither see the download go on nor get in its way. A field is always there: a
//! download that plays nothing has playback figures too, and they say so
//! ([`PlaybackStats::idle`]).

use std::{fmt, net::SocketAddr, ops::Range, time::Duration};

use crate::{
    Connection, Direction, InfoHash, PeerId, Time, Torrent,
    live::{Broadcast, ViewState, Viewer},
    playback::PlayState,
};

/// Where a download stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum State {
    /// It waits for its turn to be checked.
    Waiting,
    /// It asks peers for its metadata, of which it has only the hash.
    FetchingMetadata,
    /// It looks for what is on the disk.
    Checking,
    /// Pieces are missing.
    Downloading,
    /// All wanted pieces are here.
    Seeding,
    /// It has ended, as its user wished.
    Stopped,
    /// An error ended it.
    Failed,
}

impl State {
    /// All of them, in the order of a life.
    pub const ALL: [State; 7] = [
        State::Waiting,
        State::FetchingMetadata,
        State::Checking,
        State::Downloading,
        State::Seeding,
        State::Stopped,
        State::Failed,
    ];

    /// Whether nothing follows it.
    pub fn is_over(self) -> bool {
        matches!(self, State::Stopped | State::Failed)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Waiting => "waiting",
            State::FetchingMetadata => "fetching metadata",
            State::Checking => "checking",
            State::Downloading => "downloading",
            State::Seeding => "seeding",
            State::Stopped => "stopped",
            State::Failed => "failed",
        })
    }
}

/// A download at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// When it was looked at.
    pub at: Time,
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Our identity in this run of the download. BEP 20.
    pub peer_id: PeerId,
    /// Where it stands.
    pub state: State,
    /// What ended it; [`State::Failed`] and only that has an error.
    pub error: Option<String>,
    /// What the disk said, if it fails us while the download goes on as well as it can.
    pub trouble: Option<String>,
    /// What a player may ask for.
    pub video: VideoInfo,
    /// Pieces of the torrent (count); 0 until its metadata is here.
    pub pieces: u32,
    /// Bytes of content; 0 until it is known which pieces are here.
    pub length: u64,
    /// Pieces that are here and verified (count).
    pub verified: u32,
    /// Content bytes that came in, in this session and before.
    pub downloaded: u64,
    /// Content bytes that went out, in this session and before.
    pub uploaded: u64,
    /// Bytes a second that blocks come in with.
    pub download_rate: u64,
    /// Bytes a second that blocks go out with.
    pub upload_rate: u64,
    /// Peers that handshakes were exchanged with, oldest connection first.
    pub peers: Vec<PeerStatus>,
    /// How playing goes.
    pub playback: PlaybackStats,
}

/// What a player may ask for, as it was when the snapshot was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoInfo {
    /// The pieces that are wanted: from the playback position to the end of the
    /// video. Where nothing plays, all pieces of the torrent. Of a live stream, by
    /// their sequence numbers: at its source those that are kept, at a viewer those
    /// that may be here; none until it has the first one.
    pub valid_range: Range<u64>,
    /// Whether it is made while it is watched.
    pub live: bool,
}

/// A peer at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// Its address; the port is the listening one only if we dialled.
    pub addr: SocketAddr,
    /// Who it says it is.
    pub peer_id: PeerId,
    /// Who opened the connection.
    pub direction: Direction,
    /// Whether we choke it.
    pub choking: bool,
    /// Whether we want pieces of it.
    pub interested: bool,
    /// Whether it chokes us.
    pub peer_choking: bool,
    /// Whether it wants pieces of us.
    pub peer_interested: bool,
    /// Pieces that it has (count).
    pub has: u32,
    /// Content bytes that came from it.
    pub downloaded: u64,
    /// Content bytes that went to it.
    pub uploaded: u64,
    /// Bytes a second that blocks come from it with.
    pub download_rate: u64,
    /// Bytes a second that blocks go to it with.
    pub upload_rate: u64,
}

/// What a player does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PlaybackState {
    /// There is none.
    Idle,
    /// It waits until there is enough to begin with.
    Prebuffering,
    /// It plays.
    Playing,
    /// It waits, for its user or for a piece.
    Paused,
    /// It has had the last piece.
    Ended,
}

impl PlaybackState {
    /// All of them.
    pub const ALL: [PlaybackState; 5] = [
        PlaybackState::Idle,
        PlaybackState::Prebuffering,
        PlaybackState::Playing,
        PlaybackState::Paused,
        PlaybackState::Ended,
    ];
}

impl fmt::Display for PlaybackState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            PlaybackState::Idle => "idle",
            PlaybackState::Prebuffering => "prebuffering",
            PlaybackState::Playing => "playing",
            PlaybackState::Paused => "paused",
            PlaybackState::Ended => "ended",
        })
    }
}

/// Figures on how a video plays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaybackStats {
    /// What the player does.
    pub state: PlaybackState,
    /// Pieces handed to the player (count).
    pub played: u32,
    /// Pieces that came after the player needed them (count).
    pub late: u32,
    /// Pieces passed over because they did not come in time (count); live only.
    pub dropped: u32,
    /// How long the player has stood still for want of a piece.
    pub stalled: Duration,
    /// The next piece for the player, as an index in the torrent.
    pub position: u32,
    /// How long prebuffering took; `None` while it is not done.
    pub prebuffered: Option<Duration>,
    /// Pieces picked from the range that is needed soon (count).
    pub high: u32,
    /// Pieces picked from the range after that (count).
    pub mid: u32,
    /// Pieces picked from the rest (count).
    pub low: u32,
    /// When the latest pieces came and went, oldest first; at most
    /// [`PlaybackStats::TIMELINE_MAX`]. Reading it takes nothing away, so two who
    /// watch do not steal from each other.
    pub timeline: Vec<PieceTimes>,
    /// The video's first piece.
    pub first_piece: u32,
    /// Pieces of the video (count).
    pub pieces: u32,
}

/// One piece's way to the player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PieceTimes {
    /// Which piece.
    pub piece: u32,
    /// When it was first asked for.
    pub known: Option<Time>,
    /// When it was here and verified.
    pub complete: Option<Time>,
    /// When it went to the player's buffer.
    pub buffered: Option<Time>,
    /// When the player took it.
    pub played: Option<Time>,
}

impl PlaybackStats {
    /// Pieces in a [`PlaybackStats::timeline`] (count): a report stays a few
    /// kilobytes, however long the video.
    pub const TIMELINE_MAX: usize = 32;

    /// The figures of a torrent of `pieces` pieces of which nothing plays, whether
    /// it is no video, or nobody watches, or it was complete before anybody could.
    pub fn idle(pieces: u32) -> PlaybackStats {
        PlaybackStats {
            state: PlaybackState::Idle,
            played: 0,
            late: 0,
            dropped: 0,
            stalled: Duration::ZERO,
            position: 0,
            prebuffered: None,
            high: 0,
            mid: 0,
            low: 0,
            timeline: Vec::new(),
            first_piece: 0,
            pieces,
        }
    }
}

impl Status {
    /// A download that has not done anything yet.
    pub fn waiting(info_hash: InfoHash, peer_id: PeerId, pieces: u32, at: Time) -> Status {
        Status {
            at,
            info_hash,
            peer_id,
            state: State::Waiting,
            error: None,
            trouble: None,
            video: VideoInfo { valid_range: 0..pieces.into(), live: false },
            pieces,
            length: 0,
            verified: 0,
            downloaded: 0,
            uploaded: 0,
            download_rate: 0,
            upload_rate: 0,
            peers: Vec::new(),
            playback: PlaybackStats::idle(pieces),
        }
    }

    /// The same for a live stream.
    #[must_use]
    pub fn of_live(self) -> Status {
        Status { video: VideoInfo { valid_range: 0..0, live: true }, ..self }
    }

    /// How `torrent` stands.
    pub fn of(torrent: &Torrent, now: Time) -> Status {
        let pieces = torrent.layout().pieces();
        let peers: Vec<PeerStatus> = torrent
            .connections()
            .filter_map(|connection| PeerStatus::of(connection, now))
            .collect();
        let state = if torrent.is_seeding() { State::Seeding } else { State::Downloading };
        let waiting = Status::waiting(torrent.info_hash(), torrent.config().peer_id, pieces, now);
        Status {
            state,
            trouble: torrent.trouble().map(str::to_owned),
            length: torrent.layout().total_length(),
            verified: torrent.picker().have().count(),
            downloaded: torrent.downloaded(),
            uploaded: torrent.uploaded(),
            download_rate: peers.iter().map(|peer| peer.download_rate).sum(),
            upload_rate: peers.iter().map(|peer| peer.upload_rate).sum(),
            peers,
            video: VideoInfo::of(torrent).unwrap_or(waiting.video),
            playback: PlaybackStats::of_live(torrent)
                .or_else(|| PlaybackStats::of_video(torrent, now))
                .unwrap_or(waiting.playback),
            ..waiting
        }
    }

    /// The same download when it has ended: with `error`, or as its user wished.
    /// What it came to stays, whom it was connected to does not.
    #[must_use]
    pub fn ended(self, error: Option<String>, at: Time) -> Status {
        let state = if error.is_some() { State::Failed } else { State::Stopped };
        Status { at, state, error, download_rate: 0, upload_rate: 0, peers: Vec::new(), ..self }
    }

    /// Share of the pieces that is here, 0 to 1.
    pub fn progress(&self) -> f64 {
        f64::from(self.verified) / f64::from(self.pieces.max(1))
    }
}

impl VideoInfo {
    /// What of a live stream or a video may be asked for; `None` if nothing plays.
    fn of(torrent: &Torrent) -> Option<VideoInfo> {
        let plays = torrent.transporter().is_some() || torrent.played().is_some();
        if let Some(streaming) = torrent.picker().streaming().filter(|_| plays) {
            let valid_range = streaming.position().into()..streaming.pieces().end.into();
            return Some(VideoInfo { valid_range, live: false });
        }
        let kept = torrent.broadcast().map(Broadcast::valid);
        let valid = |viewer: &Viewer| if viewer.is_numbered() { viewer.valid() } else { 0..0 };
        let valid_range = kept.or_else(|| torrent.viewer().map(valid))?;
        Some(VideoInfo { valid_range, live: true })
    }
}

impl PlaybackStats {
    /// How a video plays, or did until the torrent was stopped; `None` if none is
    /// streamed.
    pub(crate) fn of_video(torrent: &Torrent, now: Time) -> Option<PlaybackStats> {
        if let Some(played) = torrent.played() {
            return Some(played.clone());
        }
        let (transporter, streaming) = (torrent.transporter()?, torrent.picker().streaming()?);
        let (figures, picked) = (transporter.figures(now), transporter.picked());
        Some(PlaybackStats {
            state: match transporter.state(streaming) {
                PlayState::Prebuffering => PlaybackState::Prebuffering,
                PlayState::Playing => PlaybackState::Playing,
                PlayState::Stalled { .. } | PlayState::Paused => PlaybackState::Paused,
                PlayState::Ended => PlaybackState::Ended,
            },
            played: figures.played + figures.late,
            late: figures.late,
            dropped: 0,
            stalled: figures.stalled,
            position: streaming.position(),
            prebuffered: transporter.prebuffered(),
            high: picked.high,
            mid: picked.mid,
            low: picked.low,
            timeline: transporter.timeline().collect(),
            first_piece: streaming.pieces().start,
            pieces: streaming.pieces().len() as u32,
        })
    }

    /// How a live stream plays; `None` if none is viewed.
    fn of_live(torrent: &Torrent) -> Option<PlaybackStats> {
        let viewer = torrent.viewer()?;
        let pieces = torrent.layout().pieces();
        let begun = viewer.played() + viewer.dropped() > 0;
        Some(PlaybackStats {
            state: match viewer.state() {
                ViewState::Playing { .. } => PlaybackState::Playing,
                ViewState::Waiting | ViewState::Buffering { .. } if begun => PlaybackState::Paused,
                ViewState::Waiting | ViewState::Buffering { .. } => PlaybackState::Prebuffering,
            },
            played: viewer.played(),
            dropped: viewer.dropped(),
            position: viewer.position().map_or(0, |at| (at % u64::from(pieces)) as u32),
            ..PlaybackStats::idle(pieces)
        })
    }
}

impl PeerStatus {
    /// How a connection stands; `None` before handshakes were exchanged.
    fn of(connection: &Connection, now: Time) -> Option<PeerStatus> {
        let peer_id = connection.remote_id().filter(|_| connection.is_established())?;
        Some(PeerStatus {
            addr: connection.addr(),
            peer_id,
            direction: connection.direction(),
            choking: connection.is_choking(),
            interested: connection.is_interested(),
            peer_choking: connection.is_peer_choking(),
            peer_interested: connection.is_peer_interested(),
            has: connection.remote_pieces().count(),
            downloaded: connection.downloaded(),
            uploaded: connection.uploaded(),
            download_rate: connection.download_rate(now),
            upload_rate: connection.upload_rate(now),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> Status {
        Status::waiting(InfoHash([1; 20]), PeerId([2; 20]), 8, Time::from_secs(1))
    }

    #[test]
    fn a_download_that_does_nothing_yet_has_every_figure() {
        let status = waiting();
        assert_eq!((status.state, status.progress()), (State::Waiting, 0.0));
        assert_eq!(status.video, VideoInfo { valid_range: 0..8, live: false });
        let playback = status.playback;
        assert_eq!(
            (playback.state, playback.position, playback.pieces),
            (PlaybackState::Idle, 0, 8)
        );
    }

    #[test]
    fn the_end_keeps_what_was_reached_and_forgets_whom_it_was_with() {
        let busy = Status { verified: 5, uploaded: 9, download_rate: 7, ..waiting() };
        let later = Time::from_secs(9);
        let stopped = busy.clone().ended(None, later);
        assert_eq!(
            (stopped.state, stopped.at, stopped.error.as_ref()),
            (State::Stopped, later, None)
        );
        assert_eq!((stopped.verified, stopped.uploaded, stopped.download_rate), (5, 9, 0));
        let failed = busy.ended(Some("the disk is full".to_owned()), later);
        assert_eq!(failed.state, State::Failed);
        assert!(failed.state.is_over() && failed.error.is_some());
    }

    #[test]
    fn a_life_has_an_order_and_every_part_of_it_a_name_of_its_own() {
        assert!(State::ALL.is_sorted());
        let names: std::collections::BTreeSet<String> =
            State::ALL.iter().map(State::to_string).collect();
        assert_eq!(names.len(), State::ALL.len());
    }
}
