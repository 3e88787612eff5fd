//! What can be simpler about a plan.

use std::net::{IpAddr, Ipv4Addr};

use reseed_protocol::BLOCK_LENGTH;

use crate::plan::{
    Action, AppPlan, Behaviour, CertificatePlan, EventPlan, FaultPlan, FilePlan, Has, Lies,
    Locality, PeerPlan, Plan, Remnant, When,
};

/// Proposes plans that are simpler in one respect, those that save the most first.
pub(super) type Pass = fn(&Plan) -> Vec<Plan>;

/// All of them, those that make runs shorter first, and that which takes the most tries
/// last.
pub(super) const ALL: [Pass; 13] = [
    no_twin,
    fewer_peers,
    fewer_faults,
    fewer_events,
    fewer_tracker_faults,
    less_content,
    plainer,
    plainer_peers,
    fewer_hosts,
    plainer_faults,
    sooner,
    in_order,
    fewer_peers_by_chance,
];

/// `plan` with `change` made.
fn with(plan: &Plan, change: impl FnOnce(&mut Plan)) -> Plan {
    let mut plan = plan.clone();
    change(&mut plan);
    plan
}

fn no_twin(plan: &Plan) -> Vec<Plan> {
    plan.flip.iter().map(|_| with(plan, |plan| plan.flip = None)).collect()
}

fn fewer_peers(plan: &Plan) -> Vec<Plan> {
    (0..plan.peers.len()).rev().map(|peer| without_peer(plan, peer)).collect()
}

/// Without a peer, what happens to it or by it, and whoever knows it.
fn without_peer(plan: &Plan, peer: usize) -> Plan {
    let name = &plan.peers[peer].name;
    let speaks_of_it = |when: &When| match when {
        When::Verified { peer, .. } | When::CopyWithout { peer } => peer == name,
        When::At(_) | When::After(_) => false,
    };
    let concerns_it = |event: &EventPlan| event.peer == *name || speaks_of_it(&event.when);
    let mut smaller = plan.clone();
    while let Some(event) = smaller.events.iter().position(concerns_it) {
        smaller = without_event(&smaller, event);
    }
    for fault in &mut smaller.faults {
        fault.hosts.retain(|host| host != name);
    }
    smaller.faults.retain(|fault| !fault.hosts.is_empty() && !speaks_of_it(&fault.when));
    smaller.peers.remove(peer);
    for other in &mut smaller.peers {
        other.knows.retain(|known| known != name);
    }
    if let Some(flip) = &mut smaller.flip {
        flip.peers.retain(|flipped| flipped != name);
    }
    smaller
}

fn fewer_events(plan: &Plan) -> Vec<Plan> {
    (0..plan.events.len()).rev().map(|event| without_event(plan, event)).collect()
}

fn fewer_faults(plan: &Plan) -> Vec<Plan> {
    let without = |fault| with(plan, |plan| drop(plan.faults.remove(fault)));
    (0..plan.faults.len()).rev().map(without).collect()
}

fn fewer_tracker_faults(plan: &Plan) -> Vec<Plan> {
    let Some(tracker) = &plan.tracker else { return Vec::new() };
    let without = |plan: &mut Plan, fault| {
        let faults = plan.tracker.as_mut().map(|tracker| &mut tracker.faults);
        faults.expect("there is a tracker").remove(fault);
    };
    (0..tracker.faults.len()).map(|fault| with(plan, |plan| without(plan, fault))).collect()
}

/// Without an event and those that wait for it.
fn without_event(plan: &Plan, gone: usize) -> Plan {
    let mut smaller = plan.clone();
    let mut all_gone = vec![gone];
    while let Some(another) = (0..plan.events.len()).find(|index| {
        let waits =
            matches!(plan.events[*index].when, When::After(for_it) if all_gone.contains(&for_it));
        waits && !all_gone.contains(index)
    }) {
        all_gone.push(another);
    }
    let stays = |index: usize| !all_gone.contains(&index);
    let mut index = 0;
    smaller.events.retain(|_| {
        index += 1;
        stays(index - 1)
    });
    smaller.faults.retain(|fault| !matches!(fault.when, When::After(gone) if !stays(gone)));
    let events = smaller.events.iter_mut().map(|event| &mut event.when);
    for when in events.chain(smaller.faults.iter_mut().map(|fault| &mut fault.when)) {
        if let When::After(before) = when {
            *before -= all_gone.iter().filter(|gone| **gone < *before).count();
        }
    }
    smaller
}

fn less_content(plan: &Plan) -> Vec<Plan> {
    let mut simpler = Vec::new();
    let files = &plan.torrent.files;
    for file in (0..files.len()).filter(|_| files.len() > 1) {
        simpler.push(with(plan, |plan| drop(plan.torrent.files.remove(file))));
    }
    let piece = u64::from(plan.torrent.piece_length);
    for (file, planned) in files.iter().enumerate() {
        let length = planned.length;
        let whole = length / piece * piece;
        for less in [length.min(piece), length / 2, length.saturating_sub(piece), whole] {
            if less > 0 && less < length {
                simpler.push(with(plan, |plan| plan.torrent.files[file].length = less));
            }
        }
    }
    simpler.iter_mut().for_each(stay_within_content);
    simpler
}

