//! Asking a tracker over UDP. BEP 15, BEP 41, BEP 48.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rand_chacha::ChaCha8Rng;
use reseed_protocol::{
    InfoHash,
    tracker::{AnnounceRequest, AnnounceResponse, SwarmCounts, UdpAnswer, UdpExchange},
};
use url::{Position, Url};

use super::AnnounceError;
use crate::{Datagrams, Env, Network, race};

/// Bytes of a datagram that are read: more peers than an answer commonly has.
const DATAGRAM_MAX: usize = 8 * 1024;

/// Announces to the tracker at `url`, and asks again as long as it does not answer:
/// race it with a time-out, and drop it to give up.
pub(crate) async fn announce_udp(
    network: &impl Network,
    env: &impl Env,
    url: &Url,
    request: &AnnounceRequest,
    rng: &mut ChaCha8Rng,
) -> Result<AnnounceResponse, AnnounceError> {
    let exchange = |address: SocketAddr| {
        let url_data = url[Position::BeforePath..Position::AfterQuery].to_owned();
        UdpExchange::new(request.clone(), url_data, address.is_ipv6())
    };
    match ask(network, env, url, exchange, rng).await? {
        UdpAnswer::Announced(response) => Ok(response),
        UdpAnswer::Scraped(_) => unreachable!("the exchange takes no other answer"),
    }
}

/// Scrapes `swarm` of the tracker at `url`, as often and as long as [`announce_udp`].
/// BEP 15.
pub(crate) async fn scrape_udp(
    network: &impl Network,
    env: &impl Env,
    url: &Url,
    swarm: InfoHash,
    rng: &mut ChaCha8Rng,
) -> Result<Option<SwarmCounts>, AnnounceError> {
    let exchange = |_| UdpExchange::scrape(vec![swarm]);
    match ask(network, env, url, exchange, rng).await? {
        UdpAnswer::Scraped(swarms) => Ok(swarms.first().copied()),
        UdpAnswer::Announced(_) => unreachable!("the exchange takes no other answer"),
    }
}

/// Asks the first address that can be asked.
async fn ask(
    network: &impl Network,
    env: &impl Env,
    url: &Url,
    exchange: impl Fn(SocketAddr) -> UdpExchange,
    rng: &mut ChaCha8Rng,
) -> Result<UdpAnswer, AnnounceError> {
    let mut failure = AnnounceError::Unsupported { url: url.clone() };
    for address in super::addresses(network, url).await? {
        match exchange_with(network, env, address, exchange(address), rng).await {
            Err(AnnounceError::Connect { address, source }) => {
                failure = AnnounceError::Connect { address, source };
            }
            answered => return answered,
        }
    }
    Err(failure)
}

async fn exchange_with(
    network: &impl Network,
    env: &impl Env,
    address: SocketAddr,
    mut exchange: UdpExchange,
    rng: &mut ChaCha8Rng,
) -> Result<UdpAnswer, AnnounceError> {
    let connect = |source| AnnounceError::Connect { address, source };
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = network.datagrams(SocketAddr::new(any, 0)).await.map_err(connect)?;
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        if let Some(datagram) = exchange.poll(env.now(), rng) {
            socket.send_to(&datagram, address).await.map_err(connect)?;
        }
        let due = exchange.poll_timeout().unwrap_or(env.now());
        let (length, from) = race! {
            received = socket.receive_from(&mut buffer) => received.map_err(connect)?,
            () = env.sleep_until(due) => continue,
        };
        if from != address {
            continue;
        }
        match exchange.receive(&buffer[..length], env.now()) {
            None => {}
            Some(Ok(answer)) => return Ok(answer),
            Some(Err(reason)) => return Err(AnnounceError::Refused { reason }),
        }
    }
}
