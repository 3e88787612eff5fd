//! `reseed seed`

use std::{
    io::{self, Write},
    path::PathBuf,
};

use indicatif::{HumanBytes, MultiProgress};
use miette::miette;
use reseed_client::State;

use super::{
    Status, Stop,
    peer::{Endpoint, Options, Peer, Role, Subject, has_room, read_torrent, resolve},
};

/// Shares a torrent's content over the real network
///
/// The content is checked first, and must be whole; nothing is written. It announces to
/// the torrent's tracker, if it names one, and goes on until Ctrl-C.
///
/// Exit status: 0 interrupted, 1 failed, 2 usage or bad input.
#[derive(clap::Args)]
pub struct Args {
    /// What to share
    #[arg(value_name = "FILE.torrent")]
    torrent: PathBuf,
    /// The folder that the content is in, under the torrent's name
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Where to listen; port 0 takes any free port
    #[arg(long, value_name = "HOST:PORT")]
    listen: Endpoint,
    /// Show each peer a piece at a time, and the next once others have that (BEP 16): for
    /// the first seed of a torrent, which then sends about one copy
    #[arg(long)]
    super_seed: bool,
    #[command(flatten)]
    options: Options,
}

/// Shares what was asked for.
pub fn seed(args: &Args, bars: &MultiProgress) -> Result<Status, Stop> {
    let metainfo = read_torrent(&args.torrent)?;
    if !args.from.is_dir() {
        return Err(miette!("{} is no folder with content in it", args.from.display()).into());
    }
    has_room(&metainfo, &args.from)?;
    let options = &args.options;
    let peers = resolve(&options.peers)?;
    let listen = resolve(std::slice::from_ref(&args.listen))?[0];
    let subject = Subject::Torrent(metainfo);
    let name = subject.name();
    let peer = Peer {
        subject,
        folder: &args.from,
        listen,
        peers,
        options,
        role: Role::Seed,
        select: Vec::new(),
        super_seed: args.super_seed,
    };
    let status = peer.run(bars, |whole| {
        let mut out = io::stdout().lock();
        writeln!(out, "seeding {name}, {}, at {}", HumanBytes(whole.status.length), whole.at)?;
        out.flush()
    })?;
    if let (State::Failed, Some(error)) = (status.state, &status.error) {
        eprintln!("reseed: cannot share {}: {error}", args.from.display());
        return Ok(Status::Fail);
    }
    writeln!(io::stdout(), "stopped: {} were sent", HumanBytes(status.uploaded))?;
    Ok(Status::Pass)
}
