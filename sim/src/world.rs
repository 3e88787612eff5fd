//! The loop that everything else hangs on: from one event to the next.

use std::{cell::RefCell, collections::BTreeSet, net::IpAddr, rc::Rc, time::Duration};

use rand_chacha::ChaCha8Rng;
use reseed_protocol::Time;
use turmoil_net::{EnterGuard, KernelConfig, Net, NetstatEntry, Packet, netstat};

use crate::{
    HostHandle, HostId, HostLink, Impairment, Limit, Limits, PanicMessage, Recorder, SimDisk,
    Substreams, Tap, WorldOptions,
    core::{Core, CoreHost},
    event::Event,
    executor::{Executor, Polled},
    host::Incarnation,
    options::Stack,
    segment::{decline, is_unawaited_welcome, reset},
    stack::{Id as SocketId, Stacks as NativeStacks},
    wire::{Released, Timeouts, Wire, WireStats},
};

/// What one [`World::step`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Something happened, at this time.
    Happened(Time),
    /// Nothing is left that could ever happen.
    Idle,
}

/// Why [`World::run_while`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The condition no longer holds.
    Condition,
    /// The time is up.
    Time,
}

/// A task that panicked; its host was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPanic {
    /// When.
    pub at: Time,
    /// The task's host.
    pub host: HostId,
    /// The task's name.
    pub task: Rc<str>,
    /// What it said, and where.
    pub panic: PanicMessage,
}

/// Hosts, links, disks and a clock.
///
/// Faults are applied between runs: [`World::run_until`] the fault's time, then
/// [`World::crash`] or whatever it is, then run on.
///
/// There can be one running world a thread.
pub struct World {
    pub(crate) core: Rc<Core>,
    pub(crate) wire: Wire,
    pub(crate) hosts: Vec<Host>,
    limits: Limits,
    pass_grid: Duration,
    steps: u64,
    flushes: u64,
    panics: Vec<HostPanic>,
    recorder: Option<Rc<dyn Recorder>>,
    pub(crate) disk_rng: ChaCha8Rng,
    /// Whether tasks wait for disks, and until when each host does that had to.
    waits_for_disks: bool,
    waiting: BTreeSet<(Time, HostId)>,
    /// Kept for their allocations.
    outgoing: Vec<Packet>,
    outgoing_native: Vec<(Packet, Option<SocketId>)>,
    stacks: Stacks,
}

/// Stacks are added while nothing runs, and run once they are entered.
enum Stacks {
    /// `None` only on the way to the next state.
    Building(Box<Option<Net>>),
    Entered(EnterGuard),
    /// These are our own, and need no entering.
    Native(Rc<RefCell<NativeStacks>>),
}

pub(crate) struct Host {
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) disk: SimDisk,
    pub(crate) incarnation: Incarnation,
    pub(crate) powered: bool,
}

impl World {
    /// An empty world at time zero.
    pub fn new(options: WorldOptions) -> World {
        let streams = Substreams::new(options.seed);
        let native = match options.stack {
            Stack::TurmoilNet => None,
            Stack::Native => Some(Rc::new(RefCell::new(NativeStacks::new(options.mtu)))),
        };
        let stacks = match &native {
            Some(native) => Stacks::Native(native.clone()),
            None => {
                let config = KernelConfig::default().mtu(options.mtu).retx_threshold(u32::MAX);
                Stacks::Building(Box::new(Some(Net::with_config(config))))
            }
        };
        let timeouts =
            Timeouts { connect: options.connect_timeout, established: options.established_timeout };
        let executor = Executor::new(options.perturbation, streams.stream("order"));
        World {
            wire: Wire::new(streams.stream("links"), timeouts, native.clone()),
            core: Rc::new(Core::new(executor, streams, native)),
            hosts: Vec::new(),
            limits: options.limits,
            pass_grid: options.pass_grid,
            steps: 0,
            flushes: 0,
            panics: Vec::new(),
            recorder: None,
            disk_rng: streams.stream("disks"),
            waits_for_disks: false,
            waiting: BTreeSet::new(),
            outgoing: Vec::new(),
            outgoing_native: Vec::new(),
            stacks,
        }
    }

