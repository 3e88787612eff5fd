//! A target as a property: what its corpus and variations of it do, each time the same.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use crate::Target;

/// Bytes of a variation at most.
const LENGTH_MAX: usize = 4096;

/// Where a target's inputs are kept.
pub fn corpus(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name)
}

/// Runs `target` over its seeds, its corpus, and `variations` of them.
///
/// # Panics
/// If the target does. Then the input is printed.
pub fn hold(target: &Target, variations: u32) {
    let mut known = (target.seeds)();
    known.extend(read(&corpus(target)));
    assert!(!known.is_empty(), "{} has something to begin with", target.name);
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for input in &known {
        run(target, input);
    }
    for _ in 0..variations {
        let input = vary(&known, &mut rng);
        run(target, &input);
    }
}

/// The files of a folder, by name.
fn read(folder: &Path) -> Vec<Vec<u8>> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("it is there").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).expect("it can be read")).collect()
}

fn run(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        eprintln!("target {} panicked over b\"{}\"", target.name, input.escape_ascii());
        resume_unwind(panic);
    }
}

/// One of the known inputs, changed a few times.
fn vary(known: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut input = known.choose(rng).expect("there is one").clone();
    for _ in 0..rng.random_range(1..=6) {
        let at = rng.random_range(0..=input.len());
        let end = rng.random_range(at..=input.len().min(at + 16));
        match rng.random_range(0..6) {
            0 => drop(input.splice(at..end, [])),
            1 => {
                let noise: Vec<u8> = (at..end).map(|_| rng.random()).collect();
                input.splice(at..end, noise);
            }
            2 => {
                let again = input[at..end].to_vec();
                input.splice(at..at, again);
            }
            3 => {
                let other = known.choose(rng).expect("there is one");
                let from = rng.random_range(0..=other.len());
                let piece = &other[from..other.len().min(from + 64)];
                input.splice(at..end, piece.iter().copied());
            }
            4 if at < input.len() => {
                let odd = [0, 1, 0x7f, 0x80, 0xff, b'e', b'd', b'l', b'i', b'9', b':'];
                input[at] = *odd.choose(rng).expect("there are some");
            }
            _ if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
            _ => input.push(rng.random()),
        }
    }
    input.truncate(LENGTH_MAX);
    input
}
