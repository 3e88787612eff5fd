//! Running a plan: start the hosts, let events happen when they are due, watch for
//! the end, shut everybody down, and give a verdict.

mod events;
mod exits;
mod faults;
mod stop;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

pub(crate) use self::exits::resume_data;

use rand_chacha::ChaCha8Rng;
use reseed_client::{Buggify, Env};
use reseed_protocol::{Time, Video};
use tokio::sync::mpsc;

use crate::{
    Capture, Content, Engine, Failure, HostLink, Limits, Link, PeerReport, Report, Stack,
    Substreams, Verdict, World, WorldOptions,
    broadcast::Broadcast,
    fault::{DiskFaults, Faults},
    gate::{Doors, Gate},
    hostile,
    lab::{self, Lab, Probed},
    members,
    oracle::Code,
    plan::{
        Action, FilePlan, Has, LinkPlan, PeerPlan, Plan, TRACKER, TorrentPlan, TrackerFault,
        TrackerPlan, When,
    },
    player::Player,
    software::{self, Setup},
    stage::{Paused, Place, Stage},
    stall,
    ticked::{TickedOptions, TickedStage},
    tracker,
    twin::{self, Conversation},
};

/// How far a run has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Virtual time.
    pub now: Time,
    /// Pieces verified, all peers together (count).
    pub verified: u64,
    /// Pieces that all peers together would have if all were complete (count).
    pub wanted: u64,
    /// Events in the trace (count).
    pub events: u64,
}

/// Somebody who looks on while a run goes.
pub trait Watch {
    /// Whether [`Watch::line`] is to be called: a transcript costs time.
    fn wants_lines(&self) -> bool {
        false
    }

    /// One line of the transcript.
    fn line(&mut self, _at: Time, _line: &str) {}

    /// Whether [`Watch::event`] is to be called: all that is in the digest, in words.
    fn wants_events(&self) -> bool {
        false
    }

    /// One event of the trace, as many as the digest is over.
    fn event(&mut self, _at: Time, _event: &str) {}

    /// Whether [`Watch::captured`] is to be called: packets take memory.
    fn wants_capture(&self) -> bool {
        false
    }

    /// The run is over, and these are its packets. Only an engine that shows them calls
    /// it: see [`Engine::shows_packets`].
    fn captured(&mut self, _capture: Capture) {}

    /// Called from time to time.
    fn progress(&mut self, _progress: Progress) {}
}

/// Nobody looks on.
impl Watch for () {}

/// For how long a stalled run is watched to explain the stall: longer than a
/// choker's round, in which every peer with a connection takes a step.
const EXPLAIN_FOR: Duration = Duration::from_secs(11);

/// Polls of one host's tasks without the time moving, after which it spins
/// (count, I-SPIN). The most that the catalogue needs is two orders below.
const POLLS_AT_INSTANT_MAX: u64 = 100_000;

/// How long everybody stays once all is complete.
const SETTLE_FOR: Duration = Duration::from_secs(10);

/// How often progress is told, in virtual time.
const PROGRESS_EACH: Duration = Duration::from_secs(1);

/// Runs a plan to its end.
pub fn run(plan: &Plan, content: &Content, engine: Engine, watch: &mut dyn Watch) -> Report {
    let Some(flip) = &plan.flip else { return observe(plan, content, engine, watch, false).0 };
    let (mut report, conversation) = observe(plan, content, engine, watch, true);
    if report.verdict == Verdict::Fail {
        return report;
    }
    if let Some(why) = flip.feature.changes_more(plan) {
        let option = flip.feature.name();
        report.doubts.push(format!("switching {option} may rightly change more: {why}"));
        report.verdict = Verdict::Unknown;
        return report;
    }
    let twin = twin::flipped(plan, flip);
    let (other, others) = observe(&twin, content, engine, &mut (), true);
    twin::compare(plan, flip, &mut report, [&conversation, &others], &other);
    report
}

