//! `reseed get`

use std::{
    io::{self, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use indicatif::{HumanBytes, MultiProgress};
use miette::miette;
use reseed_client::State;
use reseed_protocol::{MagnetError, read_selection};

use super::{
    Status, Stop,
    peer::{Endpoint, Options, Peer, Role, Subject, Whole, has_room, resolve},
};

/// Downloads a torrent over the real network
///
/// It connects to the peers that are named, to the torrent's tracker, and to whom those
/// tell of; to nobody else. Ctrl-C ends it; the same command then goes on from there.
///
/// Exit status: 0 complete, 1 failed, 2 usage or bad input, 3 interrupted before it was
/// complete.
#[derive(clap::Args)]
pub struct Args {
    /// What to download
    #[arg(value_name = "FILE.torrent|MAGNET")]
    torrent: String,
    /// The folder to put it in; made if it is not there
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Where to listen for other peers; any port of every address if not given
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<Endpoint>,
    /// Get these files only, by their number from 0, as in 0,2,4-6 (BEP 53); by default
    /// those that the magnet link names, or all
    #[arg(long, value_name = "FILES", value_parser = Selection::read)]
    select: Option<Selection>,
    /// Share it for so many seconds after it is complete
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    stay: u64,
    #[command(flatten)]
    options: Options,
}

/// Downloads what was asked for.
pub fn get(args: &Args, bars: &MultiProgress) -> Result<Status, Stop> {
    let subject = Subject::read(&args.torrent)?;
    let (options, mut named) = (&args.options, args.options.peers.clone());
    let mut select = args.select.clone().map(|selection| selection.0).unwrap_or_default();
    if let Subject::Magnet(magnet) = &subject {
        if args.select.is_none() {
            select.clone_from(&magnet.select_only);
        }
        // One that makes no sense is the link's mistake, and not the user's.
        named.extend(magnet.peers.iter().filter_map(|peer| Endpoint::parse_peer(peer).ok()));
    }
    let tracker = subject.has_tracker() && !options.no_tracker;
    if !tracker && named.is_empty() && args.listen.is_none() {
        return Err(miette!(
            help = "name a peer with --peer HOST:PORT, or let peers come with --listen HOST:PORT",
            "there is nobody to get {} from: no tracker is asked, and no peer is named",
            subject.name()
        )
        .into());
    }
    let peers = resolve(&named)?;
    let listen = match &args.listen {
        Some(listen) => resolve(std::slice::from_ref(listen))?[0],
        None => any_address(),
    };
    if let Subject::Torrent(metainfo) = &subject {
        has_room(metainfo, &args.to)?;
    }
    let role = Role::Leecher { stay: Duration::from_secs(args.stay) };
    let peer =
        Peer { subject, folder: &args.to, listen, peers, options, role, select, super_seed: false };
    let mut complete = false;
    let status = peer.run(bars, |whole| {
        complete = true;
        tell(&whole)
    })?;
    if let (State::Failed, Some(error)) = (status.state, &status.error) {
        eprintln!("reseed: the download failed: {error}");
        return Ok(Status::Fail);
    }
    if !complete {
        let (verified, pieces) = (status.verified, status.pieces);
        let mut out = io::stdout();
        writeln!(out, "interrupted with {verified} of {pieces} pieces; the same command goes on")?;
        return Ok(Status::Unknown);
    }
    Ok(Status::Pass)
}

/// Any port of every address, of both versions if the machine has both.
fn any_address() -> SocketAddr {
    let of_both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    match TcpListener::bind(of_both) {
        Ok(_) => of_both,
        Err(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
    }
}

fn tell(whole: &Whole) -> io::Result<()> {
    let reseed_client::Status { pieces, verified, length, .. } = whole.status;
    let came = verified - whole.found;
    let share = |count: u32| length as f64 * f64::from(count) / f64::from(pieces);
    let all = HumanBytes(share(verified) as u64);
    let mut out = io::stdout().lock();
    if came == 0 {
        return writeln!(out, "complete: all {all} were here already");
    }
    let seconds = whole.took.as_secs_f64();
    let rate = HumanBytes((share(came) / seconds) as u64);
    writeln!(out, "complete: {all}; {came} of {pieces} pieces came in {seconds:.3} s, {rate}/s")?;
    out.flush()
}

/// Files to get.
#[derive(Debug, Clone)]
struct Selection(Vec<RangeInclusive<u32>>);

impl Selection {
    fn read(text: &str) -> Result<Selection, MagnetError> {
        read_selection(text).map(Selection)
    }
}
