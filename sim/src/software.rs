//! What a peer's host runs: a program around a session, until it exits.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU64,
    time::Duration,
};

use reseed_client::{
    App, AppOptions, Callbacks, Disk, DownloadOptions, Env, ExitWhen, Live, Network,
    SessionOptions, ShutdownOptions, Tasks, Wait,
};
use reseed_protocol::{Defects, Locality, Magnet, Metainfo, Prefix, State, Status};
use tokio::sync::mpsc;

use crate::{
    Content,
    liar::LyingDisk,
    members, monitor,
    plan::{self, AppPlan, Exit, Has, Lies, PeerPlan, Plan, ReportsPlan},
    player::Player,
    stage::any_like,
};

/// What a peer's user set up.
pub(crate) struct Setup {
    /// What it downloads or seeds, the shared torrent first.
    pub(crate) torrents: Vec<Metainfo>,
    pub(crate) app: AppOptions,
    pub(crate) download: DownloadOptions,
    /// Who watches, if somebody does.
    pub(crate) player: Option<Player>,
    /// How long a callback of its user takes, if there is one.
    pub(crate) callback: Option<Duration>,
    pub(crate) reports: Option<ReportsPlan>,
    /// What it lies about, if it does.
    pub(crate) lies: Option<Lies>,
    /// Whether its disk may fail it, so that a download may end with what that says.
    pub(crate) disk_may_fail: bool,
    /// Whether it knows no more of the shared torrent than a magnet link says.
    pub(crate) magnet: bool,
}

impl Setup {
    /// The settings that `peer` has in `plan`, where it knows of peers at `knows`.
    pub(crate) fn new(
        torrents: Vec<Metainfo>,
        plan: &Plan,
        peer: &PeerPlan,
        knows: Vec<SocketAddr>,
        content: &Content,
    ) -> Setup {
        let defects = Defects::from_iter(plan.defects.iter().copied());
        let defaults = DownloadOptions::default();
        let AppPlan { exit_when, poll_ms, checkpoint, grace_ms, callback_ms, .. } = peer.app;
        Setup {
            torrents,
            app: AppOptions {
                session: SessionOptions {
                    listen: SocketAddr::new(any_like(peer.address), peer.port),
                    upload_limit: peer.upload_limit.and_then(NonZeroU64::new),
                    download_limit: peer.download_limit.and_then(NonZeroU64::new),
                    defects,
                },
                exit_when: match exit_when {
                    Exit::Never => None,
                    Exit::Finished => Some(ExitWhen::AllFinished),
                    Exit::Played => Some(ExitWhen::Played),
                    Exit::Seeded(ms) => Some(ExitWhen::Seeded(Duration::from_millis(ms))),
                },
                poll_interval: Duration::from_millis(poll_ms),
                shutdown: ShutdownOptions { checkpoint, grace: Duration::from_millis(grace_ms) },
            },
            download: DownloadOptions {
                pex: peer.pex,
                fast: peer.fast,
                announce: peer.announce,
                metadata: peer.metadata,
                peer_priority: peer.peer_priority,
                dont_have: peer.dont_have,
                super_seed: peer.super_seed,
                peers: knows,
                upload_slots: peer.upload_slots,
                choke_round: Duration::from_millis(peer.choke_round_ms),
                locality: locality(peer),
                stream: plan.torrent.video().filter(|_| peer.stream),
                live: live(plan, peer, content),
                initiate_max: peer.initiate_max.unwrap_or(defaults.initiate_max),
                membership: members::membership(plan, peer, content),
                defects,
                ..defaults
            },
            callback: (callback_ms > 0).then(|| Duration::from_millis(callback_ms)),
            player: None,
            reports: peer.reports,
            lies: peer.lies.clone(),
            disk_may_fail: false,
            magnet: peer.magnet,
        }
    }
}

/// The part of `peer` in the live stream, if one is shared.
fn live(plan: &Plan, peer: &PeerPlan, content: &Content) -> Option<Live> {
    let (broadcast, bitrate) = content.broadcast().zip(plan.torrent.bitrate)?;
    let makes = peer.has == Has::Everything;
    Some(Live { bitrate, source: makes.then(|| broadcast.source()) })
}

/// Whether a download knows what is on its disk.
fn has_checked(status: &Status) -> bool {
    matches!(status.state, State::Downloading | State::Seeding)
}