    /// Adds a host, running, with an empty disk. Its name resolves to its
    /// addresses.
    ///
    /// # Panics
    ///
    /// If the world has run already (a host that joins late is added early and
    /// its first task spawned late), if the name or an address is taken, or if an
    /// address is loopback.
    pub fn add_host(
        &mut self,
        name: &str,
        addresses: impl IntoIterator<Item = IpAddr>,
        link: HostLink,
    ) -> HostHandle {
        let building = !self.core.running.get();
        assert!(building, "adding host {name:?} to a world that has run already");
        let addresses: Vec<IpAddr> = addresses.into_iter().collect();
        let id = HostId(self.hosts.len() as u32);
        let stack = match &mut self.stacks {
            Stacks::Building(net) => {
                let net = net.as_mut().as_mut().expect("it is there until it is entered");
                Some(net.add_host(addresses.clone()))
            }
            Stacks::Entered(_) => unreachable!("nothing has run yet"),
            Stacks::Native(stacks) => {
                stacks.borrow_mut().add(addresses.clone());
                None
            }
        };
        self.core.hosts.borrow_mut().push(CoreHost {
            name: name.into(),
            landlord: id,
            stack,
            sockets: Vec::new(),
        });
        self.wire.add_host(&addresses, link);
        self.add_name(name, addresses.iter().copied());
        self.hosts.push(Host {
            addresses,
            disk: SimDisk::new(),
            incarnation: Incarnation::default(),
            powered: true,
        });
        self.host(id)
    }

    /// Adds a user of `landlord`'s stack and link, with processes and an empty disk
    /// of its own; its name resolves to the same addresses.
    ///
    /// # Panics
    ///
    /// If the world has run already, or the name is taken.
    pub fn add_lodger(&mut self, name: &str, landlord: HostId) -> HostHandle {
        let building = !self.core.running.get();
        assert!(building, "adding host {name:?} to a world that has run already");
        let addresses = self.addresses(landlord).to_vec();
        let id = HostId(self.hosts.len() as u32);
        let stack = self.core.hosts.borrow()[landlord.index()].stack;
        if let Stacks::Native(stacks) = &self.stacks {
            stacks.borrow_mut().add(Vec::new());
        }
        self.core.hosts.borrow_mut().push(CoreHost {
            name: name.into(),
            landlord,
            stack,
            sockets: Vec::new(),
        });
        // Its packets are the landlord's.
        self.wire.add_host(&[], self.link(landlord));
        self.add_name(name, addresses.iter().copied());
        self.hosts.push(Host {
            addresses,
            disk: SimDisk::new(),
            incarnation: Incarnation::default(),
            powered: true,
        });
        self.host(id)
    }

    /// Makes `name` resolve to `addresses`.
    ///
    /// # Panics
    ///
    /// If the name is taken.
    pub fn add_name(&mut self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        let addresses = addresses.into_iter().collect();
        let previous = self.core.names.borrow_mut().insert(name.to_owned(), addresses);
        assert!(previous.is_none(), "the name {name:?} is taken");
    }

    /// What a process started on `host` now is given.
    pub fn host(&self, host: HostId) -> HostHandle {
        let Host { disk, incarnation, .. } = &self.hosts[host.index()];
        HostHandle::new(self.core.clone(), host, incarnation.clone(), disk)
    }

    /// All hosts, in order of adding.
    pub fn hosts(&self) -> impl Iterator<Item = HostId> + use<> {
        (0..self.hosts.len() as u32).map(HostId)
    }

    /// `host`'s name.
    pub fn name(&self, host: HostId) -> Rc<str> {
        self.core.host_name(host)
    }

    /// `host`'s addresses.
    pub fn addresses(&self, host: HostId) -> &[IpAddr] {
        &self.hosts[host.index()].addresses
    }

    /// Whose address that is.
    pub fn host_at(&self, address: IpAddr) -> Option<HostId> {
        self.wire.host_at(address)
    }

    /// Whether `host` has power.
    pub fn is_up(&self, host: HostId) -> bool {
        self.hosts[host.index()].powered
    }

