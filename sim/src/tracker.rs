//! A tracker that answers announces on the simulated network, over HTTP (BEP 3, BEP 23) or
//! UDP (BEP 15).

mod spoilt;

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
use reseed_client::{Datagrams, Env, Listener, Network, race};
use reseed_protocol::{
    InfoHash, PeerId, Time,
    tracker::{AnnounceRequest, AnnounceResponse, Event, UdpRequest, UdpResponse},
};

use crate::plan::{TrackerFault, TrackerPlan};

/// Peers in an answer, if the peer does not say how many it wants (count).
const PEERS_DEFAULT: u32 = 50;

/// Bytes of a datagram that are read: an announce, and a URL of BEP 41.
const DATAGRAM_MAX: usize = 2048;

/// A tracker's memory: who shares what.
struct Tracker {
    plan: TrackerPlan,
    swarms: BTreeMap<InfoHash, BTreeMap<PeerId, Member>>,
    rng: ChaCha8Rng,
    /// For what it does wrong alone.
    faults_rng: ChaCha8Rng,
    /// The last transaction of each socket: asked again, it is one announce still.
    transactions: BTreeMap<SocketAddr, u32>,
}

struct Member {
    addr: SocketAddr,
    left: u64,
    heard: Time,
}

/// Serves announces as `plan` says until the host stops. `announced` is told of each, and
/// `fired` of each that something goes wrong with.
pub(crate) async fn serve<N: Network, E: Env>(
    network: N,
    env: E,
    plan: TrackerPlan,
    announced: impl Fn(IpAddr, &AnnounceRequest) + Clone + 'static,
    fired: impl Fn(TrackerFault) + Clone + 'static,
) {
    let at = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), TrackerPlan::PORT);
    let rng = env.rng("tracker");
    let faults_rng = env.rng("faults");
    let mut tracker =
        Tracker { plan, swarms: BTreeMap::new(), rng, faults_rng, transactions: BTreeMap::new() };
    if tracker.plan.udp {
        let socket = network.datagrams(at).await.expect("nobody else is bound on this host");
        let socket = Rc::new(socket);
        let mut buffer = [0; DATAGRAM_MAX];
        loop {
            let Ok((length, from)) = socket.receive_from(&mut buffer).await else { return };
            let faults: Vec<TrackerFault> = tracker.plan.faults_at(env.now()).collect();
            faults.iter().for_each(|fault| fired(*fault));
            if faults.contains(&TrackerFault::Down) {
                continue;
            }
            let answer = tracker.answer(&buffer[..length], from, env.now(), &announced, &faults);
            let Some(answer) = answer.filter(|_| !tracker.plan.silent) else { continue };
            let answer = spoilt::datagram(&answer, &faults);
            let send = send(socket.clone(), from, answer);
            match spoilt::delay(&faults) {
                None => send.await,
                Some(delay) => {
                    let late = env.sleep_until(env.now() + delay);
                    env.spawn(&format!("tracker answers {from}"), async move {
                        late.await;
                        send.await;
                    });
                }
            }
        }
    }
    let tracker = Rc::new(RefCell::new(tracker));
    loop {
        let serving = serve_http(&network, &env, at, &tracker, &announced, &fired);
        let turns = tracker.borrow().plan.turns(env.now());
        let is_down = {
            let tracker = tracker.borrow();
            tracker.plan.faults_at(env.now()).any(|fault| fault == TrackerFault::Down)
        };
        let until = async {
            match turns {
                Some(at) => env.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        if is_down {
            until.await;
        } else {
            race! {
                () = serving => {},
                () = until => {},
            }
        }
    }
}

async fn send(socket: Rc<impl Datagrams>, to: SocketAddr, bytes: Vec<u8>) {
    if let Err(error) = socket.send_to(&bytes, to).await {
        tracing::debug!(%to, %error, "the tracker cannot answer a peer");
    }
}

/// Serves announces over HTTP; dropped, it listens no more.
async fn serve_http<N: Network, E: Env>(
    network: &N,
    env: &E,
    at: SocketAddr,
    tracker: &Rc<RefCell<Tracker>>,
    announced: &(impl Fn(IpAddr, &AnnounceRequest) + Clone + 'static),
    fired: &(impl Fn(TrackerFault) + Clone + 'static),
) {
    let mut listener = network.listen(at).await.expect("nobody else listens on this host");
    let silent = tracker.borrow().plan.silent;
    loop {
        let Ok((stream, from)) = listener.accept().await else { continue };
        let (tracker, clock) = (tracker.clone(), env.clone());
        let (announced, fired) = (announced.clone(), fired.clone());
        env.spawn(&format!("tracker serves {from}"), async move {
            let service = service_fn(|request: Request<Incoming>| {
                let now = clock.now();
                let faults: Vec<TrackerFault> = tracker.borrow().plan.faults_at(now).collect();
                faults.iter().for_each(|fault| fired(*fault));
                let answer = answer(&tracker, &request, from, now, &announced, &faults);
                let late = spoilt::delay(&faults).map(|delay| clock.sleep_until(now + delay));
                async move {
                    if silent {
                        std::future::pending::<()>().await;
                    }
                    if let Some(late) = late {
                        late.await;
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
    faults: &[TrackerFault],
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
            let response = tracker.borrow_mut().announce(&announce, from.ip(), now, faults);
            response.to_bytes(announce.compact)
        }
        Err(error) => AnnounceResponse::failure(&error.to_string()),
    };
    match faults.contains(&TrackerFault::ServerError) {
        true => status(StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
        false => status(StatusCode::OK, spoilt::body(body, faults)),
    }
}

impl Tracker {
    /// Answers a datagram. Connection ids prove nothing here, where no address lies.
    fn answer(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        now: Time,
        announced: &impl Fn(IpAddr, &AnnounceRequest),
        faults: &[TrackerFault],
    ) -> Option<UdpResponse> {
        Some(match UdpRequest::decode(datagram)? {
            UdpRequest::Connect { transaction } => {
                UdpResponse::Connect { transaction, connection: self.rng.next_u64() }
            }
            UdpRequest::Announce { transaction, announce, .. } => {
                if self.transactions.insert(from, transaction) != Some(transaction) {
                    announced(from.ip(), &announce);
                }
                let response = self.announce(&announce, from.ip(), now, faults);
                UdpResponse::Announce { transaction, response }
            }
        })
    }

    fn announce(
        &mut self,
        announce: &AnnounceRequest,
        from: IpAddr,
        now: Time,
        faults: &[TrackerFault],
    ) -> AnnounceResponse {
        let swarm = self.swarms.entry(announce.info_hash).or_default();
        // Who has not been heard of for two intervals and a bit is gone.
        let interval = Duration::from_secs(self.plan.interval_s.into());
        let patience = interval * 5 / 2;
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
        let mut peers: Vec<SocketAddr> = others.sample(&mut self.rng, wanted).copied().collect();
        spoilt::peers(
            &mut peers,
            SocketAddr::new(from, announce.port),
            faults,
            &mut self.faults_rng,
        );
        let seeds = swarm.values().filter(|member| member.left == 0).count() as u32;
        AnnounceResponse {
            interval,
            min_interval: None,
            complete: Some(seeds),
            incomplete: Some(swarm.len() as u32 - seeds),
            peers,
            warning: None,
            tracker_id: None,
        }
    }
}
