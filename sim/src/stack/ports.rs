//! Ports for who wants any.

use std::ops::RangeInclusive;

/// Ephemeral ports, as IANA has them (RFC 6335 §6).
const PORTS: RangeInclusive<u16> = 49_152..=65_535;

/// Gives out one port after the other, so that one is used again as late as possible.
pub(crate) struct Ports {
    next: u16,
}

impl Default for Ports {
    fn default() -> Ports {
        Ports { next: *PORTS.start() }
    }
}

impl Ports {
    /// The next one that is free.
    pub(crate) fn draw(&mut self, is_free: impl Fn(u16) -> bool) -> Option<u16> {
        let mut draws = PORTS.map(|_| {
            let port = self.next;
            self.next = if port == *PORTS.end() { *PORTS.start() } else { port + 1 };
            port
        });
        draws.find(|port| is_free(*port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_come_in_turn_and_again_when_all_were_there() {
        let mut ports = Ports::default();
        assert_eq!(ports.draw(|_| true), Some(49_152));
        assert_eq!(ports.draw(|port| port != 49_153), Some(49_154));
        assert_eq!(ports.draw(|port| port < 49_154), Some(49_152));
        assert_eq!(ports.draw(|_| false), None);
    }
}