    /// `host`'s disk as its owner sees it, whether the host is up or not. Unlike
    /// a process's, this handle never stops working.
    pub fn disk(&self, host: HostId) -> SimDisk {
        self.hosts[host.index()].disk.clone()
    }

    /// `host`'s link.
    pub fn link(&self, host: HostId) -> HostLink {
        self.wire.link(host)
    }

    /// Changes `host`'s link, for packets that reach it from now on.
    pub fn set_link(&mut self, host: HostId, link: HostLink) {
        self.wire.set_link(host, link);
    }

    /// Lets `impairment` decide the fate of packets sent from now on.
    pub fn set_impairment(&mut self, impairment: Box<dyn Impairment>) {
        self.wire.impairment = Some(impairment);
    }

    /// Shows every event from now on to `recorder`.
    pub fn set_recorder(&mut self, recorder: Rc<dyn Recorder>) {
        self.wire.recorder = Some(recorder.clone());
        self.recorder = Some(recorder);
    }

    /// Shows to `tap` what streams opened from now on carry.
    pub fn set_tap(&mut self, tap: Rc<dyn Tap>) {
        *self.core.tap.borrow_mut() = Some(tap);
    }

    /// The substreams of the world's seed.
    pub fn streams(&self) -> Substreams {
        self.core.streams
    }

    /// The time now.
    pub fn now(&self) -> Time {
        self.core.executor.now()
    }

    /// Steps so far (count).
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Times that the stacks were asked for packets (count).
    pub fn flushes(&self) -> u64 {
        self.flushes
    }

    /// Polls of tasks so far (count).
    pub fn polls(&self) -> u64 {
        self.core.executor.polls()
    }

    /// Polls of `host`'s tasks since the time last moved (count).
    pub fn polls_at_instant(&self, host: HostId) -> u64 {
        self.core.executor.polls_at_instant(host)
    }

    /// Names of the tasks alive on `host`, in order of spawning.
    pub fn tasks(&self, host: HostId) -> Vec<Rc<str>> {
        self.core.executor.task_names(host)
    }

    /// Sleeps in progress, on all hosts (count).
    pub fn timers(&self) -> usize {
        self.core.executor.timers.borrow().len()
    }

    /// `host`'s sockets; none before the first run.
    pub fn sockets(&self, host: HostId) -> Vec<NetstatEntry> {
        match (&self.stacks, self.addresses(host).first()) {
            (Stacks::Entered(_), Some(address)) => netstat(*address).entries,
            (Stacks::Native(stacks), _) => stacks.borrow().netstat(self.landlord(host)),
            _ => Vec::new(),
        }
    }

    pub(crate) fn landlord(&self, host: HostId) -> HostId {
        self.core.hosts.borrow()[host.index()].landlord
    }

    /// Packets on their way, and lost ones to be sent again (count).
    pub fn packets_in_flight(&self) -> usize {
        self.wire.in_flight()
    }

    /// What became of the packets so far.
    pub fn wire_stats(&self) -> WireStats {
        self.wire.stats
    }

    /// Panics of hosts' tasks so far.
    pub fn panics(&self) -> &[HostPanic] {
        &self.panics
    }

    /// Lets everything happen that is due by `until`, which it then is.
    pub fn run_until(&mut self, until: Time) -> Result<(), Limit> {
        self.run_while(until, |_| true).map(drop)
    }

    /// Lets things happen until `until`, or until `condition` does not hold,
    /// which is asked before each step.
    pub fn run_while(
        &mut self,
        until: Time,
        mut condition: impl FnMut(&World) -> bool,
    ) -> Result<Ended, Limit> {
        while condition(self) {
            match self.carry_on(until) {
                Some(at) if at <= until => self.step_to(Some(at))?,
                _ if until > self.limits.time => return Err(Limit::Time(self.limits.time)),
                _ => {
                    self.core.executor.advance(until.max(self.now()));
                    return Ok(Ended::Time);
                }
            };
        }
        Ok(Ended::Condition)
    }

    /// Lets happen what is next: moves the time to it, fires what is due, polls
    /// until no task is ready, and puts on the wire what was sent.
    pub fn step(&mut self) -> Result<Step, Limit> {
        self.step_to(self.next_event())
    }