/// Has the plan speak only of what is in its content.
fn stay_within_content(plan: &mut Plan) {
    let pieces = plan.pieces();
    let length = plan.torrent.video().map_or(0, |video| video.length);
    for peer in &mut plan.peers {
        if let Has::Pieces(has) = &mut peer.has {
            has.retain(|piece| u64::from(*piece) < pieces);
        }
        if let Some(Lies::Pieces(lies)) = &mut peer.lies {
            lies.retain(|piece| u64::from(*piece) < pieces);
        }
        if let Some(player) = &mut peer.player {
            player.from = player.from.min(length.saturating_sub(1));
            player.acts.clear();
        }
    }
    let events = plan.events.iter_mut().map(|event| &mut event.when);
    for when in events.chain(plan.faults.iter_mut().map(|fault| &mut fault.when)) {
        if let When::Verified { pieces: verified, .. } = when {
            *verified = (*verified).min(u32::try_from(pieces).unwrap_or(u32::MAX));
        }
    }
}

/// Options of the torrent and its tracker at rest.
fn plainer(plan: &Plan) -> Vec<Plan> {
    let all: [fn(&mut Plan); 12] = [
        |plan| plan.tracker = None,
        acquainted,
        of_ipv4,
        |plan| {
            (plan.torrent.bitrate, plan.torrent.live) = (None, None);
            for peer in &mut plan.peers {
                (peer.stream, peer.player) = (false, None);
            }
        },
        |plan| plan.torrent.merkle = false,
        |plan| plan.torrent.closed = false,
        |plan| plan.torrent.private = false,
        |plan| {
            if let Some(tracker) = &mut plan.tracker {
                tracker.silent = false;
            }
        },
        |plan| {
            if let Some(tracker) = &mut plan.tracker {
                tracker.interval_s = tracker.interval_s.max(60);
            }
        },
        |plan| {
            if let Some(tracker) = &mut plan.tracker {
                tracker.udp = false;
            }
        },
        |plan| {
            plan.torrent.piece_length = BLOCK_LENGTH;
            stay_within_content(plan);
        },
        |plan| {
            let length = plan.torrent.files.iter().map(|file| file.length).sum();
            plan.torrent.files = vec![FilePlan { path: plan.torrent.name.clone(), length }];
        },
    ];
    changed(plan, all.map(|change| with(plan, change)))
}

/// Nobody is told of anybody by a tracker: all know all others from the start.
fn acquainted(plan: &mut Plan) {
    if plan.tracker.take().is_none() {
        return;
    }
    let names: Vec<String> = plan.peers.iter().map(|peer| peer.name.clone()).collect();
    for peer in &mut plan.peers {
        peer.knows = names.iter().filter(|name| **name != peer.name).cloned().collect();
    }
}

/// Gives everybody an IPv4 address with the subnet and the host of its IPv6 one.
fn of_ipv4(plan: &mut Plan) {
    let tracker = plan.tracker.iter_mut().map(|tracker| &mut tracker.address);
    for address in plan.peers.iter_mut().map(|peer| &mut peer.address).chain(tracker) {
        if let IpAddr::V6(before) = *address {
            let [.., subnet, _, _, _, host] = before.segments();
            let [part, host] = host.to_be_bytes();
            *address = Ipv4Addr::new(10, subnet as u8, part, host).into();
        }
    }
}

/// Options of one peer as they are where nobody says anything.
fn plainer_peers(plan: &Plan) -> Vec<Plan> {
    let all: [fn(&mut PeerPlan); 23] = [
        |peer| peer.remnant = Remnant::Nothing,
        |peer| peer.app = AppPlan::default(),
        |peer| peer.reports = None,
        |peer| peer.player = None,
        |peer| (peer.stream, peer.player) = (false, None),
        |peer| peer.lies = None,
        |peer| peer.behaviour = Behaviour::Honest,
        |peer| peer.nat = false,
        |peer| peer.certificate = CertificatePlan::Valid,
        |peer| peer.locality = Locality::Anywhere,
        |peer| peer.initiate_max = None,
        |peer| peer.upload_limit = None,
        |peer| peer.download_limit = None,
        |peer| peer.link = PeerPlan::new("").link,
        |peer| peer.link.jitter_us = 0,
        |peer| (peer.link.bandwidth, peer.link.queue) = (None, None),
        |peer| peer.choke_round_ms = PeerPlan::new("").choke_round_ms,
        |peer| peer.upload_slots = 1,
        |peer| (peer.pex, peer.fast) = (true, true),
        |peer| (peer.metadata, peer.magnet) = (false, false),
        |peer| (peer.peer_priority, peer.dont_have, peer.super_seed) = (false, false, false),
        |peer| {
            if let Has::Pieces(_) = &peer.has {
                peer.has = Has::Nothing;
            }
        },
        |peer| {
            if let Some(player) = &mut peer.player {
                (player.from, player.start_ms) = (0, 0);
                player.acts.clear();
            }
        },
    ];
    let app: [fn(&mut AppPlan); 5] = [
        |app| app.downloads = app.downloads.min(1),
        |app| app.callback_ms = 0,
        |app| app.poll_ms = AppPlan::default().poll_ms,
        |app| app.grace_ms = AppPlan::default().grace_ms,
        |app| app.checkpoint = true,
    ];
    let mut simpler = Vec::new();
    for peer in 0..plan.peers.len() {
        simpler.extend(all.map(|change| with(plan, |plan| change(&mut plan.peers[peer]))));
        simpler.extend(app.map(|change| with(plan, |plan| change(&mut plan.peers[peer].app))));
    }
    changed(plan, simpler)
}

