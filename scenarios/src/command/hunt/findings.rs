//! What is left of a finding: the smallest plan that shows it, its transcript, and a
//! page to begin with.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use miette::miette;
use reseed_protocol::Time;
use reseed_sim::{Content, Plan, Shrink, Smallest, Watch};

use super::{
    results::Group,
    workers::{Ground, size},
};
use crate::command::{folder::written, interrupt::Interrupt, prepare::World, repro, shrink};

/// Makes `group`'s smallest run smaller, and writes it below `out`; returns the folder
/// and the size of what is there. `None` if the run does not fail again.
pub fn write(
    out: &Path,
    group: &Group,
    ground: &Ground,
    world: &World,
    runs_max: u64,
    interrupt: &Interrupt,
) -> miette::Result<Option<(PathBuf, [usize; 3])>> {
    let plan = ground.plan(group.seed, world).map_err(|no| miette!("{no}"))?;
    let Ok(mut shrink) = Shrink::new(plan, world.engine, runs_max) else { return Ok(None) };
    let smallest = shrink.run(|_| !interrupt.is_set());
    let folder = out.join(repro::slug(shrink.cause()));
    let keep = || -> io::Result<()> {
        let repro = folder.join("repro.toml");
        repro::write(&repro, shrink.best(), shrink.report(), world.engine)?;
        put(&folder, "transcript.txt", &transcript(shrink.best(), world))?;
        put(&folder, "README.md", &page(group, &shrink, smallest, &repro))
    };
    keep().map_err(|error| miette!("cannot write to {}: {error}", folder.display()))?;
    Ok(Some((folder, size(shrink.best()))))
}

fn put(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    written(folder, text)?.persist(folder.join(name)).map(drop).map_err(io::Error::from)
}

/// One screen: what fails, where it was found, how to see it.
fn page(group: &Group, shrink: &Shrink, smallest: Smallest, repro: &Path) -> String {
    let failure = shrink.report().failure.as_ref().expect("it fails");
    let defects: String = group
        .defects
        .split(',')
        .filter(|it| !it.is_empty())
        .map(|it| format!(" --defect {it}"))
        .collect();
    let done = match smallest {
        Smallest::Yes => "Nothing more can be taken away.",
        Smallest::OutOfRuns | Smallest::Interrupted => "There may be more to take away.",
    };
    let evidence: String = failure.evidence.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "# {}\n\nIn its smallest form ({}), at {} s:\n\n{evidence}\nFound {} times, the smallest in `{}` at \
         seed {}, with {}; made smaller in {} runs. {done}\n\n```text\nreseed replay {}\nreseed replay {} \
         --seed {}{defects}\n```\n",
        shrink.cause(),
        shrink::size(shrink.best()),
        failure.at,
        group.runs,
        group.scenario,
        group.seed,
        shrink::size_of(group.size),
        shrink.runs(),
        repro.display(),
        group.scenario,
        group.seed,
    )
}

fn transcript(plan: &Plan, world: &World) -> String {
    struct Lines(String);
    impl Watch for Lines {
        fn wants_lines(&self) -> bool {
            true
        }

        fn line(&mut self, at: Time, line: &str) {
            self.0 += &format!("{:>12} {line}\n", at.to_string());
        }
    }
    let mut lines = Lines(String::new());
    if let Ok(content) = Content::generate(&plan.torrent) {
        reseed_sim::run(plan, &content, world.engine, &mut lines);
    }
    lines.0
}
