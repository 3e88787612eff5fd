//! I-GIVE: among those who stream, who passes on more is unchoked before who passes on
//! less, and nobody reports more than it passed on.

use std::{collections::BTreeMap, net::SocketAddr};

use reseed_protocol::{
    Connection, ConnectionId, Forwarding, Layout, Meter, Time, Torrent,
    extension::{Extension, ExtensionHandshake, give_to_get::ForwardReport},
    torrent::{Event, Frame, Speaker, Spoken},
    wire::Message,
};

use super::{Code, Finding, Oracle, Scene, Touched, brought};
use crate::Plan;

/// Adds up, from what is said on the wire alone, what each remote passes on, and what we
/// pass on to whom:
/// - In a choker's round, at most one who reports less is unchoked while one that
///   reports more is choked: the optimistic unchoke.
/// - No more of a piece is reported to a remote than went to others.
/// - Who streams offers give-to-get, and nobody else.
///
/// Where somebody who streams is sure to have no upload slots, and so never gives, only choices
/// between who passes on more and who passes on less count as checks.
pub(super) struct Give {
    streams: Vec<bool>,
    has_free_riders: bool,
    layout: Layout,
    peers: Vec<Peer>,
    checks: u64,
    choices: u64,
}

#[derive(Default)]
struct Peer {
    remotes: BTreeMap<ConnectionId, Remote>,
    /// Bytes of each piece that it gave to anybody.
    sent: BTreeMap<u32, u64>,
    next_round: Option<Time>,
    round: Option<Round>,
    /// What it reported at this instant, and to whom.
    reports: Vec<(ConnectionId, ForwardReport)>,
    now: Time,
}

/// A round of a choker.
struct Round {
    at: Time,
    contenders: Vec<Contender>,
}

/// Who was interested then.
struct Contender {
    connection: ConnectionId,
    addr: SocketAddr,
    choked: bool,
}

/// What was said on one connection.
#[derive(Default)]
struct Remote {
    /// The ids under which each side takes reports: we, the remote.
    ids: [Option<u8>; 2],
    /// Bytes of each piece that we gave it.
    given: BTreeMap<u32, u64>,
    /// What it was told that we gave to others, hundredths of each piece.
    told: BTreeMap<u32, u64>,
    /// What it passes on of what we gave it, and in all, since it was established.
    meters: Option<[Meter; 2]>,
    /// When it last said so.
    reported: Option<Time>,
}

impl Remote {
    fn takes_part(&self) -> bool {
        self.ids.iter().all(Option::is_some)
    }

    fn forwarding(&self, now: Time) -> Forwarding {
        let rates = self.meters.as_ref().map(|meters| meters.each_ref().map(|it| it.rate(now)));
        let [ours, overall] = rates.unwrap_or_default();
        Forwarding { ours, overall }
    }

    /// It reported what it passed on: credits it, what was ours in proportion.
    fn credit(&mut self, report: &ForwardReport, layout: &Layout, since: Time, now: Time) {
        self.reported = Some(now);
        let [ours, overall] =
            self.meters.get_or_insert_with(|| [Meter::new(since), Meter::new(since)]);
        for (&piece, &share) in report.shares.iter().filter(|(piece, _)| **piece < layout.pieces())
        {
            let length = u64::from(layout.length_of(piece));
            let passed_on = length * u64::from(share) / 100;
            let given = self.given.get(&piece).copied().unwrap_or(0).min(length);
            overall.add(passed_on, now);
            ours.add(passed_on * given / length, now);
        }
    }

    /// We reported to it, and have given everybody this much: was it true?
    fn hold(
        &mut self,
        report: &ForwardReport,
        sent: &BTreeMap<u32, u64>,
        layout: &Layout,
    ) -> Finding {
        for (&piece, &share) in &report.shares {
            let length = u64::from(layout.length_of(piece));
            let bytes = |of: &BTreeMap<u32, u64>| of.get(&piece).copied().unwrap_or(0);
            let passed_on = bytes(sent) - bytes(&self.given);
            let told = self.told.entry(piece).or_default();
            *told += u64::from(share);
            if *told * length > passed_on * 100 {
                return Err(format!(
                    "it reports {share} % of piece {piece}, in all {told} %, and has passed on \
                     {passed_on} of {length} bytes"
                ));
            }
        }
        Ok(())
    }
}

impl Give {
    pub(super) fn new(plan: &Plan, layout: Layout) -> Give {
        let gives_nothing = |peer: &crate::plan::PeerPlan| {
            peer.stream && peer.upload_slots == 0 && !peer.if_possible
        };
        Give {
            streams: plan.peers.iter().map(|peer| peer.stream).collect(),
            has_free_riders: plan.peers.iter().any(gives_nothing),
            layout,
            peers: plan.peers.iter().map(|_| Peer::default()).collect(),
            checks: 0,
            choices: 0,
        }
    }

    /// Looks at what a peer did at an earlier instant, now that all that was said then
    /// has been heard of.
    fn look_back(&mut self, scene: Scene<'_>) -> Finding {
        let peer = &mut self.peers[scene.peer];
        for (connection, report) in std::mem::take(&mut peer.reports) {
            if let Some(remote) = peer.remotes.get_mut(&connection) {
                remote.hold(&report, &peer.sent, &self.layout)?;
            }
        }
        if let Some(round) = peer.round.take() {
            self.choices += u64::from(round.judge(&peer.remotes)?);
        }
        Ok(())
    }
}

