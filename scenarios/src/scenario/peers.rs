//! Who is there, spelled out.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use rand::{RngExt, seq::SliceRandom};
use reseed_protocol::Video;
use reseed_sim::plan::{self, CertificatePlan, PeerPlan, ReportsPlan, TorrentPlan};

use super::{
    Certificate, Draw, Flag, Has, Lies, Locality, Peers, Place, Problem, Remnant, Reports,
    ScenarioError, app,
    plan::{Dice, at_most, check_name, layout},
    player,
};
use crate::nearest::nearest;

/// Addresses in a subnet of 256 that a host can have.
const HOSTS_A_SUBNET: usize = 254;
/// Subnets that peers can be put in: the second byte of an address.
const SUBNET_MAX: u32 = 254;
/// Subnets for peers: the last one, 10.0.255.0, is the tracker's.
const SUBNETS: usize = 255;
/// What no peer may be called, because the tracker is.
pub(super) const TRACKER: &str = plan::TRACKER;

/// Everybody's name.
pub(super) struct Roster<'a> {
    groups: Vec<Group<'a>>,
}

struct Group<'a> {
    peers: &'a Peers,
    members: Vec<String>,
}

impl<'a> Roster<'a> {
    pub(super) fn new(peers: &'a [Peers], dice: Dice<'_>) -> Result<Roster<'a>, ScenarioError> {
        let place = Place::root().field("peers");
        let mut taken = BTreeSet::from([TRACKER.to_owned()]);
        let mut total = 0;
        let mut groups = Vec::new();
        for (index, peers) in peers.iter().enumerate() {
            let at = |field| place.clone().index(index).field(field);
            check_name(&peers.name, at("name"))?;
            let subject = subject(&peers.name);
            let count =
                peers.count.map(|count| dice.of(&subject).number(count, &at("count")) as usize);
            total += count.unwrap_or(1);
            at_most(total as f64, (HOSTS_A_SUBNET * SUBNETS) as f64, "peers", at("count"))?;
            let members = match count {
                None => Vec::from([peers.name.clone()]),
                Some(count) => (1..=count).map(|n| format!("{}-{n}", peers.name)).collect(),
            };
            let here = dice.of(&subject).flag(peers.here, &at("here"));
            let members = if here { members } else { Vec::new() };
            let numbered = count.is_some() || !here;
            for name in members.iter().chain(numbered.then_some(&peers.name)) {
                if !taken.insert(name.clone()) {
                    return Err(at("name").problem(Problem::NameTaken { name: name.clone() }));
                }
            }
            groups.push(Group { peers, members });
        }
        if total == 0 {
            return Err(place.problem(Problem::Zero { what: "peers" }));
        }
        Ok(Roster { groups })
    }

    /// Each group as it stands in the scenario, and who is in it.
    pub(super) fn groups(&self) -> impl Iterator<Item = (&Peers, &[String])> {
        self.groups.iter().map(|group| (group.peers, group.members.as_slice()))
    }

    /// The one peer called `name`.
    pub(super) fn peer(&self, name: &str, place: Place) -> Result<String, ScenarioError> {
        match self.find(name) {
            Some(Found::Peer(name)) => Ok(name.to_owned()),
            Some(Found::Group(members)) => {
                Err(place.problem(Problem::Group { name: name.to_owned(), count: members.len() }))
            }
            None => Err(self.nobody(name, place)),
        }
    }

    /// The peer called `name`, or everybody in the group of that name.
    pub(super) fn all(&self, name: &str, place: Place) -> Result<&[String], ScenarioError> {
        match self.find(name) {
            Some(Found::Peer(name)) => Ok(std::slice::from_ref(name)),
            Some(Found::Group(members)) => Ok(members),
            None => Err(self.nobody(name, place)),
        }
    }

    /// Everybody, in the order of the plan.
    pub(super) fn everybody(&self) -> impl Iterator<Item = &String> {
        self.groups.iter().flat_map(|group| &group.members)
    }

    /// Whether `name` is that of a group.
    pub(super) fn is_group(&self, name: &str) -> bool {
        matches!(self.find(name), Some(Found::Group(_)))
    }

    fn find(&self, name: &str) -> Option<Found<'_>> {
        self.groups.iter().find_map(|group| {
            let several = group.peers.count.is_some() || group.members.is_empty();
            if several && group.peers.name == name {
                return Some(Found::Group(&group.members));
            }
            group.members.iter().find(|member| *member == name).map(Found::Peer)
        })
    }

    fn nobody(&self, name: &str, place: Place) -> ScenarioError {
        let known = self.groups.iter().flat_map(|group| {
            std::iter::once(&group.peers.name).chain(&group.members).map(String::as_str)
        });
        let nearest = nearest(name, &known.collect::<Vec<_>>()).map(str::to_owned);
        place.problem(Problem::NoSuchPeer { name: name.to_owned(), nearest })
    }
}

