//! `reseed scrape`

use std::{
    io::{self, Write},
    time::Duration,
};

use reseed_client::{TokioEnv, TokioNetwork, scrape};
use reseed_protocol::tracker::SwarmCounts;
use serde::Serialize;

use super::{
    Status, Stop,
    peer::{Subject, block_on},
};

/// Asks a torrent's trackers how many seeds and leechers there are
///
/// Each tracker is asked by a scrape (BEP 48), over HTTP or UDP, without taking part in
/// the swarm.
///
/// Exit status: 0 a tracker told, 1 none did, 2 usage or bad input.
#[derive(clap::Args)]
pub struct Args {
    /// What to ask about
    #[arg(value_name = "FILE.torrent|MAGNET")]
    torrent: String,
    /// One JSON object a tracker
    #[arg(long)]
    json: bool,
    /// How long a tracker may take to answer
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    patience: u64,
}

/// What a tracker told.
#[derive(Serialize)]
struct Line<'a> {
    tracker: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    seeds: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leechers: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    downloads: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Asks and prints.
pub fn scrape_trackers(args: &Args) -> Result<Status, Stop> {
    let subject = Subject::read(&args.torrent)?;
    let trackers = subject.trackers();
    if trackers.is_empty() {
        return Err(miette::miette!("{} names no tracker to ask", subject.name()).into());
    }
    let env = TokioEnv::new().map_err(|error| miette::miette!("cannot get randomness: {error}"))?;
    let (network, patience) = (TokioNetwork::new(), Duration::from_secs(args.patience));
    let mut told = false;
    for tracker in &trackers {
        let asked = scrape(&network, &env, tracker, subject.info_hash(), patience);
        let answer = match block_on(asked)? {
            Ok(Some(counts)) => Ok(counts),
            Ok(None) => Err("it does not know the torrent".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        told |= answer.is_ok();
        tell(tracker, answer, args.json)?;
    }
    Ok(if told { Status::Pass } else { Status::Fail })
}

fn tell(tracker: &str, answer: Result<SwarmCounts, String>, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        let counts = answer.as_ref().ok();
        let line = Line {
            tracker,
            seeds: counts.map(|counts| counts.complete),
            leechers: counts.map(|counts| counts.incomplete),
            downloads: counts.map(|counts| counts.downloaded),
            error: answer.err(),
        };
        serde_json::to_writer(&mut out, &line).map_err(io::Error::from)?;
        return writeln!(out);
    }
    match answer {
        Ok(SwarmCounts { complete, incomplete, downloaded }) => writeln!(
            out,
            "{tracker}: {complete} seeds, {incomplete} leechers, {downloaded} downloads"
        ),
        Err(error) => writeln!(out, "{tracker}: {error}"),
    }
}
