//! A tracker that answers announces on the simulated network, over HTTP (BEP 3, BEP 23) or
//! UDP (BEP 15).

use std::{
    cell::RefCell,
    collections::BTreeMap,
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use rand::{Rng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use reseed_client::{Datagrams, Env, Listener, Network};
use reseed_protocol::{
    InfoHash, PeerId, Time,
    tracker::{AnnounceRequest, AnnounceResponse, Event, UdpRequest, UdpResponse},
};

use crate::{plan::TrackerPlan, stage::any_like};

/// Peers in an answer, if the peer does not say how many it wants (count).
const PEERS_DEFAULT: u32 = 50;

/// Bytes of a datagram that are read: an announce, and a URL of BEP 41.
const DATAGRAM_MAX: usize = 2048;

/// How a tracker answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Where it is.
    pub(crate) address: IpAddr,
    /// What it tells peers to wait between announces.
    pub(crate) interval: Duration,
    /// It hears announces, and never answers.
    pub(crate) silent: bool,
    /// It speaks UDP, BEP 15, rather than HTTP.
    pub(crate) udp: bool,
}

/// A tracker's memory: who shares what.
struct Tracker {
    interval: Duration,
    swarms: BTreeMap<InfoHash, BTreeMap<PeerId, Member>>,
    rng: ChaCha8Rng,
    /// The last transaction of each socket: asked again, it is one announce still.
    transactions: BTreeMap<SocketAddr, u32>,
}

struct Member {
    addr: SocketAddr,
    left: u64,
    heard: Time,
}

/// Serves announces until the host stops. `announced` is told of each.
pub(crate) async fn serve<N: Network, E: Env>(
    network: N,
    env: E,
    manner: Manner,
    announced: impl Fn(IpAddr, &AnnounceRequest) + Clone + 'static,
) {
    let at = SocketAddr::new(any_like(manner.address), TrackerPlan::PORT);
    let rng = env.rng("tracker");
    let Manner { interval, silent, udp, .. } = manner;
    let mut tracker =
        Tracker { interval, swarms: BTreeMap::new(), rng, transactions: BTreeMap::new() };
    if udp {
        let socket = network.datagrams(at).await.expect("nobody else is bound on this host");
        let mut buffer = [0; DATAGRAM_MAX];
        loop {
            let Ok((length, from)) = socket.receive_from(&mut buffer).await else { return };
            let answer = tracker.answer(&buffer[..length], from, env.now(), &announced);
            if let Some(answer) = answer.filter(|_| !silent)
                && let Err(error) = socket.send_to(&answer.encode(), from).await
            {
                tracing::debug!(%from, %error, "the tracker cannot answer a peer");
            }
        }
    }
    let mut listener = network.listen(at).await.expect("nobody else listens on this host");
    let tracker = Rc::new(RefCell::new(tracker));
    loop {
        let Ok((stream, from)) = listener.accept().await else { continue };
        let (tracker, clock, announced) = (tracker.clone(), env.clone(), announced.clone());
        env.spawn(&format!("tracker serves {from}"), async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = answer(&tracker, &request, from, clock.now(), &announced);
                async move {
                    if silent {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, Infallible>(answer)
                }
            });
            // A date would be that of the machine's clock.
            let mut server = http1::Builder::new();
            server.auto_date_header(false).keep_alive(false);
            if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%from, %error, "a peer hung up on the tracker");
            }
        });
    }
}

fn answer(
    tracker: &RefCell<Tracker>,
    request: &Request<Incoming>,
    from: SocketAddr,
    now: Time,
    announced: &impl Fn(IpAddr, &AnnounceRequest),
) -> Response<Full<bytes::Bytes>> {
    let status = |status, body: Vec<u8>| {
        let mut response = Response::new(Full::new(body.into()));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/announce" {
        return status(StatusCode::NOT_FOUND, Vec::new());
    }
    let body = match AnnounceRequest::from_query(request.uri().query().unwrap_or_default()) {
        Ok(announce) => {
            announced(from.ip(), &announce);
            tracker.borrow_mut().announce(&announce, from.ip(), now).to_bytes(announce.compact)
        }
        Err(error) => AnnounceResponse::failure(&error.to_string()),
    };
    status(StatusCode::OK, body)
}

impl Tracker {
    /// Answers a datagram. Connection ids prove nothing here, where no address lies.
    fn answer(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now: Time,
        announced: &impl Fn(IpAddr, &AnnounceRequest),
    ) -> Option<UdpResponse> {
        Some(match UdpRequest::decode(datagram)? {
            UdpRequest::Connect { transaction } => {
                UdpResponse::Connect { transaction, connection: self.rng.next_u64() }
            }
            UdpRequest::Announce { transaction, announce, .. } => {
                if self.transactions.insert(from, transaction) != Some(transaction) {
                    announced(from.ip(), &announce);
                }
                let response = self.announce(&announce, from.ip(), now);
                UdpResponse::Announce { transaction, response }
            }
        })
    }

    fn announce(
        &mut self,
        announce: &AnnounceRequest,
        from: IpAddr,
        now: Time,
    ) -> AnnounceResponse {
        let swarm = self.swarms.entry(announce.info_hash).or_default();
        // Who has not been heard of for two intervals and a bit is gone.
        let patience = self.interval * 5 / 2;
        swarm.retain(|_, member| now - member.heard <= patience);
        if announce.event == Some(Event::Stopped) {
            swarm.remove(&announce.peer_id);
        } else {
            let addr = SocketAddr::new(from, announce.port);
            let member = Member { addr, left: announce.left, heard: now };
            swarm.insert(announce.peer_id, member);
        }
        let others: Vec<SocketAddr> = swarm
            .iter()
            .filter(|(peer_id, _)| **peer_id != announce.peer_id)
            .map(|(_, member)| member.addr)
            .collect();
        let wanted = announce.numwant.unwrap_or(PEERS_DEFAULT).min(PEERS_DEFAULT) as usize;
        let seeds = swarm.values().filter(|member| member.left == 0).count() as u32;
        AnnounceResponse {
            interval: self.interval,
            min_interval: None,
            complete: Some(seeds),
            incomplete: Some(swarm.len() as u32 - seeds),
            peers: others.sample(&mut self.rng, wanted).copied().collect(),
            warning: None,
            tracker_id: None,
        }
    }
}
