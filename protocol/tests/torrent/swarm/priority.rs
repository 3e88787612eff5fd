//! Which connections come first. BEP 40.

use reseed_protocol::peer_priority;

use super::*;

fn priority(a: usize, b: usize) -> u32 {
    peer_priority(addr(a), addr(b))
}

/// A hub with room for two, and three who want in, the least first.
fn hub_and_three() -> (Swarm, usize, [usize; 3]) {
    let mut swarm = Swarm::new(layout());
    let nothing = || Bitfield::empty(layout().pieces());
    let hub = swarm.add(nothing(), |config| {
        (config.peer_priority, config.pex, config.connections_max) = (true, false, 2);
    });
    let mut others = [1, 2, 3]
        .map(|_| swarm.add(nothing(), |config| (config.peer_priority, config.pex) = (true, false)));
    others.sort_by_key(|other| priority(hub, *other));
    (swarm, hub, others)
}

fn connected(swarm: &Swarm, hub: usize) -> BTreeSet<usize> {
    let connections = swarm.nodes[hub].torrent.connections();
    let ips = connections.map(|connection| connection.addr().ip());
    ips.map(|ip| (0..4).find(|node| addr(*node).ip() == ip).unwrap()).collect()
}

#[test]
fn when_there_is_no_room_the_greater_priority_takes_the_place_of_the_least() {
    let (mut swarm, hub, [least, middle, greatest]) = hub_and_three();
    for other in [least, middle, greatest] {
        swarm.introduce(other, hub);
        swarm.run_until(swarm.now + Duration::from_secs(5));
    }
    assert_eq!(connected(&swarm, hub), [middle, greatest].into());
    assert_eq!(swarm.closed(hub), [CloseReason::Outranked]);
    swarm.run_until(swarm.now + Duration::from_secs(600));
    assert_eq!(connected(&swarm, hub), [middle, greatest].into(), "who was outranked stays out");
    assert_eq!(swarm.closed(hub).len(), 1);
}

#[test]
fn who_has_the_least_priority_finds_no_room() {
    let (mut swarm, hub, [least, middle, greatest]) = hub_and_three();
    for other in [greatest, middle, least] {
        swarm.introduce(other, hub);
        swarm.run_until(swarm.now + Duration::from_secs(5));
    }
    assert_eq!(connected(&swarm, hub), [middle, greatest].into());
    assert_eq!(swarm.closed(hub), []);
}

#[test]
fn who_knows_its_own_address_dials_the_greatest_priority_first() {
    let mut swarm = Swarm::new(layout());
    let nothing = || Bitfield::empty(layout().pieces());
    let node = swarm.add(nothing(), |config| {
        (config.peer_priority, config.pex, config.initiate_max) = (true, false, 2);
    });
    let mut others: Vec<usize> = (0..8)
        .map(|_| swarm.add(nothing(), |it| (it.peer_priority, it.pex) = (true, false)))
        .collect();
    let first = others.pop().unwrap();
    swarm.introduce(node, first);
    swarm.run_until(secs(5));
    let addrs = others.iter().map(|other| addr(*other)).collect();
    swarm.push(swarm.now, Happening::Input(node, Input::AddPeers { addrs }));
    swarm.run_until(secs(10));
    let greatest = others.into_iter().max_by_key(|other| priority(node, *other)).unwrap();
    let dialled: Vec<SocketAddr> =
        swarm.nodes[node].torrent.connections().map(|connection| connection.addr()).collect();
    assert_eq!(dialled, [addr(first), addr(greatest)]);
}