enum Found<'a> {
    Peer(&'a String),
    Group(&'a [String]),
}

pub(super) fn plan(
    roster: &Roster<'_>,
    torrent: &TorrentPlan,
    has_tracker: bool,
    ipv6: bool,
    dice: Dice<'_>,
) -> Result<Vec<PeerPlan>, ScenarioError> {
    let mut plans: Vec<PeerPlan> = Vec::new();
    let mut together = Vec::new();
    let mut known_back = Vec::new();
    for (index, group) in roster.groups.iter().enumerate() {
        for name in &group.members {
            let subject = subject(name);
            let drafting = Drafting {
                roster,
                pieces: layout(torrent).pieces(),
                video: torrent.video(),
                is_live: torrent.live.is_some(),
                is_private: torrent.private,
                has_tracker,
                dice: dice.of(&subject),
                place: Place::root().field("peers").index(index),
            };
            let subnet = drafting.subnet(group.peers)?;
            plans.push(drafting.peer(group.peers, name, address(subnet, plans.len(), ipv6))?);
            together.push(dice.of(&subject).flag(group.peers.same_host, &drafting.at("same_host")));
            if dice.of(&subject).flag(group.peers.known_back, &drafting.at("known_back")) {
                known_back.push(plans.len() - 1);
            }
        }
    }
    let sources = plans.iter().filter(|plan| plan.has == plan::Has::Everything).count();
    if torrent.live.is_some() && sources != 1 {
        return Err(Place::root()
            .field("torrent")
            .field("live")
            .problem(Problem::Sources(sources)));
    }
    put_on_one_host(plans.iter_mut().zip(together).filter(|(_, together)| *together));
    for peer in known_back {
        let PeerPlan { name, knows, .. } = plans[peer].clone();
        for other in plans.iter_mut().filter(|other| knows.contains(&other.name)) {
            if !other.knows.contains(&name) {
                other.knows.push(name.clone());
            }
        }
    }
    Ok(plans)
}

/// Gives these peers the address and link of the first, and ports one after the other.
fn put_on_one_host<'a>(peers: impl Iterator<Item = (&'a mut PeerPlan, bool)>) {
    let mut host = None;
    for (peer, _) in peers {
        let (address, link, port) = host.get_or_insert((peer.address, peer.link, peer.port));
        (peer.address, peer.link, peer.port) = (*address, *link, *port);
        *port += 1;
    }
}

/// What the plan of one peer needs to know.
pub(super) struct Drafting<'a> {
    roster: &'a Roster<'a>,
    pieces: u32,
    video: Option<Video>,
    is_live: bool,
    is_private: bool,
    has_tracker: bool,
    pub(super) dice: Dice<'a>,
    place: Place,
}