    /// When the next step is that hosts have a part in, or one past `until`. Packets that
    /// go from one link to the next before it are taken there: a step each, of which
    /// nobody else can tell.
    fn carry_on(&mut self, until: Time) -> Option<Time> {
        let now = self.now();
        if self.core.executor.has_ready() || self.core.touched.get() {
            return Some(now);
        }
        let timer = self.next_timer();
        let most = until.min(self.limits.time);
        loop {
            let arrival = self.wire.next_arrival(now, self.pass_grid);
            let next = [timer, arrival].into_iter().flatten().min();
            let Some(at) = self.wire.next_move() else { return next };
            if next.is_some_and(|next| next <= at) {
                return next;
            }
            if at > most || self.steps >= self.limits.steps {
                return Some(at);
            }
            self.enter();
            self.steps += 1;
            self.wire.move_on(at);
            if self.wire.has_released() {
                // It counts itself.
                self.steps -= 1;
                return Some(at);
            }
        }
    }

    fn step_to(&mut self, next: Option<Time>) -> Result<Step, Limit> {
        self.enter();
        if self.steps >= self.limits.steps {
            return Err(Limit::Steps(self.steps));
        }
        self.steps += 1;
        let Some(next) = next else {
            return Ok(Step::Idle);
        };
        if next > self.limits.time {
            return Err(Limit::Time(self.limits.time));
        }
        self.core.executor.advance(next);
        self.end_waits(next);
        // Packets come before timers: what arrives at its deadline is in time.
        self.deliver();
        if let Stacks::Native(stacks) = &self.stacks
            && stacks.borrow_mut().acknowledge(next)
        {
            self.core.touch();
        }
        self.core.executor.fire_timers();
        self.settle()?;
        Ok(Step::Happened(next))
    }

    /// When [`World::step`] will be next; `None` if it would be idle.
    pub fn next_event(&self) -> Option<Time> {
        let now = self.now();
        if self.core.executor.has_ready() || self.core.touched.get() {
            return Some(now);
        }
        let arrival = self.wire.next_arrival(now, self.pass_grid);
        [self.next_timer(), arrival, self.wire.next_move()].into_iter().flatten().min()
    }

    /// When time itself is next a reason for something: a sleep is over, a disk is done, a
    /// stack has waited for long enough.
    fn next_timer(&self) -> Option<Time> {
        let sleep = self.core.executor.timers.borrow_mut().next();
        let disk = self.waiting.first().map(|(until, _)| *until);
        let stack = match &self.stacks {
            Stacks::Native(stacks) => stacks.borrow_mut().next_acknowledgement(),
            Stacks::Building(_) | Stacks::Entered(_) => None,
        };
        [sleep, disk, stack].into_iter().flatten().min()
    }

    /// From now on a host's tasks wait for its disk, where that takes time.
    pub(crate) fn wait_for_disks(&mut self) {
        self.waits_for_disks = true;
    }

    /// A task of `host` was polled: if it used a disk that takes time, none of them runs
    /// until that is over.
    fn wait_for_disk(&mut self, host: HostId) {
        let took = self.hosts[host.index()].disk.take_time();
        if took > Duration::ZERO {
            self.core.executor.hold_up(host);
            self.waiting.insert((self.now() + took, host));
        }
    }

    /// Nobody waits for `host`'s disk any more.
    pub(crate) fn end_disk_waits(&mut self, host: HostId) {
        let (over, others) =
            std::mem::take(&mut self.waiting).into_iter().partition(|it| it.1 == host);
        self.waiting = others;
        let over: BTreeSet<(Time, HostId)> = over;
        over.iter().for_each(|_| _ = self.core.executor.let_go(host));
    }

    fn end_waits(&mut self, now: Time) {
        while let Some((until, host)) = self.waiting.first().copied()
            && until <= now
        {
            self.waiting.pop_first();
            self.core.executor.let_go(host);
        }
    }

    pub(crate) fn enter(&mut self) {
        if let Stacks::Building(net) = &mut self.stacks {
            let net = net.take().expect("it is there until it is entered");
            self.stacks = Stacks::Entered(net.enter());
        }
        self.core.running.set(true);
    }

