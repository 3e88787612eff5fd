//! Bugs that were found by search, and mended: each in the smallest form that showed
//! it. The first lines of a file say what was wrong.

use std::{fs, path::Path};

use reseed::Source;
use reseed_sim::{Engine, Verdict};

use crate::run_on;

#[test]
fn what_was_mended_stays_so() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let (name, text) = (file.display().to_string(), fs::read_to_string(&file).unwrap());
        assert!(text.starts_with("# "), "{name} does not say what was wrong");
        let plan = Source { name: name.clone(), text }.read_plan().unwrap();
        for engine in [Engine::TurmoilNet, Engine::Native] {
            let report = run_on(&plan, engine, &mut ());
            let (verdict, doubts) = (report.verdict, &report.doubts);
            assert_eq!(verdict, Verdict::Pass, "{name}, {engine}: {:?} {doubts:?}", report.failure);
        }
    }
}
