//! A host that runs no client of ours, but something that means no good.
//!
//! It dials whom it knows, again and again, listens, and announces itself if it is to.
//! On each connection it acts out its [`Behaviour`](crate::plan::Behaviour), one file an
//! idea: [`bytes`] says anything at all, [`flood`] too much, [`miser`] too little.

mod bytes;
mod flood;
mod line;
mod miser;

use std::{net::SocketAddr, rc::Rc, time::Duration};

use reseed_client::{Env, Listener, Network, Spawner, Tasks, announce};
use reseed_protocol::{
    PeerId,
    tracker::{AnnounceRequest, Event},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};

pub(crate) use self::flood::dead;
use self::line::Line;
use crate::{Content, lab::Lab, plan::Behaviour};

/// From the end of a connection that it opened to the next one there.
const DIAL_AGAIN: Duration = Duration::from_secs(1);

/// How long it stays on a connection when it has said all that it had to.
const LINGER: Duration = Duration::from_secs(20);

/// How often it shows that it is alive, where it says nothing else: more often than the
/// two minutes of BEP 3.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How often it announces itself.
const ANNOUNCE_EACH: Duration = Duration::from_secs(30);

/// What it is to do, and where.
pub(crate) struct Mission {
    /// Its number in the plan.
    pub(crate) peer: usize,
    pub(crate) behaviour: Behaviour,
    pub(crate) listen: SocketAddr,
    /// Where those are that it knows.
    pub(crate) knows: Vec<SocketAddr>,
    /// Where it announces itself.
    pub(crate) announce: Option<String>,
    /// Hosts that are none of its business, but that it may tell others of.
    pub(crate) others: Vec<SocketAddr>,
    pub(crate) content: Rc<Content>,
    pub(crate) lab: Rc<Lab>,
}

/// The peer at its work.
struct Hostile<E> {
    env: E,
    mission: Mission,
    id: PeerId,
}

/// Whether a connection is one that it opened itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opened {
    Here,
    There,
}

/// Does what the mission says until somebody interrupts it.
pub(crate) async fn run<N: Network, E: Env>(
    network: N,
    env: E,
    mission: Mission,
    mut interrupts: mpsc::UnboundedReceiver<()>,
) {
    let id = PeerId::generate(&mut env.rng("peer id"));
    mission.lab.calls_itself(mission.peer, id);
    let hostile = Rc::new(Hostile { env: env.clone(), mission, id });
    let tasks = Tasks::new();
    let listener = network.listen(hostile.mission.listen).await;
    let listener = listener.expect("nobody else listens there");
    let spawner = tasks.spawner();
    tasks.spawn(&env, "listener", hostile.clone().listen(listener, spawner));
    let connections = match hostile.mission.behaviour {
        Behaviour::HalfOpen { connections } => connections,
        _ => 1,
    };
    for to in hostile.mission.knows.clone() {
        for number in 1..=connections {
            let name = format!("connection {number} to {to}");
            tasks.spawn(&env, &name, hostile.clone().dial(network.clone(), to));
        }
    }
    if let Some(tracker) = hostile.mission.announce.clone() {
        tasks.spawn(&env, "announces", hostile.clone().announce(network, tracker));
    }
    // An error is that nobody is left who could.
    let _ = interrupts.recv().await;
    tasks.shutdown().await;
}

impl<E: Env> Hostile<E> {
    async fn listen<S: AsyncRead + AsyncWrite + Unpin + 'static>(
        self: Rc<Self>,
        mut listener: impl Listener<Stream = S>,
        spawner: Spawner,
    ) {
        while let Ok((stream, from)) = listener.accept().await {
            let hostile = self.clone();
            spawner.spawn(&self.env, &format!("connection from {from}"), async move {
                hostile.meet(stream, Opened::There, &format!("from {from}")).await;
            });
        }
    }

    async fn dial<N: Network>(self: Rc<Self>, network: N, to: SocketAddr) {
        for attempt in 0_u64.. {
            if let Ok(stream) = network.connect(to).await {
                self.meet(stream, Opened::Here, &format!("{to}/{attempt}")).await;
            }
            self.sleep(DIAL_AGAIN).await;
        }
    }

    /// Acts on a connection until that ends. An error is such an end.
    async fn meet<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S, by: Opened, label: &str) {
        let rng = self.env.rng(&format!("hostile/{label}"));
        let mut line = Line::new(stream);
        let ended = match self.mission.behaviour {
            Behaviour::Honest => unreachable!("who is honest runs a client"),
            Behaviour::AnyBytes => self.say_anything(&mut line, by, rng).await,
            Behaviour::ClaimsFalsely => self.claim(&mut line, by, miser::reject).await,
            Behaviour::NeverSends => self.claim(&mut line, by, |_, _, _| {}).await,
            Behaviour::FloodsPex { contacts } => self.flood_pex(&mut line, by, contacts, rng).await,
            Behaviour::FloodsRequests { per_s } => {
                self.flood_requests(&mut line, by, per_s, rng).await
            }
            Behaviour::HalfOpen { .. } => self.say_nothing(&mut line).await,
            Behaviour::NeverReads => self.take_without_reading(&mut line, by).await,
            Behaviour::Trickles { every_ms } => {
                self.trickle(&mut line, by, Duration::from_millis(every_ms)).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(label, %error, "a hostile peer's connection ended");
        }
    }

    /// Tells a tracker of itself as often as it likes, whatever that answers.
    async fn announce<N: Network>(self: Rc<Self>, network: N, tracker: String) {
        let request = |event| AnnounceRequest {
            info_hash: self.mission.content.metainfo().info_hash,
            peer_id: self.id,
            port: self.mission.listen.port(),
            uploaded: 0,
            downloaded: 0,
            left: 0,
            event,
            numwant: Some(0),
            compact: true,
            key: 0,
            tracker_id: None,
        };
        let mut event = Some(Event::Started);
        loop {
            match announce(&network, &request(event).url(&tracker)).await {
                Ok(_) => event = None,
                Err(error) => tracing::debug!(%error, "a hostile peer cannot announce itself"),
            }
            self.sleep(ANNOUNCE_EACH).await;
        }
    }

    /// It did what it is here for.
    fn strikes(&self) {
        let Mission { peer, behaviour, .. } = self.mission;
        self.mission.lab.fired(self.env.now(), Some(peer), behaviour.name());
    }

    async fn sleep(&self, span: Duration) {
        self.env.sleep_until(self.env.now() + span).await;
    }
}
