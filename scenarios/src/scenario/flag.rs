//! Options that the seed may switch.

use std::fmt;

use rand::{Rng, RngExt};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Error, Visitor, value::MapAccessDeserializer},
};

use super::axes::Axes;

/// An option: fixed (`true`, `false`), switched on with a probability
/// (`{ chance = 0.3 }`), or of each kind in turn (`{ each = [true, false] }`). In turn
/// means by consecutive seeds, so that as many runs as there are combinations go
/// through all of them: axis 0 turns with every seed, axis 1 with every full turn of
/// axis 0, and so on. Options on one axis turn together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Flag {
    /// On or off.
    Fixed(bool),
    /// On in this share of the runs.
    Drawn {
        /// Probability, 0 to 1.
        chance: f64,
    },
    /// The next of these with every step of its axis.
    Each {
        /// On or off.
        each: Turns,
        /// Which axis, from 0.
        #[serde(skip_serializing_if = "is_zero")]
        axis: u8,
    },
}

/// On or off in each turn: 1 to 64 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turns {
    count: u8,
    bits: u64,
}

impl Turns {
    /// Whether it is on in this turn.
    pub(super) fn get(self, turn: usize) -> bool {
        self.bits >> turn & 1 == 1
    }

    fn new(turns: &[bool]) -> Option<Turns> {
        let count = u8::try_from(turns.len()).ok().filter(|count| (1..=64).contains(count))?;
        let bits = (0..).zip(turns).fold(0, |bits, (turn, on)| bits | u64::from(*on) << turn);
        Some(Turns { count, bits })
    }
}

impl Serialize for Turns {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((0..usize::from(self.count)).map(|turn| self.get(turn)))
    }
}

fn is_zero(axis: &u8) -> bool {
    *axis == 0
}

impl Flag {
    /// Whether it is on; of what comes in turn, the first.
    pub fn sample(self, rng: &mut impl Rng) -> bool {
        match self {
            Flag::Fixed(on) => on,
            Flag::Drawn { chance } => rng.random_bool(chance),
            Flag::Each { each, .. } => each.get(0),
        }
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Flag, D::Error> {
        deserializer.deserialize_any(FlagVisitor)
    }
}

struct FlagVisitor;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    chance: Option<f64>,
    each: Option<Vec<bool>>,
    axis: Option<u8>,
}

impl<'de> Visitor<'de> for FlagVisitor {
    type Value = Flag;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`true`, `false`, a probability { chance = … }, or turns { each = […] }")
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Flag, E> {
        Ok(Flag::Fixed(on))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Flag, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        let chance = match table {
            Table { chance: Some(chance), each: None, axis: None } => chance,
            Table { chance: None, each: Some(each), axis } => {
                let axis = axis.unwrap_or_default();
                if usize::from(axis) >= Axes::MAX {
                    let most = Axes::MAX - 1;
                    let message = format_args!("axis {axis}, expected a number from 0 to {most}");
                    return Err(A::Error::custom(message));
                }
                let each = Turns::new(&each)
                    .ok_or_else(|| A::Error::custom("`each` takes 1 to 64 values"))?;
                return Ok(Flag::Each { each, axis });
            }
            _ => return Err(A::Error::custom("expected either `chance`, or `each`")),
        };
        if !(0.0..=1.0).contains(&chance) {
            let message = format_args!("a chance of {chance}, expected a number from 0 to 1");
            return Err(A::Error::custom(message));
        }
        Ok(Flag::Drawn { chance })
    }
}

impl JsonSchema for Flag {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Flag".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "On or off, on with a probability, or each in turn with consecutive seeds.",
            "anyOf": [
                { "type": "boolean" },
                {
                    "type": "object",
                    "properties": { "chance": { "type": "number", "minimum": 0, "maximum": 1 } },
                    "required": ["chance"],
                    "additionalProperties": false,
                },
                {
                    "type": "object",
                    "properties": {
                        "each": { "type": "array", "items": { "type": "boolean" } },
                        "axis": { "type": "integer", "minimum": 0, "maximum": 7 },
                    },
                    "required": ["each"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use reseed_sim::Substreams;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Document {
        on: Flag,
    }

    fn read(text: &str) -> Result<Flag, String> {
        toml::from_str::<Document>(text)
            .map(|document| document.on)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_flag_is_fixed_or_has_a_chance() {
        assert_eq!(read("on = true"), Ok(Flag::Fixed(true)));
        assert_eq!(read("on = { chance = 0.25 }"), Ok(Flag::Drawn { chance: 0.25 }));
    }

    #[test]
    fn turns_are_a_list_and_the_axis_that_they_are_on() {
        let Ok(Flag::Each { each, axis: 2 }) = read("on = { each = [true, false], axis = 2 }")
        else {
            panic!("it is on axis 2");
        };
        assert_eq!([each.get(0), each.get(1)], [true, false]);
        assert!(read("on = { each = [] }").unwrap_err().contains("1 to 64"));
        assert!(read("on = { each = [true], axis = 8 }").unwrap_err().contains("from 0 to 7"));
        assert!(read("on = { each = [true], chance = 1 }").unwrap_err().contains("either"));
    }

    #[test]
    fn what_is_no_flag_is_an_error_that_says_what_is() {
        assert!(read("on = 1").unwrap_err().contains("expected `true`, `false`"));
        assert!(read("on = { chance = 1.5 }").unwrap_err().contains("a number from 0 to 1"));
        assert!(read("on = { chanse = 1 }").unwrap_err().contains("unknown field `chanse`"));
    }

    #[test]
    fn a_chance_is_met_as_often_as_it_says() {
        let mut rng = Substreams::new(1).stream("test");
        let flag = Flag::Drawn { chance: 0.25 };
        let on = (0..4000).filter(|_| flag.sample(&mut rng)).count();
        assert!((900..1100).contains(&on), "{on} of 4000");
    }
}
