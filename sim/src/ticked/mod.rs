//! An engine of ticks: `turmoil` itself, with a tokio runtime for each host.
//!
//! It is here to agree with the others, which are exact. What it cannot do
//! makes a run on it show nothing, so its user has to know:
//!
//! - A link has no bandwidth and no queue; [`Link::bandwidth`](crate::Link) and
//!   [`Link::queue`](crate::Link) are ignored.
//! - A pair of hosts has one latency for both ways, which here is the mean of the
//!   two. Jitter is drawn by turmoil from an exponential curve with a fifth of the
//!   jitter as its mean, in whole milliseconds, and cut off at the jitter.
//! - The time moves by a [`TICK`], and is one and the same for all hosts within it;
//!   latencies and deadlines are rounded up to it. Every tick costs something for
//!   every host and every link, whether anything happens or not.
//! - The order of polls is a host's own, first come, first served. Between hosts it
//!   is the order of adding, unless [`TickedOptions::shuffle_hosts`] is set.
//! - A handshake takes one latency, not two: turmoil's SYN-ACK is there at once.
//! - What is sent to a host without power waits for it, for ever: a segment that
//!   comes late is answered with a reset, a connection that is being opened is
//!   refused. Nothing gives up but a connect.

mod env;
mod host;
mod network;
#[cfg(test)]
mod tests;

use std::{
    net::IpAddr,
    rc::Rc,
    time::{Duration, SystemTime},
};

use rand_chacha::ChaCha8Rng;
use reseed_protocol::Time;
use turmoil::Sim;

pub(crate) use self::{env::TickedEnv, network::TickedNetwork};

use self::host::{Halt, Host, Shared};
use crate::{
    HostLink, Impairment, Limit, Limits, SimDisk, Substreams, Tap,
    host::Incarnation,
    panics,
    stage::{Leftovers, Paused, Place, Process, Stage},
};

/// How far the time moves in one step. tokio's timers cannot do better.
pub(crate) const TICK: Duration = Duration::from_millis(1);

/// Messages that a connection takes each way until its reader reads, and
/// connections that wait to be accepted (count). turmoil has one number for both,
/// and panics when the second is exceeded.
const TCP_CAPACITY: usize = 1024;

/// turmoil never hands out again the port of a connect that failed, so there had
/// better be many.
const EPHEMERAL_PORTS: std::ops::RangeInclusive<u16> = 10_000..=65_535;

/// What a [`TickedStage`] is made with.
#[derive(Debug, Clone)]
pub(crate) struct TickedOptions {
    /// Every random choice comes from it, turmoil's own among them.
    pub(crate) seed: u64,
    /// Lets the seed order the hosts anew in each tick.
    pub(crate) shuffle_hosts: bool,
    /// How long a connect to a host that does not answer takes to fail. Linux
    /// gives up after 127 s.
    pub(crate) connect_timeout: Duration,
    /// When to stop a run that does not end.
    pub(crate) limits: Limits,
}

impl Default for TickedOptions {
    fn default() -> TickedOptions {
        TickedOptions {
            seed: 0,
            shuffle_hosts: false,
            connect_timeout: Duration::from_secs(127),
            limits: Limits::default(),
        }
    }
}

/// A turmoil simulation as a stage.
///
/// There can be many on a thread, but only one may be moving.
pub(crate) struct TickedStage {
    sim: Sim<'static>,
    shared: Rc<Shared>,
    slots: Vec<Slot>,
    disk_rng: ChaCha8Rng,
    steps: u64,
    step_limit: u64,
    panics: Vec<String>,
    /// Why it will never move again.
    stuck: Option<Paused>,
}

/// A host and what outlives its processes.
struct Slot {
    host: Rc<Host>,
    link: HostLink,
    disk: SimDisk,
    incarnation: Incarnation,
    powered: bool,
}

