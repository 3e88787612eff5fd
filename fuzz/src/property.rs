//! A target as a property: what its corpus and variations of it do, each time the same.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use rand::{RngExt, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;

use crate::Target;

/// Bytes of a variation at most.
const LENGTH_MAX: usize = 4096;

/// The inputs that reached something new when `.ci/fuzz --keep` found them: a line of
/// hexadecimal digits each, in `fuzz/corpus/TARGET.txt`.
///
/// # Panics
/// If the file holds anything else.
pub fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let path = folder.join(target.name).with_extension("txt");
    let Ok(text) = fs::read_to_string(&path) else { return Vec::new() };
    let input = |line: &str| -> Option<Vec<u8>> {
        let (pairs, rest) = line.as_bytes().as_chunks::<2>();
        let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        pairs.iter().map(byte).collect::<Option<_>>().filter(|_| rest.is_empty())
    };
    let read = |(number, line)| {
        input(line).unwrap_or_else(|| panic!("{}:{} is not hexadecimal", path.display(), number))
    };
    (1..).zip(text.lines()).map(read).collect()
}

/// Runs `target` over its seeds, its corpus, and `variations` of them.
///
/// # Panics
/// If the target does. Then the input is printed.
pub fn hold(target: &Target, variations: u32) {
    let mut known = (target.seeds)();
    known.extend(corpus(target));
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
