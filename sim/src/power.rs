//! Loss of power, the death of a process, and the return.

use std::rc::Weak;

use turmoil_net::NetstatEntry;

use crate::{HostHandle, HostId, World, event::Event, segment::reset, world::Host};

impl World {
    /// Cuts `host`'s power: its tasks are gone, its stack forgets every
    /// connection without a word to anybody, and its disk loses what was not
    /// synced, in part. While it is down, TCP segments to it are retransmitted
    /// with exponential back-off, and other packets are lost.
    pub fn crash(&mut self, host: HostId) {
        if !self.is_up(host) {
            return;
        }
        self.enter();
        self.flush();
        self.record(&Event::Crashed { host });
        let Host { disk, incarnation, powered, .. } = &mut self.hosts[host.index()];
        *powered = false;
        *incarnation = incarnation.end();
        disk.power_loss(&mut self.disk_rng);
        self.wire.set_reachable(host, false);
        // What sockets have to say when they are dropped never leaves the host.
        self.drop_processes(host);
        match self.core.native.clone() {
            Some(stacks) => stacks.borrow_mut().forget(self.landlord(host)),
            None => self.forget_connections(host),
        }
        self.wire.forget_sender(self.now(), host);
    }

    /// Kills `host`'s processes, as `kill -9` does: its kernel closes their
    /// sockets, and its disk loses nothing.
    pub fn kill(&mut self, host: HostId) {
        if !self.is_up(host) {
            return;
        }
        self.enter();
        self.record(&Event::Killed { host });
        let incarnation = &mut self.hosts[host.index()].incarnation;
        *incarnation = incarnation.end();
        self.drop_processes(host);
        self.core.touch();
    }

    /// Gives a crashed host its power back; returns what its new processes are
    /// given, which the caller spawns.
    pub fn revive(&mut self, host: HostId) -> HostHandle {
        if !self.is_up(host) {
            self.hosts[host.index()].powered = true;
            self.wire.set_reachable(host, true);
            let incarnation = self.hosts[host.index()].incarnation.number();
            self.record(&Event::Revived { host, incarnation });
        }
        self.host(host)
    }

    fn forget_connections(&mut self, host: HostId) {
        self.core.close_given_up();
        self.core.forget_parting(host);
        self.core.aborts.take();
        self.reset_sockets(host);
        self.swallow(host);
    }

    /// Flushes, but nothing leaves `host`.
    fn swallow(&mut self, host: HostId) {
        let mut outgoing = Vec::new();
        self.net().egress_all(&mut outgoing);
        outgoing.retain(|packet| self.wire.host_at(packet.src) != Some(host));
        self.wire.send(self.now(), &mut outgoing);
    }

    fn reset_sockets(&self, host: HostId) {
        for NetstatEntry { local, peer, state, .. } in self.sockets(host) {
            if let (Some(peer), Some(_)) = (peer, state) {
                self.net().deliver(reset(peer, local));
            }
        }
    }

    pub(crate) fn drop_processes(&self, host: HostId) {
        self.core.enter(host);
        self.core.executor.drop_host(host);
        let sockets = std::mem::take(&mut self.core.hosts.borrow_mut()[host.index()].sockets);
        self.core.enter(host);
        sockets.iter().filter_map(Weak::upgrade).for_each(|socket| socket.close());
        if let Some(stacks) = &self.core.native {
            stacks.borrow_mut().close_all(self.landlord(host), host);
        }
    }
}
