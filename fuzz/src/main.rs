//! The fuzzer: `RESEED_TARGET=NAME fuzz [libFuzzer's options] CORPUS…`.
#![no_main]

use std::{env, sync::LazyLock};

use peak_alloc::PeakAlloc;
use reseed_fuzz::Target;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    Target::named(&env::var("RESEED_TARGET").expect("RESEED_TARGET says what to fuzz"))
});

libfuzzer_sys::fuzz_target!(
    init: {
        reseed_fuzz::connection::measure(|| HEAP.current_usage());
    },
    |bytes: &[u8]| (TARGET.run)(bytes)
);
