//! I-WASTE: nobody asks again and again, and what comes is mostly of use.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use reseed_protocol::{
    Block, ConnectionId, Layout, Time, Torrent,
    torrent::{Event, Frame, Speaker, Spoken},
    wire::Message,
};

use super::{Code, Finding, Oracle, Scene, brought};
use crate::Plan;

/// What is counted is counted over this time.
const MINUTE: Duration = Duration::from_secs(60);

/// Requests of one block of one remote in a minute (count), as long as that neither
/// chokes nor rejects nor says anew that it has it, and what it sends is right.
const REQUESTS_MAX: usize = 4;

/// Attempts at one address in a minute that come to nothing, and connections to it that
/// end (count).
const ENDS_MAX: usize = 4;

/// Bytes that may come twice beside a quarter of the content, for each connection that
/// there was: what was asked of it when somebody else was quicker.
const TWICE_MAX: u64 = 256 * 1024;

/// Counts along with the wire.
pub(super) struct Waste {
    layout: Layout,
    /// Who streams, and so has to ask again for what is played next (I-STREAM).
    streams: Vec<bool>,
    peers: Vec<Spent>,
    checks: u64,
}

/// What a peer has asked for and got since it started.
#[derive(Default)]
struct Spent {
    requests: BTreeMap<ConnectionId, BTreeMap<Block, Times>>,
    ends: BTreeMap<SocketAddr, Times>,
    connections: u64,
    /// Content that came (bytes), and what of it was of pieces that failed.
    came: u64,
    failed: u64,
}

impl Waste {
    pub(super) fn new(plan: &Plan, layout: Layout) -> Waste {
        let peers = plan.peers.iter().map(|_| Spent::default()).collect();
        let streams = plan.peers.iter().map(|peer| peer.stream).collect();
        Waste { layout, streams, peers, checks: 0 }
    }
}

impl Oracle for Waste {
    fn code(&self) -> Code {
        Code::Waste
    }

    fn checks(&self) -> u64 {
        self.checks
    }

    fn started(&mut self, peer: usize) {
        self.peers[peer] = Spent::default();
    }

    fn spoke(&mut self, scene: Scene<'_>, _: &Torrent, spoken: &Spoken) -> Finding {
        let spent = &mut self.peers[scene.peer];
        let Frame::Message(message) = &spoken.frame else { return Ok(()) };
        match (spoken.by, message) {
            (Speaker::Us, Message::Request(block)) if !self.streams[scene.peer] => {
                self.checks += 1;
                let requests = spent.requests.entry(spoken.connection).or_default();
                let times = requests.entry(*block).or_default();
                let count = count(times, scene.now);
                if count > REQUESTS_MAX {
                    return Err(format!(
                        "it asks {} for {block:?} for the {count}th time in a minute",
                        spoken.addr
                    ));
                }
            }
            (Speaker::Remote, Message::Choke | Message::Reject(_)) => {
                spent.requests.remove(&spoken.connection);
            }
            // It has the piece anew, so it had lost it.
            (Speaker::Remote, Message::Have { piece }) => {
                if let Some(requests) = spent.requests.get_mut(&spoken.connection) {
                    requests.retain(|block, _| block.piece != *piece);
                }
            }
            (Speaker::Remote, message) => {
                let Some((block, _)) = brought(message) else { return Ok(()) };
                self.checks += 1;
                spent.came += u64::from(block.length);
                let useful = self.layout.total_length() + spent.failed;
                let most = useful + useful / 4 + TWICE_MAX * spent.connections;
                if spent.came > most {
                    return Err(format!(
                        "{} bytes have come of {} that it could use; {most} are allowed",
                        spent.came, useful
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn happened(&mut self, scene: Scene<'_>, _: &Torrent, event: &Event) -> Finding {
        let spent = &mut self.peers[scene.peer];
        match event {
            Event::Connected { .. } => spent.connections += 1,
            Event::PieceFailed { piece, .. }
            | Event::WriteFailed { piece, .. }
            | Event::PieceLost { piece, .. } => {
                for requests in spent.requests.values_mut() {
                    requests.retain(|block, _| block.piece != *piece);
                }
                spent.failed += u64::from(self.layout.length_of(*piece));
            }
            Event::Disconnected { connection, addr, reason } => {
                self.checks += 1;
                spent.requests.remove(connection);
                let count = count(spent.ends.entry(*addr).or_default(), scene.now);
                if count > ENDS_MAX {
                    return Err(format!(
                        "{count} connections to {addr} have come to an end in a minute; the last: \
                         {reason}"
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// When something happened. Most of it happens once.
#[derive(Default)]
enum Times {
    #[default]
    Never,
    Once(Time),
    Often(VecDeque<Time>),
}

/// Adds `now` to `times`, and tells how many of them are of the last minute.
fn count(times: &mut Times, now: Time) -> usize {
    let all = match times {
        Times::Never => {
            *times = Times::Once(now);
            return 1;
        }
        Times::Once(first) => {
            *times = Times::Often(VecDeque::from([*first]));
            return count(times, now);
        }
        Times::Often(all) => all,
    };
    all.push_back(now);
    while all.front().is_some_and(|first| now.since(*first) > MINUTE) {
        all.pop_front();
    }
    all.len()
}