impl Slot {
    /// A host that is up, with an empty disk and a perfect link.
    fn new(host: Rc<Host>) -> Slot {
        Slot {
            host,
            link: HostLink::default(),
            disk: SimDisk::new(),
            incarnation: Incarnation::default(),
            powered: true,
        }
    }
}

impl TickedStage {
    /// An empty stage at time zero.
    pub(crate) fn new(options: TickedOptions) -> TickedStage {
        let mut builder = turmoil::Builder::new();
        builder
            .rng_seed(options.seed)
            // Otherwise it is read from the wall clock.
            .epoch(SystemTime::UNIX_EPOCH)
            .tick_duration(TICK)
            .tcp_capacity(TCP_CAPACITY)
            .ephemeral_ports(EPHEMERAL_PORTS);
        if options.shuffle_hosts {
            builder.enable_random_order();
        }
        let streams = Substreams::new(options.seed);
        let step_limit = options.limits.steps;
        TickedStage {
            sim: builder.build(),
            shared: Rc::new(Shared::new(options, streams)),
            slots: Vec::new(),
            disk_rng: streams.stream("disks"),
            steps: 0,
            step_limit,
            panics: Vec::new(),
            stuck: None,
        }
    }

    /// One tick. Says so if it can never move again.
    fn step(&mut self) -> Result<(), Paused> {
        let limits = self.shared.options.limits;
        if self.steps >= self.step_limit {
            return Err(Paused::Limit(Limit::Steps(self.steps).to_string()));
        }
        if self.now() >= limits.time {
            return Err(Paused::Limit(Limit::Time(limits.time).to_string()));
        }
        self.steps += 1;
        // turmoil itself panics where a limit of its own is hit.
        let stepped = panics::catch(|| self.sim.step().map(drop).map_err(|it| it.to_string()));
        if let Err(message) = stepped.unwrap_or_else(|panic| Err(panic.to_string())) {
            return Err(Paused::Limit(format!("stopping the run, as turmoil failed: {message}")));
        }
        let at = self.now();
        self.shared.now.set(Time::from_epoch(self.sim.elapsed()));
        for index in 0..self.slots.len() {
            let host = self.slots[index].host.clone();
            match host.take_halt() {
                None => {}
                Some(Halt::Spin { polls }) => {
                    let name = &host.name;
                    let words =
                        format!("{name} was polled {polls} times at {at} s and is not done");
                    return Err(Paused::Spin(words));
                }
                Some(Halt::Panic { task, panic }) => {
                    let name = &host.name;
                    let words = format!("at {at} s task {task:?} of {name} {panic}");
                    self.panics.push(words);
                    Stage::kill(self, Place(index));
                }
            }
        }
        Ok(())
    }
}

impl Stage for TickedStage {
    type Env = TickedEnv;
    type Network = TickedNetwork;

    /// # Panics
    ///
    /// If the name is taken.
    fn add_host(&mut self, name: &str, address: IpAddr, link: HostLink) -> Place {
        let place = Place(self.slots.len());
        let landlord = self.slots.iter().find(|slot| slot.host.address == address);
        let landlord = landlord.map(|slot| (slot.host.clone(), slot.link));
        let previous = self.shared.names.borrow_mut().insert(name.to_owned(), address);
        assert!(previous.is_none(), "the name {name:?} is taken");
        self.shared.addresses.borrow_mut().insert(address);
        let mut host = Host::new(name, place.0, address, self.shared.clone());
        if let Some((landlord, link)) = landlord {
            host.lodge_with(&landlord);
            let host = Rc::new(host);
            self.slots.push(Slot { link, ..Slot::new(host) });
            return place;
        }
        let host = Rc::new(host);
        let supervised = host.clone();
        self.sim.host(address, move || supervised.supervise());
        for other in &self.slots {
            if other.host.is_lodger() {
                continue;
            }
            let (latency, jitter) = between(&link, &other.link);
            self.sim.set_link_latency(address, other.host.address, latency);
            self.sim.set_link_max_message_latency(address, other.host.address, latency + jitter);
        }
        self.slots.push(Slot { link, ..Slot::new(host) });
        place
    }

