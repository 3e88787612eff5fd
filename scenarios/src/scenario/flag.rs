//! Options that the seed may switch.

use std::fmt;

use rand::{Rng, RngExt};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Error, Visitor, value::MapAccessDeserializer},
};

/// An option: fixed (`true`, `false`), or switched on with a probability
/// (`{ chance = 0.3 }`).
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
}

impl Flag {
    /// Whether it is on.
    pub fn sample(self, rng: &mut impl Rng) -> bool {
        match self {
            Flag::Fixed(on) => on,
            Flag::Drawn { chance } => rng.random_bool(chance),
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
struct Chance {
    chance: f64,
}

impl<'de> Visitor<'de> for FlagVisitor {
    type Value = Flag;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`true`, `false`, or a probability { chance = … }")
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Flag, E> {
        Ok(Flag::Fixed(on))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Flag, A::Error> {
        let Chance { chance } = Chance::deserialize(MapAccessDeserializer::new(map))?;
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
            "description": "On or off, or on with a probability.",
            "anyOf": [
                { "type": "boolean" },
                {
                    "type": "object",
                    "properties": { "chance": { "type": "number", "minimum": 0, "maximum": 1 } },
                    "required": ["chance"],
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