impl Round {
    /// Who is choked and who is not of those who are interested, after a round at `at`.
    fn held(torrent: &Torrent, at: Time) -> Round {
        // In a closed swarm who has no access, or has it no more, gets no slot.
        let interested = torrent.connections().filter(|connection| {
            connection.is_established()
                && connection.is_peer_interested()
                && connection.may_have_content()
        });
        let contender = |connection: &Connection| Contender {
            connection: connection.id(),
            addr: connection.addr(),
            choked: connection.is_choking(),
        };
        Round { at, contenders: interested.map(contender).collect() }
    }

    /// Whether somebody was preferred because it passes on more.
    fn judge(self, remotes: &BTreeMap<ConnectionId, Remote>) -> Result<bool, String> {
        let forwarders = self.contenders.iter().filter_map(|contender| {
            let remote = remotes.get(&contender.connection).filter(|it| it.takes_part())?;
            Some((contender, remote))
        });
        let forwarders: Vec<_> = forwarders.collect();
        if forwarders.iter().any(|(_, remote)| remote.reported == Some(self.at)) {
            // Whether that was before the round or after it is not known.
            return Ok(false);
        }
        let rated = forwarders.into_iter().map(|(it, remote)| (it, remote.forwarding(self.at)));
        let (choked, unchoked): (Vec<_>, Vec<_>) = rated.partition(|(it, _)| it.choked);
        let Some((best, most)) = choked.iter().max_by_key(|(_, forwarding)| *forwarding) else {
            return Ok(false);
        };
        let worse: Vec<_> = unchoked.iter().filter(|(_, less)| less < most).collect();
        if let [(one, less), _, ..] = worse[..] {
            return Err(format!(
                "after the round at {} s {} reports to pass on {} bytes of ours a second and {} in \
                 all, and is choked, while {} of those are unchoked that report less, as {} with \
                 {} and {}",
                self.at,
                best.addr,
                most.ours,
                most.overall,
                worse.len(),
                one.addr,
                less.ours,
                less.overall,
            ));
        }
        Ok(unchoked.iter().any(|(_, more)| choked.iter().any(|(_, less)| more > less)))
    }
}

impl Oracle for Give {
    fn code(&self) -> Code {
        Code::Give
    }

    fn checks(&self) -> u64 {
        if self.has_free_riders { self.choices } else { self.checks }
    }

    fn started(&mut self, peer: usize) {
        self.peers[peer] = Peer::default();
    }

    fn happened(&mut self, scene: Scene<'_>, _: &Torrent, event: &Event) -> Finding {
        if let Event::Disconnected { connection, .. } = event {
            self.peers[scene.peer].remotes.remove(connection);
        }
        Ok(())
    }

    fn spoke(&mut self, scene: Scene<'_>, torrent: &Torrent, spoken: &Spoken) -> Finding {
        let Frame::Message(message) = &spoken.frame else { return Ok(()) };
        let Spoken { connection, by, .. } = *spoken;
        let Peer { remotes, sent, reports, .. } = &mut self.peers[scene.peer];
        let remote = remotes.entry(connection).or_default();
        if let (Some((block, data)), Speaker::Us) = (brought(message), by) {
            for given in [&mut remote.given, sent] {
                *given.entry(block.piece).or_default() += data.len() as u64;
            }
        }
        let Message::Extended { id, payload } = message else { return Ok(()) };
        let side = usize::from(by == Speaker::Remote);
        if *id == 0
            && let Ok(handshake) = ExtensionHandshake::decode(payload)
        {
            if let Some(id) = handshake.m.get(Extension::GiveToGet.name()).copied() {
                remote.ids[side] = Some(id).filter(|id| *id > 0);
            }
            self.checks += 1;
            if by == Speaker::Us && remote.ids[0].is_some() != self.streams[scene.peer] {
                return Err("it streams and does not offer give-to-get, or the other way".into());
            }
        } else if remote.takes_part() && Some(*id) == remote.ids[1 - side] {
            let Ok(report) = ForwardReport::decode(payload) else { return Ok(()) };
            self.checks += 1;
            match by {
                Speaker::Us => reports.push((connection, report)),
                Speaker::Remote => {
                    let connection = torrent.connection(connection);
                    let since = connection.map_or(scene.now, |it| it.established_at());
                    remote.credit(&report, &self.layout, since, scene.now);
                }
            }
        }
        Ok(())
    }

    fn stepped(&mut self, scene: Scene<'_>, torrent: &Torrent, _: Touched<'_>) -> Finding {
        if std::mem::replace(&mut self.peers[scene.peer].now, scene.now) < scene.now {
            self.look_back(scene)?;
        }
        let peer = &mut self.peers[scene.peer];
        let next = torrent.choker().poll_timeout();
        let held = peer.next_round.replace(next).is_some_and(|before| before != next);
        if held && !torrent.is_stopping() {
            peer.round = Some(Round::held(torrent, scene.now));
        }
        Ok(())
    }
}