/// Runs a plan to its end without an oracle, as a measure of what they cost. It shows
/// nothing else: its verdict is [`Verdict::Unknown`].
pub fn run_unchecked(plan: &Plan, content: &Content, engine: Engine) -> Report {
    let content = Rc::new(content.clone());
    let lab = Lab::new(plan, &content, false, false);
    lab.dismiss_oracles();
    let mut report = on(engine, plan, &content, &lab, &mut ());
    if report.verdict == Verdict::Pass {
        report.verdict = Verdict::Unknown;
    }
    report.doubts.push("no oracle looked on".to_owned());
    report
}

/// Runs a plan to its end; returns what was said, if that is to be recorded.
fn observe(
    plan: &Plan,
    content: &Content,
    engine: Engine,
    watch: &mut dyn Watch,
    record: bool,
) -> (Report, Conversation) {
    let content = Rc::new(content.clone());
    let lab = Lab::new(plan, &content, watch.wants_lines(), record);
    let report = on(engine, plan, &content, &lab, watch);
    (report, lab.take_conversation())
}

fn on(
    engine: Engine,
    plan: &Plan,
    content: &Rc<Content>,
    lab: &Rc<Lab>,
    watch: &mut dyn Watch,
) -> Report {
    if watch.wants_events() {
        lab.keep_words();
    }
    let limits = Limits {
        steps: plan.limits.steps,
        polls_at_instant: POLLS_AT_INSTANT_MAX,
        ..Limits::default()
    };
    match engine {
        Engine::TurmoilNet | Engine::Native => {
            let stack = if engine == Engine::Native { Stack::Native } else { Stack::TurmoilNet };
            let mut world = World::new(WorldOptions {
                seed: plan.seed,
                stack,
                perturbation: plan.perturbation,
                limits,
                ..WorldOptions::default()
            });
            world.set_recorder(lab.clone());
            if watch.wants_capture() {
                lab.capture(Capture::of(plan));
            }
            let report = Run::new(plan, content, lab, world, watch).run(engine);
            lab.take_capture().into_iter().for_each(|capture| watch.captured(capture));
            report
        }
        Engine::Turmoil => {
            let stage = TickedStage::new(TickedOptions {
                seed: plan.seed,
                shuffle_hosts: plan.perturbation > 0.0,
                limits,
                ..TickedOptions::default()
            });
            Run::new(plan, content, lab, stage, watch).run(engine)
        }
    }
}

struct Run<'a, S> {
    plan: &'a Plan,
    content: &'a Rc<Content>,
    lab: &'a Rc<Lab>,
    stage: S,
    watch: &'a mut dyn Watch,
    /// When each event is due, once what it waits for has come.
    due: Vec<Option<Time>>,
    done: Vec<bool>,
    /// Peers that have joined.
    joined: Vec<bool>,
    /// What each peer has of its own besides the shared torrent.
    own: Vec<Vec<Content>>,
    /// The way to interrupt each peer that was started.
    interrupts: Vec<Option<mpsc::UnboundedSender<()>>>,
    /// By when each peer has to exit, once it is clear that it does.
    exits: Vec<Option<exits::Due>>,
    /// Which hosts cannot be dialled.
    doors: Rc<Doors>,
    doubts: Vec<String>,
    /// How often each kind of event was carried out.
    fired: BTreeMap<Action, u64>,
    /// What the faults do, and where each of them stands.
    faults: Rc<Faults>,
    phases: Vec<faults::Phase>,
    /// What may go wrong with each peer's disk, if the plan says that something does.
    disks: Vec<Option<Rc<DiskFaults>>>,
    /// Which bits flip.
    flips: ChaCha8Rng,
    /// When a fault or, in a plan with faults, an event came or went last.
    disturbed: Time,
    /// When an event was carried out last.
    last_event: Time,
}

impl<'a, S: Stage> Run<'a, S> {
    fn new(
        plan: &'a Plan,
        content: &'a Rc<Content>,
        lab: &'a Rc<Lab>,
        stage: S,
        watch: &'a mut dyn Watch,
    ) -> Self {
        Run {
            plan,
            content,
            lab,
            stage,
            watch,
            due: vec![None; plan.events.len()],
            done: vec![false; plan.events.len()],
            joined: vec![false; plan.peers.len()],
            own: plan.peers.iter().map(own).collect(),
            interrupts: vec![None; plan.peers.len()],
            exits: vec![None; plan.peers.len()],
            doors: Doors::new(plan, lab.clone()),
            doubts: Vec::new(),
            fired: BTreeMap::new(),
            faults: Rc::new(Faults::new(plan)),
            phases: vec![faults::Phase::Waiting; plan.faults.len()],
            disks: vec![None; plan.peers.len()],
            flips: Substreams::new(plan.seed).stream("faults of bits"),
            disturbed: Time::ZERO,
            last_event: Time::ZERO,
        }
    }