    /// Shows every stream's bytes to `tap`.
    fn set_tap(&mut self, tap: Rc<dyn Tap>) {
        *self.shared.tap.borrow_mut() = Some(tap);
    }

    /// Starts a process on a host that is up. It is polled first in the next step.
    ///
    /// # Panics
    ///
    /// If the host has no power.
    fn start(
        &mut self,
        host: Place,
        software: impl FnOnce(TickedEnv, TickedNetwork, SimDisk) -> Process,
    ) {
        let Slot { host, disk, incarnation, powered, .. } = &self.slots[host.0];
        assert!(powered, "starting a process on {:?}, which has no power", host.name);
        let env = TickedEnv::new(host.clone(), incarnation.clone());
        let network = TickedNetwork::new(host.clone(), incarnation.clone());
        host.spawn("main", software(env, network, disk.mounted(incarnation.clone())));
    }

    fn now(&self) -> Time {
        self.shared.now.get()
    }

    /// Stops at the first tick that is not before `until`.
    fn run_until(&mut self, until: Time, attention: &dyn Fn() -> bool) -> Paused {
        while self.now() < until {
            if self.stuck.is_none() {
                self.stuck = self.step().err();
            }
            if let Some(stuck) = &self.stuck {
                return stuck.clone();
            }
            if attention() {
                return Paused::Attention;
            }
        }
        Paused::Time
    }

    fn crash(&mut self, host: Place) {
        let slot = &mut self.slots[host.0];
        if !slot.powered {
            return;
        }
        slot.powered = false;
        slot.incarnation = slot.incarnation.end();
        slot.disk.power_loss(&mut self.disk_rng);
        slot.host.cut_streams();
        self.sim.crash(slot.host.address);
        slot.host.close_inbox();
    }

    /// Its tasks are gone with the next step.
    fn kill(&mut self, host: Place) {
        let slot = &mut self.slots[host.0];
        slot.incarnation = slot.incarnation.end();
        if slot.host.is_shared() {
            slot.host.abort_tasks();
        } else {
            self.sim.bounce(slot.host.address);
        }
    }

    fn revive(&mut self, host: Place) {
        let slot = &mut self.slots[host.0];
        if !slot.powered {
            slot.powered = true;
            self.sim.bounce(slot.host.address);
        }
    }

    fn disk(&self, host: Place) -> SimDisk {
        self.slots[host.0].disk.clone()
    }

    fn set_link(&mut self, _: Place, _: HostLink) {}

    fn impair(&mut self, _: impl FnOnce(ChaCha8Rng) -> Box<dyn Impairment>) {}

    fn hold_up(&mut self, _: Place) {}

    fn let_go(&mut self, _: Place) -> u64 {
        0
    }

    fn wait_for_disks(&mut self) {}

    fn end_disk_waits(&mut self, _: Place) {}

    fn leftovers(&self, host: Place) -> Leftovers {
        let Host { tasks, sockets, timers, .. } = &*self.slots[host.0].host;
        Leftovers {
            tasks: tasks.map(|task| task.to_string()),
            sockets: sockets.map(ToString::to_string),
            timers: timers.len(),
        }
    }

    /// Panics of hosts' tasks, in words. Each cost its host all its processes.
    fn panics(&self) -> Vec<String> {
        self.panics.clone()
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    /// A write is a message there.
    fn packets(&self) -> Option<u64> {
        None
    }
}

impl Drop for TickedStage {
    fn drop(&mut self) {
        for slot in &self.slots {
            slot.incarnation.end();
        }
    }
}

/// Latency and jitter between two hosts, as the mean of the two ways.
fn between(a: &HostLink, b: &HostLink) -> (Duration, Duration) {
    let links = [a.up, b.down, b.up, a.down];
    let latency: Duration = links.iter().map(|link| link.latency).sum();
    let jitter: Duration = links.iter().map(|link| link.jitter).sum();
    (latency / 2, jitter / 2)
}
