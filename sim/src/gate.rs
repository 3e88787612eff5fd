//! What stands between a dial and where it would lead: another's NAT, or a tracker that is
//! down.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
};

use reseed_client::{Env, Network};

use crate::{
    WorldOptions,
    lab::Lab,
    plan::{Plan, TrackerFault, TrackerPlan},
};

/// Which hosts cannot be dialled.
pub(crate) struct Doors {
    /// Who is behind a NAT, by where it listens. Of those who share a host another may
    /// have its port forwarded.
    natted: BTreeMap<SocketAddr, usize>,
    tracker: Option<TrackerPlan>,
    lab: Rc<Lab>,
}

impl Doors {
    pub(crate) fn new(plan: &Plan, lab: Rc<Lab>) -> Rc<Doors> {
        let natted = plan.peers.iter().enumerate().filter(|(_, peer)| peer.nat);
        let natted =
            natted.map(|(index, peer)| (SocketAddr::new(peer.address, peer.port), index)).collect();
        Rc::new(Doors { natted, tracker: plan.tracker.clone(), lab })
    }

    /// A dial to `to` sets out; returns whether a NAT drops it.
    fn drops<E: Env>(&self, env: &E, from: IpAddr, to: SocketAddr) -> bool {
        let now = env.now();
        let is_tracker = |tracker: &&TrackerPlan| {
            SocketAddr::new(tracker.address, TrackerPlan::PORT) == to && !tracker.udp
        };
        if let Some(tracker) = self.tracker.as_ref().filter(is_tracker)
            && tracker.faults_at(now).any(|fault| fault == TrackerFault::Down)
        {
            self.lab.fired(now, None, TrackerFault::Down.name());
        }
        let natted = self.natted.get(&to).filter(|_| from != to.ip());
        natted.inspect(|peer| self.lab.fired(now, Some(**peer), Doors::NAT)).is_some()
    }

    /// What a dial that a NAT dropped is called in reports.
    pub(crate) const NAT: &str = "nat";
}

/// A host's network, whose dials do not get through everywhere.
#[derive(Clone)]
pub(crate) struct Gate<N, E> {
    network: N,
    env: E,
    own: IpAddr,
    doors: Rc<Doors>,
}

impl<N, E> Gate<N, E> {
    /// For the host at `own`.
    pub(crate) fn new(network: N, env: E, own: IpAddr, doors: Rc<Doors>) -> Gate<N, E> {
        Gate { network, env, own, doors }
    }
}

impl<N: Network, E: Env> Network for Gate<N, E> {
    type Stream = N::Stream;
    type Listener = N::Listener;
    type Datagrams = N::Datagrams;

    fn connect(&self, to: SocketAddr) -> impl Future<Output = io::Result<N::Stream>> + 'static {
        let gate = self.clone();
        async move {
            if !gate.doors.drops(&gate.env, gate.own, to) {
                return gate.network.connect(to).await;
            }
            // Its SYN is sent again and again, and TCP gives up.
            let patience = WorldOptions::default().connect_timeout;
            gate.env.sleep_until(gate.env.now() + patience).await;
            let message = format!("connecting to {to}, which does not answer");
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        }
    }

    fn listen(&self, at: SocketAddr) -> impl Future<Output = io::Result<N::Listener>> + 'static {
        self.network.listen(at)
    }

    fn datagrams(
        &self,
        at: SocketAddr,
    ) -> impl Future<Output = io::Result<N::Datagrams>> + 'static {
        self.network.datagrams(at)
    }

    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + 'static {
        self.network.resolve(host, port)
    }
}