    fn run(mut self, engine: Engine) -> Report {
        if engine == Engine::Turmoil && self.plan.shapes_links() {
            self.doubts.push("turmoil has no bandwidth and no queues, and the plan has".to_owned());
        }
        self.prepare_faults(engine);
        self.set_up();
        self.prepare_disks();
        let finished = self.go_on();
        if finished {
            self.settle();
        } else if self.lab.failure().is_none() {
            self.explain_stall();
        }
        self.end_faults();
        self.lab.end(self.stage.now());
        self.shut_down();
        self.look_for_panics();
        self.pass_lines();
        self.report()
    }

    fn set_up(&mut self) {
        self.stage.set_tap(self.lab.clone());
        let files = self.content.files();
        for (index, peer) in self.plan.peers.iter().enumerate() {
            let place = self.stage.add_host(&peer.name, peer.address, link(peer.link));
            assert_eq!(place, Place(index), "peers are numbered as in the plan");
            let disk = self.stage.disk(place);
            files.iter().for_each(|(path, truth)| disk.expect(path, truth.clone()));
            let mut filled = self.content.put(&peer.has, &disk);
            filled = filled.and_then(|()| self.content.leave(peer.remnant, &peer.has, &disk));
            for own in &self.own[index] {
                filled = filled.and_then(|()| own.put(&Has::Everything, &disk));
            }
            if let Err(error) = filled {
                self.doubts.push(format!("cannot fill the disk of {}: {error}", peer.name));
            }
        }
        if let Some(tracker) = &self.plan.tracker {
            self.start_tracker(tracker);
        }
    }

    fn start_tracker(&mut self, plan: &TrackerPlan) {
        let place = self.stage.add_host(TRACKER, plan.address, link(plan.link));
        let lab = self.lab.clone();
        let plan = plan.clone();
        self.stage.start(place, |env, network, _| {
            let (clock, also) = (env.clone(), (env.clone(), lab.clone()));
            let announced = move |from: IpAddr, announce: &_| {
                lab.announced(clock.now(), from, announce);
            };
            let fired = move |fault: TrackerFault| also.1.fired(also.0.now(), None, fault.name());
            Box::pin(tracker::serve(network, env, plan, announced, fired))
        });
    }

    /// Lets things happen until every download is complete and every event was
    /// carried out; returns whether it came to that.
    fn go_on(&mut self) -> bool {
        let mut told = Time::ZERO;
        loop {
            let now = self.stage.now();
            self.join(now);
            self.carry_out(now);
            self.change_faults(now);
            let limit = self.limit();
            self.watch_exits();
            self.lab.passed(self.stage.now());
            self.look_for_panics();
            if self.lab.failure().is_some() || now >= limit {
                return false;
            }
            if self.is_done() {
                return true;
            }
            let next = self.next_due().map_or(limit, |due| due.min(limit));
            let next = next.min(told + PROGRESS_EACH).max(now);
            self.lab.look();
            match self.stage.run_until(next, &|| self.lab.wants_attention()) {
                Paused::Time | Paused::Attention => {}
                Paused::Spin(evidence) => {
                    self.lab.fail(self.stage.now(), Code::Spin, evidence);
                    return false;
                }
                Paused::Limit(which) => {
                    self.doubts.push(which);
                    return false;
                }
            }
            if self.stage.now() >= told + PROGRESS_EACH {
                told = self.stage.now();
                self.tell_progress();
            }
            self.pass_lines();
        }
    }

