use std::time::Duration;

use reseed_protocol::{
    InfoHash,
    tracker::{self, ScrapeResponse, SwarmCounts, scrape_query, scrape_url},
};
use url::Url;

use super::{AnnounceError, announce, udp::scrape_udp};
use crate::{Env, Network, race::timeout_at};

/// Why it is not known how a swarm stands.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScrapeError {
    /// BEP 48 makes the URL of scrapes of the announce URL's `announce`.
    #[error("it takes no scrapes: the last part of its path does not begin with `announce`")]
    NoScrapes,
    /// The tracker could not be asked.
    #[error(transparent)]
    Ask(#[from] AnnounceError),
    /// It answered something else.
    #[error(transparent)]
    Answer(#[from] tracker::AnnounceError),
    /// It did not answer in time.
    #[error("no answer within {} s", within.as_secs())]
    Silence {
        /// How long it had.
        within: Duration,
    },
}

/// Asks the tracker that takes announces at `announce_url` how the swarm of a torrent
/// stands, without taking part in it; gives up after `patience`. `None` is a swarm that
/// the tracker does not know. BEP 48; over UDP, BEP 15.
pub async fn scrape(
    network: &impl Network,
    env: &impl Env,
    announce_url: &str,
    swarm: InfoHash,
    patience: Duration,
) -> Result<Option<SwarmCounts>, ScrapeError> {
    let asked = async {
        let parsed = Url::parse(announce_url);
        if let Ok(url) = parsed.as_ref()
            && url.scheme() == "udp"
        {
            let mut rng = env.rng(&format!("scrape of {announce_url} at {}", env.now()));
            return Ok(scrape_udp(network, env, url, swarm, &mut rng).await?);
        }
        let url = scrape_url(announce_url).ok_or(ScrapeError::NoScrapes)?;
        let joint = if url.contains('?') { '&' } else { '?' };
        let body = announce(network, &format!("{url}{joint}{}", scrape_query(&[swarm]))).await?;
        Ok(ScrapeResponse::from_bytes(&body)?.swarms.get(&swarm).copied())
    };
    match timeout_at(env, env.now() + patience, asked).await {
        Some(result) => result,
        None => Err(ScrapeError::Silence { within: patience }),
    }
}
