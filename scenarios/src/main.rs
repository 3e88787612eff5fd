//! The `reseed` command: runs scenarios in a simulated network, and replays them
//! from their seeds.

mod command;

use std::{
    io::{self, ErrorKind, IsTerminal},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use command::{Status, Stop, explain, list, replay, run};
use miette::MietteHandlerOpts;
use tracing_subscriber::EnvFilter;

/// Runs BitTorrent scenarios in a simulated network, and replays them from their
/// seeds. Without a command it runs the whole catalogue and prints a table of
/// verdicts.
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
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log();
    // A message stays in one piece, for whoever searches for it.
    let handler = || MietteHandlerOpts::new().wrap_lines(false).build();
    miette::set_hook(Box::new(move |_| Box::new(handler()))).expect("nobody else sets it");
    let outcome = match &cli.command {
        None => run::catalogue(),
        Some(Command::List(args)) => list::list(args),
        Some(Command::Explain(args)) => explain::explain(args),
        Some(Command::Run(args)) => run::run(args),
        Some(Command::Replay(args)) => replay::replay(args),
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

/// Logs to standard error what `RUST_LOG` asks for, and without it nothing.
fn log() {
    if let Ok(filter) = EnvFilter::try_from_default_env() {
        let ansi = io::stderr().is_terminal();
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(ansi)
            .init();
    }
}
