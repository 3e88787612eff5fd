//! What one may choose about a peer, and what is fixed.

use std::time::Duration;

use crate::{Defects, Locality, PeerId, Time, Video, extension::closed_swarm::Membership};

/// A peer's settings in one torrent. The times are waits on a remote; each is
/// what the named client uses where BEP 3 gives no figure.
#[derive(Debug, Clone)]
pub struct Config {
    /// Our identity in this torrent. BEP 20.
    pub peer_id: PeerId,
    /// TCP port that we listen on, told to trackers and peers.
    pub port: u16,
    /// Exchange peers with peers. BEP 11; never in a private torrent (BEP 27).
    pub pex: bool,
    /// Speak the fast extension. BEP 6.
    pub fast: bool,
    /// Say that we want nothing more, once we do not. BEP 21.
    pub upload_only: bool,
    /// Prefer the connections of the greatest priority: dial them first, and let one
    /// take the place of the least when there is no more room. BEP 40.
    pub peer_priority: bool,
    /// Say that a piece is here no more when it cannot be read, and take such word.
    /// BEP 54.
    pub dont_have: bool,
    /// Get nothing: what is lost is not to be got again.
    pub read_only: bool,
    /// While all is here, show each remote a piece at a time, and the next one once
    /// others have that. BEP 16.
    pub super_seed: bool,
    /// What we prove ourselves with in a closed swarm, if we are in it.
    pub membership: Option<Membership>,
    /// Unix time (seconds) at [`Time::ZERO`], by which certificates end.
    pub unix_epoch_s: u64,
    /// Peers unchoked at a time, the optimistic one among them (count).
    /// BEP 3 §choking uses 4; libtorrent defaults to 8.
    pub upload_slots: usize,
    /// Between two rounds of the choker; the optimistic slot changes hands every
    /// third. BEP 3 §choking: 10 s.
    pub choke_round: Duration,
    /// Whom to prefer among those who would download.
    pub locality: Locality,
    /// Connections at a time (count), those being opened among them.
    pub connections_max: usize,
    /// Connections at a time, beyond which we open none ourselves (count): the rest
    /// of [`connections_max`](Config::connections_max) is for who comes to us.
    pub initiate_max: usize,
    /// Connections being opened at a time (count).
    pub half_open_max: usize,
    /// Requests of one remote that we keep (count), told to it as `reqq`.
    /// BEP 10 §handshake; its default is 250.
    pub request_queue_max: u32,
    /// Play this while it comes in, and use give-to-get with those who do so too.
    pub stream: Option<Video>,
    /// Our part in a live stream, if that is the content.
    pub live: Option<LiveOptions>,
    /// Put out every frame as [`Output::Spoken`](super::Output::Spoken), for tests
    /// and simulations.
    pub transcript: bool,
    /// How long a dial may take. libtorrent: 15 s.
    pub dial_timeout: Duration,
    /// How long a remote may take for its handshake. libtorrent: 10 s.
    pub handshake_timeout: Duration,
    /// Silence towards a remote after which a keepalive goes out. BEP 3 names two
    /// minutes, so be before that.
    pub keepalive_interval: Duration,
    /// Silence of a remote after which its connection is closed: longer than the
    /// two minutes between keepalives of BEP 3.
    pub idle_timeout: Duration,
    /// How long a remote may leave our requests without any block before they are
    /// given to others, and it counts as snubbing us. BEP 3 §anti-snubbing: a
    /// minute.
    pub request_timeout: Duration,
    /// How long a remote may take to prove access to a closed swarm: what a handshake
    /// and some round trips take, and then some.
    pub proof_timeout: Duration,
    /// How long nothing is asked for after the disk has failed to keep a piece: it would
    /// only be thrown away; of a live stream a second, since it does not wait. libtorrent:
    /// 10 min (`optimistic_disk_retry`).
    pub disk_rest: Duration,
    /// Bugs written back in.
    pub defects: Defects,
}

/// A peer's part in a live stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveOptions {
    /// How long a piece plays.
    pub piece_time: Duration,
    /// Whether the stream is made here.
    pub source: bool,
}

impl Config {
    /// The defaults, for a peer that is `peer_id` and listens on `port`.
    pub fn new(peer_id: PeerId, port: u16) -> Config {
        Config {
            peer_id,
            port,
            pex: true,
            fast: true,
            upload_only: false,
            peer_priority: false,
            dont_have: false,
            read_only: false,
            super_seed: false,
            membership: None,
            unix_epoch_s: 0,
            upload_slots: 8,
            choke_round: Duration::from_secs(10),
            locality: Locality::Anywhere,
            connections_max: 50,
            initiate_max: 50,
            half_open_max: 8,
            request_queue_max: 500,
            stream: None,
            live: None,
            transcript: false,
            dial_timeout: Duration::from_secs(15),
            handshake_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(100),
            idle_timeout: Duration::from_secs(180),
            request_timeout: Duration::from_secs(60),
            proof_timeout: Duration::from_secs(30),
            disk_rest: Duration::from_secs(15),
            defects: Defects::NONE,
        }
    }

    /// Unix time (seconds) at `now`.
    pub(crate) fn unix_s(&self, now: Time) -> u64 {
        self.unix_epoch_s.saturating_add(now.since_epoch().as_secs())
    }

    /// When it is `unix_s` (Unix seconds).
    pub(crate) fn time_of(&self, unix_s: u64) -> Time {
        Time::from_secs(unix_s.saturating_sub(self.unix_epoch_s))
    }
}
