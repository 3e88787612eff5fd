//! Options that consecutive seeds go through, one combination each.

use serde_json::Value;

use super::{Place, Problem, Scenario, ScenarioError};

/// How many values each axis has; axis 0 turns fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Axes {
    lengths: [u64; Axes::MAX],
}

impl Axes {
    /// Axes of a scenario (count). A full turn of that many is more runs than anybody
    /// waits for.
    pub(super) const MAX: usize = 8;

    /// The axes that `scenario` speaks of. Whatever turns on one axis has as many
    /// values as all else on it.
    pub(super) fn of(scenario: &Scenario) -> Result<Axes, ScenarioError> {
        let mut axes = Axes::default();
        let scenario = serde_json::to_value(scenario).expect("a scenario can be written");
        axes.find(&scenario).map_err(|problem| Place::root().problem(problem))?;
        Ok(axes)
    }

    /// Which of the values on `axis` is `seed`'s turn.
    pub(super) fn turn(&self, seed: u64, axis: u8) -> usize {
        let faster = self.lengths.iter().take(axis.into()).filter(|length| **length > 0);
        let slowed = seed / faster.product::<u64>();
        (slowed % self.lengths[usize::from(axis)].max(1)) as usize
    }

    fn find(&mut self, value: &Value) -> Result<(), Problem> {
        match value {
            Value::Object(fields) => {
                if let Some(Value::Array(values)) = fields.get("each") {
                    let axis = fields.get("axis").and_then(Value::as_u64).unwrap_or_default();
                    return self.add(axis, values.len() as u64);
                }
                fields.values().try_for_each(|value| self.find(value))
            }
            Value::Array(values) => values.iter().try_for_each(|value| self.find(value)),
            _ => Ok(()),
        }
    }

    fn add(&mut self, axis: u64, length: u64) -> Result<(), Problem> {
        let there = &mut self.lengths[axis as usize];
        if *there > 0 && *there != length {
            return Err(Problem::AxisLengths { axis, lengths: [*there, length] });
        }
        *there = length;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn consecutive_seeds_go_through_every_combination_once() {
        let mut axes = Axes::default();
        for (axis, length) in [(0, 2), (1, 3), (3, 4)] {
            axes.add(axis, length).unwrap();
        }
        let turns = |seed| [0, 1, 3].map(|axis| axes.turn(seed, axis));
        let all: BTreeSet<_> = (7..7 + 24).map(turns).collect();
        assert_eq!(all.len(), 24);
        assert_eq!((turns(7), turns(8)), ([1, 0, 1], [0, 1, 1]), "axis 0 turns fastest");
    }

    #[test]
    fn what_turns_on_one_axis_has_as_many_values() {
        let mut axes = Axes::default();
        axes.add(2, 3).unwrap();
        assert_eq!(axes.add(2, 3), Ok(()));
        assert_eq!(axes.add(2, 4), Err(Problem::AxisLengths { axis: 2, lengths: [3, 4] }));
    }
}
