//! A range of seeds, as it is typed.

use std::{ops::RangeInclusive, str::FromStr};

/// Seeds from one to another, both included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds(pub RangeInclusive<u64>);

/// What is no range of seeds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no range of seeds, expected A..B (B not included) or A..=B, with a seed in it"
)]
pub struct NoSeeds {
    text: String,
}

impl Seeds {
    /// How many there are; `None` if that is more than a number holds.
    pub fn count(&self) -> Option<u64> {
        (self.0.end() - self.0.start()).checked_add(1)
    }
}

impl FromStr for Seeds {
    type Err = NoSeeds;

    /// `A..B` without B, or `A..=B` with it, as Rust writes ranges.
    fn from_str(text: &str) -> Result<Seeds, NoSeeds> {
        let read = || {
            let (from, to) = text.split_once("..")?;
            let from: u64 = from.parse().ok()?;
            let to = match to.strip_prefix('=') {
                Some(last) => last.parse().ok()?,
                None => to.parse::<u64>().ok()?.checked_sub(1)?,
            };
            (from <= to).then_some(Seeds(from..=to))
        };
        read().ok_or_else(|| NoSeeds { text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_written_as_in_rust() {
        assert_eq!("1..65".parse(), Ok(Seeds(1..=64)));
        assert_eq!("1..=64".parse(), Ok(Seeds(1..=64)));
        assert_eq!("7..=7".parse::<Seeds>().unwrap().count(), Some(1));
        assert_eq!("0..=18446744073709551615".parse::<Seeds>().unwrap().count(), None);
    }

    #[test]
    fn what_holds_no_seed_is_no_range() {
        for text in ["", "1", "1..1", "2..=1", "0..0", "a..b", "1...3", "-1..2"] {
            let message = text.parse::<Seeds>().unwrap_err().to_string();
            assert!(message.contains("expected A..B"), "{text}: {message}");
        }
    }
}