/// Bits of an IPv4 address that name a subnet in plans.
const SUBNET_BITS: u8 = 16;
/// Bits of an IPv6 address that do.
const SUBNET_BITS_IPV6: u8 = 64;

fn locality(peer: &PeerPlan) -> Locality {
    match (peer.locality, peer.address) {
        (plan::Locality::Anywhere, _) => Locality::Anywhere,
        (plan::Locality::Subnet, address) => {
            let bits = if address.is_ipv4() { SUBNET_BITS } else { SUBNET_BITS_IPV6 };
            Locality::Prefix(Prefix::new(address, bits))
        }
        (plan::Locality::Parity, IpAddr::V4(address)) => {
            Locality::Parity { odd: address.octets()[3] % 2 == 1 }
        }
        (plan::Locality::Parity, IpAddr::V6(address)) => {
            Locality::Parity { odd: address.octets()[15] % 2 == 1 }
        }
    }
}

/// Runs a peer until it exits; each message of `interrupts` is a Ctrl-C of its user.
pub(crate) async fn run<N: Network, E: Env, D: Disk>(
    network: N,
    env: E,
    disk: D,
    setup: Setup,
    interrupts: mpsc::UnboundedReceiver<()>,
) {
    let lies = setup.torrents.first().zip(setup.lies.as_ref());
    let disk = LyingDisk::new(disk, lies, env.rng("lies"));
    let exits_when_played = setup.app.exit_when == Some(ExitWhen::Played);
    let mut app = App::start(network, env.clone(), disk.clone(), setup.app)
        .await
        .expect("nobody else listens there");
    let private =
        DownloadOptions { peers: Vec::new(), stream: None, live: None, ..setup.download.clone() };
    let callbacks = app.callbacks();
    let watched = |plan| monitor::monitoring(&env, &plan, callbacks.clone());
    let shared = DownloadOptions { monitoring: setup.reports.map(watched), ..setup.download };
    let mut downloads = Vec::new();
    for (number, torrent) in setup.torrents.into_iter().enumerate() {
        let options = if number == 0 { shared.clone() } else { private.clone() };
        let download = match number == 0 && setup.magnet {
            true => app.add_magnet(link(&torrent), options),
            false => app.add(torrent, options),
        };
        downloads.push(download.expect("each is there once"));
    }
    if let Some(takes) = setup.callback {
        let callback = callback(env.clone(), callbacks.clone(), takes);
        callbacks.submit("user's own", callback).expect("the program has just started");
    }
    let players = Tasks::new();
    if let Some((player, watched)) = setup.player.zip(downloads.first().cloned()) {
        let is_live = shared.live.is_some();
        let open = move |at| watched.stream(at);
        match exits_when_played {
            true => {
                let playing = player.play(env.clone(), open);
                app.play(to_the_end(env.clone(), playing));
            }
            false if is_live => players.spawn(&env, "player", player.watch(env.clone(), open)),
            false => players.spawn(&env, "player", player.play(env.clone(), open)),
        }
    }
    if let Some(download) = downloads.first().cloned().filter(|_| disk.is_liar()) {
        // What it has it must find first.
        players.spawn(&env, "liar", async move {
            download.wait_for(has_checked).await;
            disk.begin();
        });
    }
    app.run(interrupts).await;
    players.shutdown().await;
    for download in downloads {
        let error = download.status().error.filter(|_| !setup.disk_may_fail);
        let ended = error.map_or(Ok(()), Err);
        env.absorb(|| format!("downloading {}", download.info_hash()), ended);
    }
}

/// What a magnet link says of `torrent`.
fn link(torrent: &Metainfo) -> Magnet {
    Magnet {
        info_hash: torrent.info_hash,
        name: None,
        trackers: torrent.trackers().concat(),
        peers: Vec::new(),
        select_only: Vec::new(),
    }
}

/// Plays, and says for what that waits.
async fn to_the_end(env: impl Env, playing: impl Future<Output = ()>) {
    let _waiting = env.waiting(Wait { who: "playback", on: "player", to: "see the end" });
    playing.await;
}

/// What the user does when told something, and takes his time over.
async fn callback(env: impl Env, callbacks: Callbacks, takes: Duration) {
    let who = callbacks.running_here().expect("it is a callback");
    let _waiting = env.waiting(Wait { who, on: "user", to: "return" });
    env.sleep_until(env.now() + takes).await;
}