    pub(crate) fn net(&self) -> &EnterGuard {
        match &self.stacks {
            Stacks::Entered(net) => net,
            Stacks::Building(_) => unreachable!("a step enters first"),
            Stacks::Native(_) => unreachable!("our own stacks need no workarounds"),
        }
    }

    fn deliver(&mut self) {
        let now = self.now();
        self.wire.advance(now, self.pass_grid);
        while let Some((summary, released)) = self.wire.pop_released(now) {
            self.core.touch();
            let Released { slot, host, flow } = released;
            if let Stacks::Native(stacks) = &self.stacks {
                let guess = self.wire.receiver(flow);
                let packet = self.wire.packet(slot);
                let receiver = stacks.borrow_mut().deliver(now, host, packet, guess);
                self.wire.forget_packet(slot);
                if receiver != guess {
                    self.wire.set_receiver(flow, receiver);
                }
                continue;
            }
            let packet = self.wire.take_packet(slot);
            // RFC 1122 §4.2.2.13: data for a reader that is gone is answered with
            // a reset, or its writer would fill the window and wait for ever.
            let socket = (summary.to, summary.from);
            let opens = summary.tcp.is_some_and(|tcp| tcp.flags.syn);
            let orphaned =
                (opens || summary.payload > 0) && self.core.orphans.borrow_mut().remove(socket);
            if orphaned && !opens {
                self.core.aborts.borrow_mut().push(socket);
            } else if is_unawaited_welcome(&packet) {
                let (acknowledgement, reset) = decline(&packet);
                self.wire.send(now, &mut vec![acknowledgement, reset]);
            } else {
                self.net().deliver(packet);
            }
        }
    }

    /// Polls and sends until there is nothing to do at this instant.
    fn settle(&mut self) -> Result<(), Limit> {
        loop {
            let core = self.core.clone();
            while let Some(polled) = core.executor.poll_next(|host| {
                core.enter(host);
            }) {
                self.after_poll(polled)?;
            }
            if !core.touched.get() {
                return Ok(());
            }
            // What a host sends to itself arrives within the flush, and may wake.
            self.flush();
        }
    }

    fn after_poll(&mut self, polled: Polled) -> Result<(), Limit> {
        let Polled { host, task, panic } = polled;
        self.record(&Event::Polled { host, task });
        if let Some((task, panic)) = panic {
            self.record(&Event::Panicked { host, task: &task, panic: &panic });
            self.panics.push(HostPanic { at: self.now(), host, task, panic });
            self.kill(host);
        }
        if self.waits_for_disks {
            self.wait_for_disk(host);
        }
        let polls = self.polls_at_instant(host);
        if polls > self.limits.polls_at_instant {
            return Err(Limit::Spin { host, at: self.now(), polls });
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) {
        self.core.touched.set(false);
        self.flushes += 1;
        if let Stacks::Native(stacks) = &self.stacks {
            let now = self.core.executor.now();
            stacks.borrow_mut().flush(now, &mut self.outgoing_native);
            self.wire.send_native(now, &mut self.outgoing_native);
            return;
        }
        let mut outgoing = std::mem::take(&mut self.outgoing);
        // An abort comes before what the socket still had to say.
        let aborts = self.core.aborts.take();
        for (local, remote) in &aborts {
            self.net().deliver(reset(*remote, *local));
        }
        self.net().egress_all(&mut outgoing);
        outgoing.extend(aborts.iter().map(|(local, remote)| reset(*local, *remote)));
        self.wire.send(self.now(), &mut outgoing);
        self.outgoing = outgoing;
        self.core.close_given_up();
        self.core.see_who_has_parted();
    }

    pub(crate) fn record(&self, event: &Event<'_>) {
        if let Some(recorder) = &self.recorder {
            recorder.record(self.now(), event);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for host in &mut self.hosts {
            host.incarnation.end();
        }
        for host in self.hosts() {
            self.drop_processes(host);
        }
        self.core.close_given_up();
        self.hosts().for_each(|host| self.core.forget_parting(host));
        // Whoever still holds a socket finds no stack to drop it in.
        self.core.running.set(false);
    }
}
