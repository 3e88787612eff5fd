//! The first engine as a stage: [`World`], exact to the nanosecond.

use std::{net::IpAddr, rc::Rc};

use rand_chacha::ChaCha8Rng;
use reseed_protocol::Time;

use crate::{
    Ended, HostEnv, HostId, HostLink, HostNetwork, Impairment, Limit, SimDisk, Tap, World,
    stage::{Leftovers, Paused, Place, Process, Stage},
};

impl Stage for World {
    type Env = HostEnv;
    type Network = HostNetwork;

    fn add_host(&mut self, name: &str, address: IpAddr, link: HostLink) -> Place {
        let host = match self.host_at(address) {
            Some(landlord) => self.add_lodger(name, landlord),
            None => World::add_host(self, name, [address], link),
        };
        Place(host.id().0 as usize)
    }

    fn set_tap(&mut self, tap: Rc<dyn Tap>) {
        World::set_tap(self, tap);
    }

    fn start(
        &mut self,
        host: Place,
        software: impl FnOnce(HostEnv, HostNetwork, SimDisk) -> Process,
    ) {
        let handle = self.host(id(host));
        handle.spawn("main", software(handle.env(), handle.network(), handle.disk()));
    }

    fn now(&self) -> Time {
        World::now(self)
    }

    fn run_until(&mut self, until: Time, attention: &dyn Fn() -> bool) -> Paused {
        match self.run_while(until, |_| !attention()) {
            Ok(Ended::Time) => Paused::Time,
            Ok(Ended::Condition) => Paused::Attention,
            Err(Limit::Spin { host, at, polls }) => {
                let name = self.name(host);
                Paused::Spin(format!("{name} was polled {polls} times at {at} s and is not done"))
            }
            Err(limit) => Paused::Limit(limit.to_string()),
        }
    }

    fn crash(&mut self, host: Place) {
        World::crash(self, id(host));
    }

    fn kill(&mut self, host: Place) {
        World::kill(self, id(host));
    }

    fn revive(&mut self, host: Place) {
        World::revive(self, id(host));
    }

    fn disk(&self, host: Place) -> SimDisk {
        World::disk(self, id(host))
    }

    fn set_link(&mut self, host: Place, link: HostLink) {
        let address = self.addresses(id(host))[0];
        let landlord = self.host_at(address).expect("the address is its own");
        World::set_link(self, landlord, link);
    }

    fn impair(&mut self, impairment: impl FnOnce(ChaCha8Rng) -> Box<dyn Impairment>) {
        let rng = self.streams().stream("faults");
        self.set_impairment(impairment(rng));
    }

    fn hold_up(&mut self, host: Place) {
        self.core.executor.hold_up(id(host));
    }

    fn let_go(&mut self, host: Place) -> u64 {
        self.core.executor.let_go(id(host))
    }

    fn wait_for_disks(&mut self) {
        World::wait_for_disks(self);
    }

    fn end_disk_waits(&mut self, host: Place) {
        World::end_disk_waits(self, id(host));
    }

    /// The timers are those of all hosts together.
    fn leftovers(&self, host: Place) -> Leftovers {
        let tasks = self.tasks(id(host)).iter().map(|task| task.to_string()).collect();
        let sockets = self.core.native.as_ref();
        let sockets = sockets.map(|stacks| stacks.borrow().open(id(host))).unwrap_or_default();
        Leftovers { tasks, sockets, timers: self.timers() }
    }

    fn panics(&self) -> Vec<String> {
        self.panics()
            .iter()
            .map(|it| {
                let (name, task, panic) = (self.name(it.host), &it.task, &it.panic);
                format!("at {} s task {task:?} of {name} {panic}", it.at)
            })
            .collect()
    }

    fn steps(&self) -> u64 {
        World::steps(self)
    }

    fn packets(&self) -> Option<u64> {
        Some(self.wire_stats().sent)
    }
}

fn id(host: Place) -> HostId {
    HostId(host.0 as u32)
}
