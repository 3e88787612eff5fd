//! A download's connections and announces: each a task that moves bytes or waits for an
//! answer, and hands what comes to the download.

use std::{cell::RefCell, collections::BTreeMap, net::SocketAddr, rc::Rc, time::Duration};

use reseed_protocol::{
    ConnectionId,
    torrent::Input,
    tracker::{AnnounceRequest, AnnounceResponse, Trackers},
    wire::{Framing, Parts},
};
use tokio::sync::{mpsc, oneshot};
use url::Url;

use crate::{
    Env, Network, Tasks, Wait, announce,
    announce::announce_udp,
    peer::{self, PeerHandle, Shared},
    race,
    race::timeout_at,
};

/// Things that happened to connections and wait for the torrent's task (count);
/// with more, the connections' tasks wait, and so do the remotes.
const INPUTS_MAX: usize = 64;

/// The connections and announces of one download. Dropping it ends them all.
pub(crate) struct Links<N, E> {
    network: N,
    env: E,
    shared: Shared,
    /// What the download is called as a task.
    name: String,
    inputs: mpsc::Sender<Input>,
    peers: BTreeMap<ConnectionId, PeerHandle>,
    trackers: Rc<RefCell<Trackers>>,
    /// Dropping it ends the announce that is under way.
    announcing: Option<oneshot::Sender<()>>,
    tasks: Tasks,
}

impl<N: Network, E: Env> Links<N, E> {
    /// None yet; what happens to them is to be received.
    pub(crate) fn new(
        network: N,
        env: E,
        shared: Shared,
        name: String,
    ) -> (Links<N, E>, mpsc::Receiver<Input>) {
        let (inputs, received) = mpsc::channel(INPUTS_MAX);
        let links = Links {
            network,
            env,
            shared,
            name,
            inputs,
            peers: BTreeMap::new(),
            trackers: Rc::new(RefCell::new(Trackers::default())),
            announcing: None,
            tasks: Tasks::new(),
        };
        (links, received)
    }

    /// Who is announced to from now on.
    pub(crate) fn set_trackers(&mut self, trackers: Trackers) {
        self.trackers.replace(trackers);
    }

    /// Serves a connection that was opened to us, of which `read` was read already.
    pub(crate) fn serve(
        &mut self,
        connection: ConnectionId,
        from: SocketAddr,
        stream: N::Stream,
        read: &[u8],
    ) {
        let peer = self.open(connection);
        let name = format!("peer {connection} from {from}");
        let mut framing = Framing::new();
        framing.follow(read);
        self.tasks.spawn(&self.env, &name, peer.serve(stream, framing));
    }

    /// Opens a connection.
    pub(crate) fn dial(&mut self, connection: ConnectionId, addr: SocketAddr) {
        let peer = self.open(connection);
        let name = format!("peer {connection} to {addr}");
        let network = self.network.clone();
        self.tasks.spawn(&self.env, &name, peer.dial(network, addr));
    }

    fn open(&mut self, connection: ConnectionId) -> peer::Peer<E> {
        let (env, shared) = (self.env.clone(), self.shared.clone());
        let (handle, peer) = peer::pair(env, connection, self.inputs.clone(), shared);
        self.peers.insert(connection, handle);
        peer
    }

    /// Sends on a connection, if it is there still.
    pub(crate) fn send(&self, connection: ConnectionId, bytes: Parts) {
        if let Some(peer) = self.peers.get(&connection) {
            peer.send(bytes);
        }
    }

    /// Closes a connection, if it is there still.
    pub(crate) fn close(&mut self, connection: ConnectionId) {
        self.peers.remove(&connection);
    }

    /// Announces to the first tracker that answers, each of which is given `timeout`.
    pub(crate) fn announce(&mut self, request: AnnounceRequest, timeout: Duration) {
        let (network, env) = (self.network.clone(), self.env.clone());
        let (inputs, trackers) = (self.inputs.clone(), self.trackers.clone());
        let what = request.event.map_or("an announce".to_owned(), |event| event.to_string());
        let who = self.name.clone();
        let (alive, ended) = oneshot::channel::<()>();
        self.announcing = Some(alive);
        self.tasks.spawn(&self.env, "announce", async move {
            let wait = Wait { who: &who, on: "tracker", to: &format!("answer {what}") };
            let _waiting = env.waiting(wait);
            let result = race! {
                _ = ended => return,
                result = ask(&network, &env, &trackers, &request, timeout) => result,
            };
            let result = result.map(Box::new);
            // Without a torrent nobody wants the answer.
            let _ = inputs.send(Input::Announced { result }).await;
        });
    }

    /// The announce that was under way has come to an end.
    pub(crate) fn announced(&mut self) {
        self.announcing = None;
    }

    /// Gives up the announce that is under way, and tells if there was one: one that has
    /// come to an end, and is to be received, is not.
    pub(crate) fn abandon_announce(&mut self) -> bool {
        self.announcing.take().is_some_and(|alive| !alive.is_closed())
    }

    /// Ends everything, without waiting for that.
    pub(crate) fn cancel(&mut self) {
        self.peers.clear();
        self.tasks.cancel();
    }

    /// Ends everything: on return no task is left.
    pub(crate) async fn shutdown(self) {
        self.tasks.shutdown().await;
    }
}

/// Asks one tracker after the other, until one answers.
async fn ask(
    network: &impl Network,
    env: &impl Env,
    trackers: &RefCell<Trackers>,
    request: &AnnounceRequest,
    timeout: Duration,
) -> Result<AnnounceResponse, String> {
    // Over UDP the request or the answer may have been lost: it is asked twice.
    let patience = |url: &str| timeout * if url.starts_with("udp:") { 3 } else { 1 };
    let urls: Vec<String> = trackers.borrow().urls().map(str::to_owned).collect();
    let mut failures = Vec::new();
    for url in urls {
        let (deadline, answer) = (env.now() + patience(&url), ask_one(network, env, &url, request));
        match timeout_at(env, deadline, answer).await {
            Some(Ok(response)) => {
                trackers.borrow_mut().answered(&url);
                return Ok(response);
            }
            Some(Err(error)) => failures.push(error),
            None => failures.push(format!("no answer within {} s", patience(&url).as_secs())),
        }
    }
    Err(failures.join("; "))
}

/// Asks a tracker, and reads its answer.
async fn ask_one(
    network: &impl Network,
    env: &impl Env,
    url: &str,
    request: &AnnounceRequest,
) -> Result<AnnounceResponse, String> {
    if let Ok(parsed) = Url::parse(url)
        && parsed.scheme() == "udp"
    {
        let mut rng = env.rng(&format!("transactions with {url} at {}", env.now()));
        let answer = announce_udp(network, env, &parsed, request, &mut rng).await;
        return answer.map_err(|error| error.to_string());
    }
    let body = announce(network, &request.url(url)).await.map_err(|error| error.to_string())?;
    AnnounceResponse::from_bytes(&body).map_err(|error| error.to_string())
}