impl Drafting<'_> {
    fn peer(&self, peer: &Peers, name: &str, address: IpAddr) -> Result<PeerPlan, ScenarioError> {
        let (dice, at) = (self.dice, |field| self.at(field));
        let announce = match peer.announce {
            None => self.has_tracker,
            Some(announce) => dice.flag(announce, &at("announce")),
        };
        if announce && !self.has_tracker {
            return Err(at("announce").problem(Problem::NoTracker));
        }
        let stream = dice.flag(peer.stream, &at("stream"));
        let player = match (stream, self.video) {
            (false, _) => None,
            (true, None) if self.is_live => player::live(&peer.player, dice, &at("player"))?,
            (true, Some(video)) => player::plan(&peer.player, &video, dice, &at("player"))?,
            (true, None) => return Err(at("stream").problem(Problem::NoBitrate)),
        };
        let has = self.has(&peer.has, &at("has"))?;
        let plan = PeerPlan {
            remnant: self.remnant(&peer.remnant, &has, &at("remnant"))?,
            stream,
            player,
            address,
            join_ms: dice.millis(peer.join_s, at("join_s"))?,
            has,
            link: dice.link(&peer.link, at("link"))?,
            pex: dice.flag(peer.pex, &at("pex")),
            fast: dice.flag(peer.fast, &at("fast")),
            announce,
            metadata: dice.flag(peer.metadata, &at("metadata")),
            // Nobody would give it the metadata. BEP 27.
            magnet: dice.flag(peer.magnet, &at("magnet")) && !self.is_private,
            peer_priority: dice.flag(peer.peer_priority, &at("peer_priority")),
            dont_have: dice.flag(peer.dont_have, &at("dont_have")),
            super_seed: dice.flag(peer.super_seed, &at("super_seed")),
            knows: self.knows(peer, name)?,
            upload_slots: dice.number(peer.upload_slots, &at("upload_slots")) as usize,
            upload_limit: dice.some_if(peer.upload_limit, RATE, at("upload_limit"))?,
            download_limit: dice.some_if(peer.download_limit, RATE, at("download_limit"))?,
            choke_round_ms: self.choke_round_ms(peer)?,
            locality: self.locality(&peer.locality, &at("locality"))?,
            initiate_max: peer
                .initiate_max
                .map(|most| dice.number(most, &at("initiate_max")) as usize),
            app: app::plan(&peer.app, dice, &at("app"))?,
            reports: match &peer.reports {
                Some(reports) => self.reports(reports, &at("reports"))?,
                None => None,
            },
            certificate: self.certificate(&peer.certificate, &at("certificate"))?,
            lies: self.lies(&peer.lies, &at("lies"))?,
            behaviour: self.behaviour(&peer.behaviour, &at("behaviour"))?,
            nat: dice.flag(peer.nat, &at("nat")),
            if_possible: dice.flag(peer.if_possible, &at("if_possible")),
            ..PeerPlan::new(name)
        };
        let plan = if plan.runs_client() { plan } else { plan.without_client() };
        match plan.live_complaint().filter(|_| self.is_live) {
            Some((field, what)) => Err(at(field).problem(Problem::NotLive { what })),
            None => Ok(plan),
        }
    }

    fn subnet(&self, peer: &Peers) -> Result<u8, ScenarioError> {
        let place = self.at("subnet");
        let subnet = self.dice.number(peer.subnet, &place);
        at_most(subnet.into(), SUBNET_MAX.into(), "as a subnet", place)?;
        Ok(subnet as u8)
    }

    fn choke_round_ms(&self, peer: &Peers) -> Result<u64, ScenarioError> {
        let place = self.at("choke_round_s");
        let round = self.dice.millis(peer.choke_round_s, place.clone())?;
        match round {
            0 => Err(place.problem(Problem::Zero { what: "seconds" })),
            round => Ok(round),
        }
    }

    fn locality(
        &self,
        locality: &Locality,
        place: &Place,
    ) -> Result<plan::Locality, ScenarioError> {
        Ok(match locality {
            Locality::Anywhere => plan::Locality::Anywhere,
            Locality::Subnet => plan::Locality::Subnet,
            Locality::Parity => plan::Locality::Parity,
            Locality::OneOf(choices) => {
                let (choice, place) = self.one_of(choices, place)?;
                self.locality(choice, &place)?
            }
        })
    }

    /// One of the choices at `place`, and where it stands.
    pub(super) fn one_of<'c, T>(
        &self,
        choices: &'c [T],
        place: &Place,
    ) -> Result<(&'c T, Place), ScenarioError> {
        let place = place.clone().field("one_of");
        if choices.is_empty() {
            return Err(place.problem(Problem::Zero { what: "choices" }));
        }
        let choice = self.dice.rng(&place).random_range(0..choices.len());
        Ok((&choices[choice], place.index(choice)))
    }

    fn at(&self, field: &'static str) -> Place {
        self.place.clone().field(field)
    }

    fn reports(
        &self,
        reports: &Reports,
        place: &Place,
    ) -> Result<Option<ReportsPlan>, ScenarioError> {
        let (dice, at) = (self.dice, |field| place.clone().field(field));
        if !dice.flag(reports.on, &at("on")) {
            return Ok(None);
        }
        let interval_ms = dice.millis(reports.interval_s, at("interval_s"))?;
        if interval_ms == 0 {
            return Err(at("interval_s").problem(Problem::Zero { what: "milliseconds" }));
        }
        let takes_ms = dice.number(reports.takes_ms, &at("takes_ms"));
        let takes_ms = at_most(takes_ms, TAKES_MS_MAX, "milliseconds", at("takes_ms"))?;
        let plan = ReportsPlan {
            interval_ms,
            server: dice.flag(reports.server, &at("server")),
            fails: dice.share(reports.fails, at("fails"))?,
            takes_ms: takes_ms.round() as u64,
            log: dice.flag(reports.log, &at("log")),
        };
        // Neither is nobody.
        Ok((plan.server || plan.log).then_some(plan))
    }

    fn has(&self, has: &Has, place: &Place) -> Result<plan::Has, ScenarioError> {
        Ok(match has {
            Has::Nothing => plan::Has::Nothing,
            Has::Everything => plan::Has::Everything,
            Has::Pieces(pieces) => plan::Has::Pieces(self.listed(pieces, place)?),
            Has::Share(share) => plan::Has::Pieces(self.drawn(*share, place)?),
            Has::OneOf(choices) => {
                let (choice, place) = self.one_of(choices, place)?;
                self.has(choice, &place)?
            }
        })
    }

    fn remnant(
        &self,
        remnant: &Remnant,
        has: &plan::Has,
        place: &Place,
    ) -> Result<plan::Remnant, ScenarioError> {
        Ok(match remnant {
            Remnant::Nothing => plan::Remnant::Nothing,
            Remnant::OtherBytes => plan::Remnant::OtherBytes,
            Remnant::StaleResume if *has != plan::Has::Nothing => plan::Remnant::Nothing,
            Remnant::StaleResume => plan::Remnant::StaleResume,
            Remnant::BrokenResume => plan::Remnant::BrokenResume,
            Remnant::OneOf(choices) => {
                let (choice, place) = self.one_of(choices, place)?;
                self.remnant(choice, has, &place)?
            }
        })
    }

    fn certificate(
        &self,
        certificate: &Certificate,
        place: &Place,
    ) -> Result<CertificatePlan, ScenarioError> {
        Ok(match certificate {
            Certificate::Valid => CertificatePlan::Valid,
            Certificate::None => CertificatePlan::None,
            Certificate::Expired => CertificatePlan::Expired,
            Certificate::Forged => CertificatePlan::Forged,
            Certificate::SelfMade => CertificatePlan::SelfMade,
            Certificate::OtherSwarm => CertificatePlan::OtherSwarm,
            Certificate::ExpiresS(at) => {
                let place = place.clone().field("expires_s");
                CertificatePlan::ExpiresMs(self.dice.millis(*at, place)?)
            }
            Certificate::OneOf(choices) => {
                let (choice, place) = self.one_of(choices, place)?;
                self.certificate(choice, &place)?
            }
        })
    }

    fn lies(&self, lies: &Lies, place: &Place) -> Result<Option<plan::Lies>, ScenarioError> {
        Ok(match lies {
            Lies::Nothing => None,
            Lies::Blocks(share) => {
                let share = self.dice.share(*share, place.clone().field("blocks"))?;
                Some(plan::Lies::Blocks(share))
            }
            Lies::Pieces(pieces) => Some(plan::Lies::Pieces(self.listed(pieces, place)?)),
            Lies::Share(share) => Some(plan::Lies::Pieces(self.drawn(*share, place)?)),
            Lies::OneOf(choices) => {
                let (choice, place) = self.one_of(choices, place)?;
                self.lies(choice, &place)?
            }
        })
    }

    fn listed(&self, pieces: &[u32], place: &Place) -> Result<Vec<u32>, ScenarioError> {
        let place = place.clone().field("pieces");
        for (index, &piece) in pieces.iter().enumerate() {
            if piece >= self.pieces {
                let problem = Problem::NoSuchPiece { piece, pieces: self.pieces };
                return Err(place.index(index).problem(problem));
            }
        }
        Ok(BTreeSet::from_iter(pieces.iter().copied()).into_iter().collect())
    }

    fn drawn(&self, share: Draw<f64>, place: &Place) -> Result<Vec<u32>, ScenarioError> {
        let mut rng = self.dice.rng(&place.clone().field("pieces"));
        let place = place.clone().field("share");
        let share = self.dice.share(share, place)?;
        let count = (share * f64::from(self.pieces)).round() as usize;
        let mut all: Vec<u32> = (0..self.pieces).collect();
        let (picked, _) = all.partial_shuffle(&mut rng, count);
        picked.sort_unstable();
        Ok(picked.to_vec())
    }

    fn knows(&self, peer: &Peers, name: &str) -> Result<Vec<String>, ScenarioError> {
        let mut seen = BTreeSet::from([name]);
        let mut known = Vec::new();
        for (index, other) in peer.knows.iter().enumerate() {
            let others = self.roster.all(other, self.at("knows").index(index))?;
            known.extend(others.iter().filter(|other| seen.insert(other)).cloned());
        }
        let chance = self.dice.share(peer.knows_chance, self.at("knows_chance"))?;
        let strangers = self.roster.everybody().filter(|other| !seen.contains(other.as_str()));
        known.extend(strangers.filter(|other| self.happens_to_know(name, other, chance)).cloned());
        Ok(known)
    }

    /// A draw for these two alone, whoever else is there.
    fn happens_to_know(&self, name: &str, other: &str, chance: f64) -> bool {
        let subject = format!("{} and {other}", subject(name));
        let flag = Flag::Drawn { chance };
        self.dice.of(&subject).flag(flag, &self.at("knows_chance"))
    }
}

/// What a monitoring server may take (milliseconds): longer than a reporter waits
/// for it, so that it can be given up.
const TAKES_MS_MAX: f64 = 10_000.0;

const RATE: &str = "bytes a second (leave it out for no limit)";

fn subject(name: &str) -> String {
    format!("peer {name}")
}

/// The address of the peer with this index in this subnet: 10.0.0.1, or fd00::1, and up.
fn address(subnet: u8, index: usize, ipv6: bool) -> IpAddr {
    let part = u8::try_from(index / HOSTS_A_SUBNET).expect("the roster has no more than fit");
    let host = (index % HOSTS_A_SUBNET) as u8 + 1;
    match ipv6 {
        false => Ipv4Addr::new(10, subnet, part, host).into(),
        true => {
            let host = u16::from_be_bytes([part, host]);
            Ipv6Addr::new(0xfd00, 0, 0, subnet.into(), 0, 0, 0, host).into()
        }
    }
}
