//! The `reseed` command: runs scenarios in a simulated network, and replays them
//! from their seeds. The peers that it simulates it can also let loose on a real one.

mod command;

use std::{
    env,
    ffi::OsString,
    hint::black_box,
    io::{self, ErrorKind, IsTerminal, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use command::{
    Status, Stop, bench, create, diff, explain, get, hunt, list, replay, run, scrape, seed, shrink,
};
use indicatif::MultiProgress;
use miette::MietteHandlerOpts;
use tracing::Level;
use tracing_subscriber::{
    filter::{ParseError, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Runs BitTorrent scenarios in a simulated network, and replays them from their
/// seeds. Without a command it runs the whole catalogue and prints a table of
/// verdicts. The peers that run there also run here: `get` and `seed` share real
/// torrents over the real network.
///
/// Exit status: 0 pass, 1 fail, 2 usage or bad input, 3 unknown.
#[derive(Parser)]
#[command(name = "reseed", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    List(list::Args),
    Explain(explain::Args),
    Run(run::Args),
    Replay(replay::Args),
    Hunt(hunt::Args),
    Shrink(shrink::Args),
    Diff(diff::Args),
    Bench(bench::Args),
    Create(create::Args),
    Get(get::Args),
    Seed(seed::Args),
    Scrape(scrape::Args),
}

fn main() -> ExitCode {
    reuse_memory();
    let cli = Cli::parse();
    let bars = MultiProgress::new();
    if let Err(error) = log(&cli, &bars) {
        eprintln!("reseed: cannot read RUST_LOG: {error}");
        return Status::BadInput.into();
    }
    // A message stays in one piece, for whoever searches for it.
    let handler = || MietteHandlerOpts::new().wrap_lines(false).build();
    miette::set_hook(Box::new(move |_| Box::new(handler()))).expect("nobody else sets it");
    let outcome = match &cli.command {
        None => run::catalogue(),
        Some(Command::List(args)) => list::list(args),
        Some(Command::Explain(args)) => explain::explain(args),
        Some(Command::Run(args)) => run::run(args),
        Some(Command::Replay(args)) => replay::replay(args),
        Some(Command::Hunt(args)) => hunt::hunt(args),
        Some(Command::Diff(args)) => diff::diff(args),
        Some(Command::Shrink(args)) => shrink::shrink(args),
        Some(Command::Bench(args)) => bench::bench(args),
        Some(Command::Create(args)) => create::create(args, &bars),
        Some(Command::Get(args)) => get::get(args, &bars),
        Some(Command::Seed(args)) => seed::seed(args, &bars),
        Some(Command::Scrape(args)) => scrape::scrape_trackers(args),
    };
    match outcome {
        Ok(status) => status.into(),
        // Nobody reads on, as under `| head`: no reason to complain, but none to
        // call it a pass either.
        Err(Stop::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Status::Unknown.into(),
        Err(Stop::Output(error)) => {
            eprintln!("reseed: cannot write to standard output: {error}");
            Status::BadInput.into()
        }
        Err(Stop::BadInput(report)) => {
            eprintln!("{report:?}");
            Status::BadInput.into()
        }
    }
}

/// What one run gives back the next one takes: glibc's allocator holds as much on to it as
/// the largest block was that it was ever given back. Left to itself it returns what it can
/// to the system after each run, and small ones take a tenth more time to touch it anew.
fn reuse_memory() {
    drop(black_box(Vec::<u8>::with_capacity(8 << 20)));
}

/// Logs to standard error what `RUST_LOG` asks for. Without it nothing, or warnings
/// where a real peer runs, whose user wants to know why nothing comes.
fn log(cli: &Cli, bars: &MultiProgress) -> Result<(), String> {
    let filter: Targets = match env::var_os("RUST_LOG").map(OsString::into_string) {
        Some(Ok(asked)) => asked.parse().map_err(|error: ParseError| {
            format!("`{asked}`: {error}; write a level, or several as in reseed_client=debug,warn")
        })?,
        Some(Err(asked)) => return Err(format!("{asked:?}: it is not UTF-8")),
        None if matches!(cli.command, Some(Command::Get(_) | Command::Seed(_))) => {
            Targets::new().with_default(Level::WARN)
        }
        None => return Ok(()),
    };
    let (ansi, bars) = (io::stderr().is_terminal(), bars.clone());
    let lines =
        tracing_subscriber::fmt::layer().with_writer(move || Above(bars.clone())).with_ansi(ansi);
    tracing_subscriber::registry().with(lines).with(filter).init();
    Ok(())
}

/// Standard error, above the bars that are drawn there.
struct Above(MultiProgress);

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
