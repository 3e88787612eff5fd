//! `reseed replay`

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use miette::miette;
use reseed::RecordedDigests;
use reseed_protocol::Time;
use reseed_sim::{Capture, Verdict, Watch};

use super::{
    Status, Stop,
    diff::{self, Events},
    folder::{Folder, cannot_write, written},
    outcome::{Outcome, print_plan},
    packets::Packets,
    prepare::{Prepared, World, is_file},
};

/// Runs a scenario once and prints who said what to whom, and when
///
/// The digest of the run is compared with the recorded one, if there is one; a
/// difference is a failure.
#[derive(clap::Args)]
pub struct Args {
    /// A name of the catalogue, a scenario file, or a plan
    #[arg(value_name = "NAME|FILE.toml")]
    scenario: String,
    /// What all that is random in the run is drawn from; a plan has its own
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    world: World,
    /// Write transcript.txt, plan.toml and report.json here
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the packets of the run here, as pcapng, for wireshark or tshark
    #[arg(long, value_name = "FILE.pcapng")]
    pcap: Option<PathBuf>,
    /// Write every event of the run here, in words, for reseed diff
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Put the digest of this run into that file of recorded ones, instead of
    /// comparing it: snapshots/digests.toml in a checkout
    #[arg(long, value_name = "FILE", conflicts_with_all = ["torrent", "defects"])]
    record: Option<PathBuf>,
}

/// Replays what was asked for.
pub fn replay(args: &Args) -> Result<Status, Stop> {
    let world = &args.world;
    let real = world.content()?;
    let prepared =
        Prepared::new(&args.scenario, args.seed.unwrap_or_default(), world, real.as_ref())?;
    if prepared.is_plan == args.seed.is_some() {
        let (what, help) = match prepared.is_plan {
            true => ("is a plan, and has its seed", "leave out --seed"),
            false => ("can run with any seed", "give one, as in --seed 1"),
        };
        return Err(miette!(help = help, "{} {what}", args.scenario).into());
    }
    let content = match real {
        Some(content) => content,
        None => prepared.generate()?,
    };
    let recording = args.record.as_deref().map(|file| Recording::open(file, args)).transpose()?;
    if args.pcap.is_some() && !world.engine.shows_packets() {
        let engine = world.engine;
        return Err(miette!(
            help = "leave out --engine: turmoil-net has them, and so has native",
            "{engine} does not show its packets, so that there is nothing to write with --pcap"
        )
        .into());
    }
    let folder = args.out.as_deref().map(Folder::open).transpose()?;
    let pcap = args.pcap.as_deref().map(Packets::open).transpose()?;

    let mut out = io::stdout().lock();
    print_plan(&prepared, world, &mut out)?;
    let mut transcript = Transcript {
        out,
        folder,
        failed: None,
        wants_capture: pcap.is_some(),
        capture: None,
        events: args.trace.is_some().then(Events::default),
    };
    let outcome = Outcome::of(&prepared, world, &content, &mut transcript);
    let Transcript { mut out, folder, failed, capture, events, .. } = transcript;

    let record = outcome.record(&prepared, world);
    if let Some(folder) = folder {
        folder.finish(&prepared, record, &outcome)?;
    }
    if let Some(packets) = pcap {
        let capture = capture.expect("this engine shows its packets");
        packets.finish(&capture, &prepared, world, &outcome)?;
    }
    if let Some((events, file)) = events.zip(args.trace.as_deref()) {
        let title = format!("{}, seed {}", prepared.plan.scenario, prepared.plan.seed);
        diff::save(file, &title, &events)?;
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    writeln!(out)?;
    outcome.print(&prepared, world, &mut out)?;
    let status = Status::from(outcome.report.verdict);
    match recording {
        Some(recording) => {
            recording.finish(&prepared, world, &outcome)?;
            Ok(status)
        }
        None if is_file(&args.scenario) || world.is_altered() => Ok(status),
        None => Ok(status.and(compare(&prepared, world, &outcome, &mut out)?)),
    }
}

/// Holds the digest against the recorded one.
fn compare(
    prepared: &Prepared,
    world: &World,
    outcome: &Outcome,
    out: &mut dyn Write,
) -> Result<Status, Stop> {
    let plan = &prepared.plan;
    let digests = RecordedDigests::built_in();
    let digest = outcome.report.digest.to_string();
    match digests.get(&plan.scenario, plan.seed, world.engine) {
        None => writeln!(out, "no digest of this run is recorded")?,
        Some(recorded) if recorded == digest => writeln!(out, "the digest is as recorded")?,
        Some(recorded) => {
            eprintln!("reseed: this run differs from the recorded one:");
            eprintln!("  recorded {recorded}");
            eprintln!("  now      {digest}");
            let again = world.replay_command(prepared);
            eprintln!("  if that is meant: {again} --record snapshots/digests.toml");
            return Ok(Status::Fail);
        }
    }
    Ok(Status::Pass)
}

/// Prints a transcript, and keeps it if there is a folder.
struct Transcript<W> {
    out: W,
    folder: Option<Folder>,
    /// Why nothing more is printed.
    failed: Option<io::Error>,
    wants_capture: bool,
    capture: Option<Capture>,
    events: Option<Events>,
}

impl<W: Write> Watch for Transcript<W> {
    fn wants_lines(&self) -> bool {
        true
    }

    fn wants_events(&self) -> bool {
        self.events.is_some()
    }

    fn event(&mut self, at: Time, event: &str) {
        if let Some(events) = &mut self.events {
            events.event(at, event);
        }
    }

    fn wants_capture(&self) -> bool {
        self.wants_capture
    }

    fn captured(&mut self, capture: Capture) {
        self.capture = Some(capture);
    }

    fn line(&mut self, at: Time, line: &str) {
        let line = format!("{:>12} {line}\n", at.to_string());
        if let Some(folder) = &mut self.folder {
            folder.line(&line);
        }
        if self.failed.is_none() {
            self.failed = self.out.write_all(line.as_bytes()).err();
        }
    }
}

/// A file of digests that is to take another one.
struct Recording<'a> {
    file: &'a Path,
    digests: RecordedDigests,
}

impl<'a> Recording<'a> {
    fn open(file: &'a Path, args: &Args) -> miette::Result<Recording<'a>> {
        if is_file(&args.scenario) {
            return Err(miette!(
                "only runs of the catalogue are recorded, and {} is a file",
                args.scenario
            ));
        }
        let text = fs::read_to_string(file)
            .map_err(|error| miette!("cannot read {}: {error}", file.display()))?;
        let digests = RecordedDigests::read(&text)
            .map_err(|error| miette!("cannot read {}: {error}", file.display()))?;
        Ok(Recording { file, digests })
    }

    fn finish(
        mut self,
        prepared: &Prepared,
        world: &World,
        outcome: &Outcome,
    ) -> miette::Result<()> {
        let report = &outcome.report;
        if report.verdict != Verdict::Pass {
            eprintln!("reseed: only a pass is recorded");
            return Ok(());
        }
        let plan = &prepared.plan;
        self.digests.set(&plan.scenario, plan.seed, world.engine, report.digest);
        let folder = self.file.parent().filter(|folder| *folder != Path::new(""));
        let write = || {
            let file = written(folder.unwrap_or(Path::new(".")), &self.digests.write())?;
            file.persist(self.file).map_err(io::Error::from)
        };
        write().map(drop).map_err(|error| cannot_write(self.file, &error))
    }
}