/// Faults of one host less.
fn fewer_hosts(plan: &Plan) -> Vec<Plan> {
    let mut simpler = Vec::new();
    for (fault, planned) in plan.faults.iter().enumerate() {
        for host in (0..planned.hosts.len()).filter(|_| planned.hosts.len() > 1).rev() {
            simpler.push(with(plan, |plan| drop(plan.faults[fault].hosts.remove(host))));
        }
    }
    simpler
}

/// Faults that hold for less long, or whose values are simpler.
fn plainer_faults(plan: &Plan) -> Vec<Plan> {
    let mut simpler = Vec::new();
    for (fault, FaultPlan { fault: kind, for_ms, .. }) in plan.faults.iter().enumerate() {
        let times = earlier(*for_ms).filter(|less| *less > 0);
        simpler.extend(times.map(|ms| with(plan, |plan| plan.faults[fault].for_ms = ms)));
        let kinds = kind.simpler().into_iter().filter(|simpler| simpler != kind);
        simpler.extend(kinds.map(|kind| with(plan, |plan| plan.faults[fault].fault = kind)));
    }
    simpler
}

/// What happens at a round time, or earlier.
fn sooner(plan: &Plan) -> Vec<Plan> {
    let mut simpler = Vec::new();
    for peer in 0..plan.peers.len() {
        let times = earlier(plan.peers[peer].join_ms);
        simpler.extend(times.map(|ms| with(plan, |plan| plan.peers[peer].join_ms = ms)));
    }
    for event in 0..plan.events.len() {
        let times = earlier(plan.events[event].delay_ms);
        simpler.extend(times.map(|ms| with(plan, |plan| plan.events[event].delay_ms = ms)));
        if let When::At(at) = plan.events[event].when {
            let times = earlier(at);
            simpler
                .extend(times.map(|ms| with(plan, |plan| plan.events[event].when = When::At(ms))));
        }
    }
    for fault in 0..plan.faults.len() {
        let times = earlier(plan.faults[fault].delay_ms);
        simpler.extend(times.map(|ms| with(plan, |plan| plan.faults[fault].delay_ms = ms)));
        if let When::At(at) = plan.faults[fault].when {
            let times = earlier(at);
            simpler
                .extend(times.map(|ms| with(plan, |plan| plan.faults[fault].when = When::At(ms))));
        }
    }
    simpler
}

/// Simpler times than `ms`, which are all earlier.
fn earlier(ms: u64) -> impl Iterator<Item = u64> {
    [0, ms / 2, ms / 1000 * 1000, ms / 100 * 100].into_iter().filter(move |less| *less < ms)
}

/// Tasks in turn, a small seed, a tidier order of what happens.
fn in_order(plan: &Plan) -> Vec<Plan> {
    let mut simpler =
        vec![with(plan, |plan| plan.buggify = 0.0), with(plan, |plan| plan.perturbation = 0.0)];
    simpler.extend((0..plan.seed.min(3)).map(|seed| with(plan, |plan| plan.seed = seed)));
    for (index, event) in plan.events.iter().enumerate() {
        if event.action == Action::Crash {
            let leaves = |plan: &mut Plan| plan.events[index].action = Action::Leave;
            simpler.push(with(plan, leaves));
        }
    }
    changed(plan, simpler)
}

/// Seeds (count) that a plan with a peer less is tried with.
const CHANCES: u64 = 8;

/// Bytes a second at which a piece takes long enough for much to happen meanwhile.
const SLOWLY: u64 = 10_000;

/// A peer less, and another seed: what fails with the seed that it was found with is
/// little of all that might, and who is left may do by chance what took more of them; or
/// do it if he takes his time.
fn fewer_peers_by_chance(plan: &Plan) -> Vec<Plan> {
    let mut simpler = Vec::new();
    for peer in (0..plan.peers.len()).rev() {
        let fewer = without_peer(plan, peer);
        simpler.extend((0..CHANCES).map(|seed| with(&fewer, |plan| plan.seed = seed)));
        let slowly = |plan: &mut Plan| {
            plan.peers.iter_mut().for_each(|peer| peer.upload_limit = Some(SLOWLY));
        };
        simpler.push(with(&fewer, slowly));
    }
    simpler
}

/// Those that differ from `plan`.
fn changed(plan: &Plan, simpler: impl IntoIterator<Item = Plan>) -> Vec<Plan> {
    simpler.into_iter().filter(|simpler| simpler != plan).collect()
}