    /// Lets announces, partings and duplicates come to their end.
    fn settle(&mut self) {
        let end = self.stage.now() + SETTLE_FOR;
        while self.stage.now() < end && self.lab.failure().is_none() {
            self.lab.look();
            let next = end.min(self.stage.now() + PROGRESS_EACH);
            match self.stage.run_until(next, &|| self.lab.wants_attention()) {
                Paused::Time | Paused::Attention => {
                    self.watch_exits();
                    self.lab.passed(self.stage.now());
                }
                Paused::Spin(evidence) => {
                    return self.lab.fail(self.stage.now(), Code::Spin, evidence);
                }
                Paused::Limit(which) => return self.doubts.push(which),
            }
        }
    }

    fn look_for_panics(&self) {
        for panic in self.stage.panics() {
            self.lab.fail(self.stage.now(), Code::Robust, panic);
        }
    }

    fn next_due(&self) -> Option<Time> {
        let joins = self.plan.peers.iter().enumerate().filter(|(peer, _)| !self.joined[*peer]);
        let joins = joins.map(|(_, peer)| Time::from_epoch(Duration::from_millis(peer.join_ms)));
        let waiting = (0..self.done.len()).filter(|event| !self.done[*event]);
        let events = waiting.filter_map(|event| match self.plan.events[event].when {
            When::At(at_ms) if self.due[event].is_none() => {
                Some(Time::from_epoch(Duration::from_millis(at_ms)))
            }
            _ => self.due[event],
        });
        joins.chain(events).chain(self.next_fault()).min()
    }

    fn join(&mut self, now: Time) {
        for (index, peer) in self.plan.peers.iter().enumerate() {
            if !self.joined[index] && Duration::from_millis(peer.join_ms) <= now.since_epoch() {
                self.joined[index] = true;
                self.start(index);
            }
        }
    }

    fn start(&mut self, peer: usize) {
        let plan = &self.plan.peers[peer];
        let contact = |name: &String| {
            let known = self.plan.peer(name).expect("a plan's peers know its peers");
            self.plan.contact(peer, known)
        };
        let announce = self.plan.tracker.as_ref().map(TrackerPlan::announce_url);
        let knows = plan.knows.iter().map(contact).collect();
        if !plan.runs_client() {
            return self.start_hostile(peer, knows, announce);
        }
        let contents = std::iter::once(&**self.content).chain(&self.own[peer]);
        let torrents = contents.take(plan.app.downloads as usize).map(|content| {
            let mut metainfo = content.metainfo().clone();
            metainfo.announce.clone_from(&announce);
            metainfo
        });
        let mut setup = Setup::new(torrents.collect(), self.plan, plan, knows, self.content);
        setup.disk_may_fail = self.may_lose_data(peer);
        let (place, interrupts) = self.begin(peer);
        let lab = self.lab.clone();
        let live = setup.download.live.as_ref().map(|live| Video {
            offset: 0,
            length: self.content.broadcast().map_or(0, Broadcast::length),
            bitrate: live.bitrate,
        });
        let video = setup.download.stream.or(live);
        setup.player = plan.player.clone().zip(video).map(|(plan, video)| Player {
            plan,
            video,
            peer,
            lab: lab.clone(),
        });
        let faults = self.faults.clone();
        let (own, doors, buggify) = (plan.address, self.doors.clone(), self.plan.buggify);
        self.stage.start(place, |env, network, disk| {
            let network = Gate::new(network, env.clone(), own, doors);
            let probed = Probed::new(env.clone(), lab.clone(), peer, faults.clone(), buggify);
            Box::pin(async move {
                software::run(network, probed, disk, setup, interrupts).await;
                lab.exited(peer, env.now());
            })
        });
    }

    /// Starts what runs no client of ours.
    fn start_hostile(&mut self, peer: usize, knows: Vec<SocketAddr>, announce: Option<String>) {
        let plan = &self.plan.peers[peer];
        let strangers = (0..self.plan.peers.len()).filter(|other| *other != peer);
        let mut others: Vec<SocketAddr> =
            strangers.map(|other| self.plan.contact(peer, other)).collect();
        let tracker = self.plan.tracker.as_ref().map(|tracker| tracker.address);
        others.extend(tracker.map(|address| SocketAddr::new(address, TrackerPlan::PORT)));
        let mission = hostile::Mission {
            peer,
            behaviour: plan.behaviour,
            listen: SocketAddr::new(IpAddr::from([0, 0, 0, 0]), plan.port),
            knows,
            announce: announce.filter(|_| plan.announce),
            others,
            content: self.content.clone(),
            lab: self.lab.clone(),
        };
        let (place, interrupts) = self.begin(peer);
        let (own, doors, lab) = (plan.address, self.doors.clone(), self.lab.clone());
        self.stage.start(place, |env, network, _| {
            let network = Gate::new(network, env.clone(), own, doors);
            Box::pin(async move {
                hostile::run(network, env.clone(), mission, interrupts).await;
                lab.exited(peer, env.now());
            })
        });
    }

