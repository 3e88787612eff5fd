//! A peer takes any bytes at any times; alone in its program, so that the heap is its own.

use peak_alloc::PeakAlloc;
use reseed_fuzz::{Target, connection, property::hold};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

#[test]
fn whatever_is_said_costs_at_most_the_connection_that_it_is_said_on() {
    connection::measure(|| HEAP.current_usage());
    hold(&Target::named("connection"), 3_000);
}
