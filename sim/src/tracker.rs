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
    tracker::{
        AnnounceRequest, AnnounceResponse, Event, ScrapeResponse, SwarmCounts, UdpRequest,
        UdpResponse, read_scrape_query,
    },
};

use crate::{
    plan::{TrackerFault, TrackerPlan},
    stage::any_like,
};

/// Peers in an answer, if the peer does not say how many it wants (count).
const PEERS_DEFAULT: u32 = 50;

/// Bytes of a datagram that are read: an announce, and a URL of BEP 41.
const DATAGRAM_MAX: usize = 2048;

/// A tracker's memory: who shares what.
struct Tracker {
    plan: TrackerPlan,
    swarms: BTreeMap<InfoHash, BTreeMap<PeerId, Member>>,
    /// How often each torrent was completed (count).
    downloaded: BTreeMap<InfoHash, u32>,
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
    let at = SocketAddr::new(any_like(plan.address), TrackerPlan::PORT);
    let rng = env.rng("tracker");
    let faults_rng = env.rng("faults");
    let mut tracker = Tracker {
        plan,
        swarms: BTreeMap::new(),
        downloaded: BTreeMap::new(),
        rng,
        faults_rng,
        transactions: BTreeMap::new(),
    };
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
    if request.uri().path() == "/scrape" {
        let body = match read_scrape_query(request.uri().query().unwrap_or_default()) {
            Ok(swarms) => tracker.borrow_mut().scrape(&swarms, now).to_bytes(),
            Err(error) => AnnounceResponse::failure(&error.to_string()),
        };
        return status(StatusCode::OK, body);
    }
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
            UdpRequest::Scrape { transaction, swarms, .. } => {
                let known = self.scrape(&swarms, now).swarms;
                let counts = |swarm| known.get(swarm).copied().unwrap_or_default();
                UdpResponse::Scrape { transaction, swarms: swarms.iter().map(counts).collect() }
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
        forget_the_silent(swarm, self.plan.interval(), now);
        if announce.event == Some(Event::Completed) {
            *self.downloaded.entry(announce.info_hash).or_default() += 1;
        }
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
            interval: self.plan.interval(),
            min_interval: None,
            complete: Some(seeds),
            incomplete: Some(swarm.len() as u32 - seeds),
            peers,
            warning: None,
            tracker_id: None,
        }
    }

    /// How these swarms stand, as far as they are known. BEP 48.
    fn scrape(&mut self, swarms: &[InfoHash], now: Time) -> ScrapeResponse {
        let mut response = ScrapeResponse::default();
        for info_hash in swarms {
            let Some(swarm) = self.swarms.get_mut(info_hash) else { continue };
            forget_the_silent(swarm, self.plan.interval(), now);
            let complete = swarm.values().filter(|member| member.left == 0).count() as u32;
            let downloaded = self.downloaded.get(info_hash).copied().unwrap_or_default();
            let incomplete = swarm.len() as u32 - complete;
            response.swarms.insert(*info_hash, SwarmCounts { complete, downloaded, incomplete });
        }
        response
    }
}

/// Who has not been heard of for two intervals and a bit is gone.
fn forget_the_silent(swarm: &mut BTreeMap<PeerId, Member>, interval: Duration, now: Time) {
    let patience = interval * 5 / 2;
    swarm.retain(|_, member| now - member.heard <= patience);
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use reseed_client::scrape;

    use super::*;
    use crate::{HostLink, World, WorldOptions, plan::LinkPlan};

    const SWARM: InfoHash = InfoHash([7; 20]);

    fn announce(peer: u8, left: u64, event: Option<Event>) -> AnnounceRequest {
        AnnounceRequest {
            info_hash: SWARM,
            peer_id: PeerId([peer; 20]),
            port: 6881,
            uploaded: 0,
            downloaded: 0,
            left,
            event,
            numwant: None,
            compact: true,
            key: 0,
            tracker_id: None,
        }
    }

    /// BEP 48, BEP 15: whoever asks a tracker of this world learns how a swarm stands.
    #[test]
    fn a_scrape_tells_who_takes_part_over_http_and_udp_and_over_both_versions_of_ip() {
        for (address, udp) in
            [("10.0.255.1", false), ("10.0.255.1", true), ("fd00::ff", false), ("fd00::ff", true)]
        {
            let address: IpAddr = address.parse().unwrap();
            let mut world = World::new(WorldOptions::default());
            let own = if address.is_ipv4() { "10.0.0.1" } else { "fd00::1" };
            let tracker = world.add_host("tracker", [address], HostLink::default());
            let user = world.add_host("user", [own.parse().unwrap()], HostLink::default());
            let link = LinkPlan { latency_us: 0, jitter_us: 0, bandwidth: None, queue: None };
            let plan = TrackerPlan {
                address,
                interval_s: 60,
                silent: false,
                udp,
                faults: Vec::new(),
                link,
            };
            let (network, env) = (tracker.network(), tracker.env());
            tracker
                .spawn("tracker", serve(network, env, plan, |_, _: &AnnounceRequest| {}, |_| {}));
            let answers = Rc::new(RefCell::new(Vec::new()));
            let told = answers.clone();
            let (network, env) = (user.network(), user.env());
            let plan_url = format!(
                "{}://{}/announce",
                if udp { "udp" } else { "http" },
                SocketAddr::new(address, TrackerPlan::PORT)
            );
            user.spawn("user", async move {
                let ask = || scrape(&network, &env, &plan_url, SWARM, Duration::from_secs(20));
                let before = ask().await.unwrap();
                for (peer, left, event) in [
                    (1, 0, Some(Event::Started)),
                    (2, 9, Some(Event::Started)),
                    (3, 9, Some(Event::Started)),
                    (3, 0, Some(Event::Completed)),
                    (4, 9, Some(Event::Started)),
                    (4, 9, Some(Event::Stopped)),
                ] {
                    let request = announce(peer, left, event);
                    announced_to(&network, &env, &plan_url, &request).await;
                }
                let after = ask().await.unwrap();
                told.replace(vec![before, after]);
            });
            world.run_until(Time::from_secs(100)).unwrap();
            assert_eq!(world.panics(), []);
            let expected = SwarmCounts { complete: 2, downloaded: 1, incomplete: 1 };
            let unknown = udp.then(SwarmCounts::default);
            assert_eq!(answers.take(), [unknown, Some(expected)], "{address}, UDP: {udp}");
        }
    }

    async fn announced_to<N: Network>(
        network: &N,
        env: &impl Env,
        url: &str,
        request: &AnnounceRequest,
    ) {
        if url.starts_with("http") {
            reseed_client::announce(network, &request.url(url)).await.unwrap();
            return;
        }
        let to: SocketAddr =
            url.trim_start_matches("udp://").trim_end_matches("/announce").parse().unwrap();
        let socket = network.datagrams(SocketAddr::new(any_like(to.ip()), 0)).await.unwrap();
        let announce = request.clone();
        let url_data = "/announce".to_owned();
        let transaction = env.now().as_nanos() as u32 | u32::from(request.peer_id.0[0]);
        let request = UdpRequest::Announce { connection: 1, transaction, announce, url_data };
        socket.send_to(&request.encode(), to).await.unwrap();
        socket.receive_from(&mut [0; DATAGRAM_MAX]).await.unwrap();
    }
}