    /// A peer is about to start; returns where, and what its user's interrupts come by.
    fn begin(&mut self, peer: usize) -> (Place, mpsc::UnboundedReceiver<()>) {
        let (interrupt, interrupts) = mpsc::unbounded_channel();
        self.interrupts[peer] = Some(interrupt);
        self.exits[peer] = None;
        let place = Place(peer);
        self.lab.started(peer, self.stage.disk(place), self.stage.now());
        (place, interrupts)
    }

    /// What was asked for and never went wrong: without it a run shows nothing.
    fn doubt_what_never_fired(&mut self) {
        for (index, peer) in self.plan.peers.iter().enumerate() {
            let (name, behaviour) = (&peer.name, peer.behaviour.name());
            let never = |what| self.lab.times_fired(Some(index), what) == 0 && !peer.if_possible;
            if !peer.runs_client() && never(behaviour) {
                let words = format!("{name} never came to do what it is there for: {behaviour}");
                self.doubts.push(words);
            }
            if peer.nat && never(Doors::NAT) {
                self.doubts.push(format!("nobody ever dialled {name}, which is behind a NAT"));
            }
        }
        let all = self.lab.all_fired();
        let buggified = Buggify::ALL.iter().any(|point| all.contains_key(point.name()));
        if self.plan.buggify > 0.0 && !buggified {
            let share = self.plan.buggify;
            self.doubts.push(format!("with {share} of what may always happen nothing happened"));
        }
        let faults = self.plan.tracker.iter().flat_map(|tracker| &tracker.faults);
        for fault in faults.filter(|fault| !fault.if_possible) {
            let name = fault.fault.name();
            if self.lab.times_fired(None, name) == 0 {
                self.doubts.push(format!("nobody ever came upon a fault of the tracker: {name}"));
            }
        }
    }

    fn tell_to_leave(&self, peer: usize) {
        if let Some(interrupt) = &self.interrupts[peer] {
            // An error is that it has exited.
            let _ = interrupt.send(());
        }
    }

    /// Whether every event was carried out, who has to exit has done so, and every peer
    /// that is up is complete and has played what it wanted to.
    fn is_done(&self) -> bool {
        let everybody = self.joined.iter().all(|joined| *joined);
        let complete = self.lab.with_peers(|peers| peers.iter().all(lab::Peer::is_done));
        let mut events = self.plan.events.iter().zip(&self.done);
        everybody
            && events.all(|(event, done)| *done || event.if_possible)
            && complete
            && self.faults_are_over()
            && !self.awaits_exits()
    }

    /// A run that did not end as it should: who lacks what, and who has it.
    fn explain_stall(&mut self) {
        let at = self.stage.now();
        let missing_events: Vec<String> = self
            .done
            .iter()
            .zip(&self.plan.events)
            .filter(|(done, event)| !**done && !event.if_possible)
            .map(|(_, event)| format!("{:?} of {} never came to pass", event.action, event.peer))
            .collect();
        let complete = self.lab.with_peers(|peers| peers.iter().all(lab::Peer::is_done));
        if complete {
            self.doubts.extend(missing_events);
            return;
        }
        if !self.doubts.is_empty() {
            return;
        }
        self.lab.explain();
        // A limit hit meanwhile only makes the explanation shorter.
        let _ = self.stage.run_until(at + EXPLAIN_FOR, &|| false);
        let mut stall =
            self.lab.with_peers(|peers| stall::explain(self.plan, peers, self.content, at));
        for (index, peer) in self.plan.peers.iter().enumerate() {
            if let Some(cycle) = self.lab.waits.cycle(index) {
                stall.words += &format!("\n{} waits in a circle: {cycle}", peer.name);
            }
        }
        let faults = self.tell_faults().into_iter().map(|line| format!("\n{line}"));
        stall.words.extend(faults);
        match stall.could_finish {
            true => self.lab.fail(at, Code::Done, stall.words),
            false => self.doubts.push(format!("nobody could finish:\n{}", stall.words)),
        }
    }

