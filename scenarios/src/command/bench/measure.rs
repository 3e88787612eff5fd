//! Runs, and the clock beside them.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use miette::{IntoDiagnostic, WrapErr, miette};
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use reseed::Swarm;
use reseed_sim::{Content, Report, Verdict, run, run_unchecked};
use sha1::{Digest, Sha1};

use super::{Set, Subject, row::Row};
use crate::command::{
    hunt::{cores, ground, workers},
    prepare::World,
};

/// For how long small swarms are run, one after the other.
const SMALL_FOR: Duration = Duration::from_secs(3);

/// For how long a hunt is.
const HUNT_FOR: Duration = Duration::from_secs(10);

/// One swarm, as often as it takes to measure it.
pub fn swarm(subject: Subject, peers: u32) -> miette::Result<Row> {
    let swarm = match subject.set {
        Set::A => Swarm::Unlimited,
        Set::B => Swarm::Limited,
        Set::Small => Swarm::Small,
        Set::Large => Swarm::Large,
        Set::Idle => Swarm::Idle,
        Set::Hunt => unreachable!("a hunt is no swarm"),
    };
    let plan = |seed| swarm.plan(peers as usize, seed);
    let content = Content::generate(&plan(1).torrent).map_err(|no| miette!("{no}"))?;
    let mut sums = Sums::new(subject, peers)?;
    let began = wall_clock();
    for seed in 1.. {
        let report = match subject.unchecked {
            true => run_unchecked(&plan(seed), &content, subject.engine),
            false => run(&plan(seed), &content, subject.engine, &mut ()),
        };
        sums.add(&report);
        if subject.set != Set::Small || began.elapsed() >= SMALL_FOR {
            break;
        }
    }
    sums.row(began.elapsed(), 1)
}

/// Seeds of `wild`, one after the other, on all cores.
pub fn hunt(subject: Subject) -> miette::Result<Row> {
    let ground = ground("wild").map_err(|_| miette!("reading wild, which is in the catalogue"))?;
    let world = World { engine: subject.engine, ..World::new() };
    let mut sums = Sums::new(subject, 0)?;
    let began = wall_clock();
    workers::run(cores(), &world, (1..).map(|seed| (&ground, seed)), |row| {
        sums.cases += 1;
        sums.worst(&row.verdict);
        if row.seed == 1 {
            sums.row.digest = row.digest;
        }
        began.elapsed() < HUNT_FOR
    });
    sums.row(began.elapsed(), cores())
}

struct Sums {
    cases: u64,
    cpu_before: Duration,
    row: Row,
}

impl Sums {
    fn new(subject: Subject, peers: u32) -> miette::Result<Sums> {
        let Subject { set, engine, unchecked, .. } = subject;
        let row = Row {
            set,
            engine,
            peers,
            checked: !unchecked,
            verdict: Verdict::Pass.to_string(),
            cases: 0,
            sim_seconds: 0.0,
            wall_seconds: 0.0,
            cpu_seconds: 0.0,
            cores: 1,
            useful_bytes: 0,
            useful_mib_per_s: 0.0,
            peer_seconds_per_wall_second: 0.0,
            cases_per_s: 0.0,
            events: 0,
            packets: None,
            peak_rss_bytes: 0,
            digest: String::new(),
            sha1_mb_per_s: sha1_speed(),
        };
        // What was measured so far is no part of the swarm.
        Ok(Sums { cases: 0, cpu_before: usage()?.0, row })
    }

    fn add(&mut self, report: &Report) {
        if self.cases == 0 {
            self.row.digest = report.digest.to_string();
        }
        self.cases += 1;
        self.worst(&report.verdict.to_string());
        self.row.sim_seconds += report.ended.since_epoch().as_secs_f64();
        self.row.useful_bytes += report.useful_bytes;
        self.row.events += report.events;
        let packets = report.packets.map(|packets| self.row.packets.unwrap_or(0) + packets);
        self.row.packets = packets;
    }

    fn worst(&mut self, verdict: &str) {
        let weight =
            |verdict: &str| ["pass", "unknown", "fail"].iter().position(|it| *it == verdict);
        if weight(verdict) > weight(&self.row.verdict) {
            self.row.verdict = verdict.to_owned();
        }
    }

    fn row(self, wall: Duration, cores: usize) -> miette::Result<Row> {
        let Sums { cases, cpu_before, row } = self;
        let (cpu, peak_rss_bytes) = usage()?;
        let seconds = wall.as_secs_f64();
        Ok(Row {
            cases,
            cores,
            wall_seconds: seconds,
            cpu_seconds: (cpu - cpu_before).as_secs_f64(),
            useful_mib_per_s: row.useful_bytes as f64 / f64::from(1 << 20) / seconds,
            peer_seconds_per_wall_second: row.sim_seconds * f64::from(row.peers) / seconds,
            cases_per_s: cases as f64 / seconds,
            peak_rss_bytes,
            ..row
        })
    }
}

/// Time of all cores that this process took so far, and the most memory that it had
/// (bytes).
fn usage() -> miette::Result<(Duration, u64)> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)
        .into_diagnostic()
        .wrap_err("asking the system what this process has used")?;
    let micros = (usage.user_time() + usage.system_time()).num_microseconds();
    // Linux counts KiB.
    Ok((Duration::from_micros(micros as u64), usage.max_rss() as u64 * 1024))
}

/// SHA-1 over blocks of 16 KiB, 10⁶ bytes a second: the best of several tries.
fn sha1_speed() -> f64 {
    // Small, so that it is not what the peak of memory is of.
    let block = [7u8; 16 << 10];
    let tries = (0..3).map(|_| {
        let (began, times) = (wall_clock(), 1024);
        for _ in 0..times {
            black_box(Sha1::digest(black_box(&block)));
        }
        (block.len() * times) as f64 / began.elapsed().as_secs_f64() / 1e6
    });
    tries.fold(0.0, f64::max)
}

#[expect(clippy::disallowed_methods, reason = "how long runs take is what is measured")]
fn wall_clock() -> Instant {
    Instant::now()
}
