//! What a peer's host runs: a session with one download, until its user ends it.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU64,
    time::Duration,
};

use reseed_client::{Disk, DownloadOptions, Env, Network, Session, SessionOptions, Tasks};
use reseed_protocol::{Defects, Locality, Metainfo, Prefix};
use tokio::sync::watch;

use crate::{
    plan::{self, PeerPlan, Plan},
    player::Player,
};

/// What a peer's user set up.
pub(crate) struct Setup {
    pub(crate) metainfo: Metainfo,
    pub(crate) session: SessionOptions,
    pub(crate) download: DownloadOptions,
    /// Who watches, if somebody does.
    pub(crate) player: Option<Player>,
}

impl Setup {
    /// The settings that `peer` has in `plan`, where it knows of peers at `knows`.
    pub(crate) fn new(
        metainfo: Metainfo,
        plan: &Plan,
        peer: &PeerPlan,
        knows: Vec<SocketAddr>,
    ) -> Setup {
        let unspecified = IpAddr::from([0, 0, 0, 0]);
        Setup {
            metainfo,
            session: SessionOptions {
                listen: SocketAddr::new(unspecified, peer.port),
                upload_limit: peer.upload_limit.and_then(NonZeroU64::new),
                download_limit: peer.download_limit.and_then(NonZeroU64::new),
            },
            download: DownloadOptions {
                pex: peer.pex,
                fast: peer.fast,
                announce: peer.announce,
                peers: knows,
                upload_slots: peer.upload_slots,
                choke_round: Duration::from_millis(peer.choke_round_ms),
                locality: locality(peer),
                stream: plan.torrent.video().filter(|_| peer.stream),
                defects: Defects::from_iter(plan.defects.iter().copied()),
                ..DownloadOptions::default()
            },
            player: None,
        }
    }
}

/// Bits of an address that name a subnet in plans.
const SUBNET_BITS: u8 = 16;

fn locality(peer: &PeerPlan) -> Locality {
    match (peer.locality, peer.address) {
        (plan::Locality::Anywhere, _) => Locality::Anywhere,
        (plan::Locality::Subnet, address) => Locality::Prefix(Prefix::new(address, SUBNET_BITS)),
        (plan::Locality::Parity, IpAddr::V4(address)) => {
            Locality::Parity { odd: address.octets()[3] % 2 == 1 }
        }
        (plan::Locality::Parity, IpAddr::V6(address)) => {
            Locality::Parity { odd: address.octets()[15] % 2 == 1 }
        }
    }
}

/// Runs a peer until `leave` turns true; then it shuts down as it should.
pub(crate) async fn run<N: Network, E: Env, D: Disk>(
    network: N,
    env: E,
    disk: D,
    setup: Setup,
    mut leave: watch::Receiver<bool>,
) {
    let session = Session::start(network, env.clone(), disk, setup.session)
        .await
        .expect("nobody else listens there");
    let download = session.add(setup.metainfo, setup.download).expect("it is the only one");
    let applications = Tasks::new();
    if let Some(player) = setup.player {
        let watched = download.clone();
        let playing = player.play(env.clone(), move |at| watched.stream(at));
        applications.spawn(&env, "player", playing);
    }
    // An error is that the stage is gone, and the host with it.
    let _ = leave.wait_for(|leave| *leave).await;
    applications.shutdown().await;
    session.shutdown().await;
    let ended = download.status().error.map_or(Ok(()), Err);
    env.absorb(|| format!("downloading {}", download.info_hash()), ended);
}