    fn tell_progress(&mut self) {
        let pieces = u64::from(self.content.layout().pieces());
        let verified = self
            .lab
            .with_peers(|peers| peers.iter().map(|it| u64::from(it.verified.count())).sum());
        self.watch.progress(Progress {
            now: self.stage.now(),
            verified,
            wanted: pieces * self.plan.peers.len() as u64,
            events: self.lab.trace(|trace| trace.events()),
        });
    }

    fn pass_lines(&mut self) {
        for (at, event) in self.lab.take_words() {
            self.watch.event(at, &event);
        }
        for (at, line) in self.lab.take_lines() {
            self.watch.line(at, &line);
        }
    }

    fn report(mut self) -> Report {
        let failure: Option<Failure> = self.lab.failure();
        let expected = |peer: &&PeerPlan| {
            (peer.has != Has::Everything || peer.player.is_some())
                && members::is_to_finish(self.plan, peer)
        };
        let downloads = self.plan.peers.iter().filter(expected).count();
        self.doubt_faults();
        self.doubt_what_never_fired();
        let mut checks = self.lab.checks();
        checks.push((Code::Done, downloads as u64));
        checks.push((Code::Robust, self.stage.steps()));
        checks.push((Code::Spin, self.stage.steps()));
        checks.push((Code::Stop, self.joined.iter().filter(|joined| **joined).count() as u64));
        checks.sort_unstable();
        let unchecked = checks.iter().filter(|(_, count)| *count == 0 && failure.is_none());
        for (code, _) in unchecked {
            self.doubts.push(format!("{code} had nothing to check"));
        }
        let verdict = match (&failure, self.doubts.is_empty()) {
            (Some(_), _) => Verdict::Fail,
            (None, false) => Verdict::Unknown,
            (None, true) => Verdict::Pass,
        };
        let (peers, useful_bytes) = self.lab.with_peers(|peers| {
            let report = |peer: &crate::lab::Peer| PeerReport {
                name: peer.name.clone(),
                verified: peer.verified.count(),
                completed: peer.completed,
                downloaded: peer.downloaded,
                uploaded: peer.uploaded,
            };
            let useful = peers.iter().map(|peer| peer.useful_bytes).sum();
            (peers.iter().map(report).collect(), useful)
        });
        let mut fired: Vec<(&'static str, u64)> =
            self.fired.iter().map(|(action, times)| (action.name(), *times)).collect();
        fired.extend(self.faults.by_kind());
        fired.extend(self.lab.all_fired());
        let (digest, events) = self.lab.trace(|trace| (trace.digest(), trace.events()));
        Report {
            verdict,
            failure,
            doubts: self.doubts,
            digest,
            events,
            packets: self.stage.packets(),
            ended: self.stage.now(),
            hosts: self.plan.hosts(),
            useful_bytes,
            checks,
            fired,
            reached: self.lab.reached(),
            peers,
        }
    }
}

/// What a peer has of its own, which nobody else has: a torrent of one piece for each
/// download after the first.
fn own(peer: &PeerPlan) -> Vec<Content> {
    let torrent = |number: u32| {
        let name = format!("{}-{number}", peer.name);
        let files = vec![FilePlan { path: name.clone(), length: 16 * 1024 }];
        TorrentPlan {
            name,
            piece_length: 16 * 1024,
            private: false,
            merkle: false,
            live: None,
            closed: false,
            bitrate: None,
            files,
        }
    };
    let content = |number| Content::generate(&torrent(number)).expect("a piece can be made");
    (2..=peer.app.downloads).map(content).collect()
}

fn link(plan: LinkPlan) -> HostLink {
    HostLink::symmetric(Link {
        latency: Duration::from_micros(plan.latency_us),
        jitter: Duration::from_micros(plan.jitter_us),
        bandwidth: plan.bandwidth,
        queue: plan.queue,
    })
}
