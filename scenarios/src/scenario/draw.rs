//! Numbers that the seed may choose.

use std::{fmt, marker::PhantomData};

use rand::{Rng, RngExt};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Error, Unexpected, Visitor, value::MapAccessDeserializer},
};

/// A number: fixed (`20`), drawn evenly from a range whose ends both belong to it
/// (`{ from = 5, to = 60 }`), or zero unless it is drawn so by chance
/// (`{ chance = 0.2, from = 5, to = 60 }`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Draw<T> {
    /// This one.
    Fixed(T),
    /// One of these.
    Range {
        /// The smallest.
        from: T,
        /// The largest; not less than `from`.
        to: T,
    },
    /// Mostly zero; or left out, where it may be left out and not be zero.
    Sometimes {
        /// Probability of one of these, 0 to 1.
        chance: f64,
        /// The smallest.
        from: T,
        /// The largest; not less than `from`.
        to: T,
    },
}

/// A number that can be written in a scenario and drawn: zero or more, finite.
pub trait Quantity: Copy + PartialOrd + fmt::Display + Default {
    /// What a value must be, for error messages.
    const EXPECTED: &str;

    /// A whole number as this type, if it fits.
    fn whole(number: u64) -> Option<Self>;

    /// Any other number as this type, if it fits.
    fn fraction(number: f64) -> Option<Self>;

    /// An even draw from `from` to `to`, both included.
    fn draw(from: Self, to: Self, rng: &mut impl Rng) -> Self;
}

impl<T: Quantity> Draw<T> {
    /// Zero, always.
    pub fn zero() -> Draw<T> {
        Draw::Fixed(T::default())
    }

    /// The number.
    pub fn sample(self, rng: &mut impl Rng) -> T {
        match self {
            Draw::Fixed(number) => number,
            Draw::Range { from, to } => T::draw(from, to, rng),
            Draw::Sometimes { chance, from, to } => match rng.random_bool(chance) {
                true => T::draw(from, to, rng),
                false => T::default(),
            },
        }
    }
}

impl Quantity for u32 {
    const EXPECTED: &str = "a whole number from 0 to 4294967295";

    fn whole(number: u64) -> Option<u32> {
        number.try_into().ok()
    }

    fn fraction(_: f64) -> Option<u32> {
        None
    }

    fn draw(from: u32, to: u32, rng: &mut impl Rng) -> u32 {
        rng.random_range(from..=to)
    }
}

impl Quantity for u64 {
    const EXPECTED: &str = "a whole number, zero or more";

    fn whole(number: u64) -> Option<u64> {
        Some(number)
    }

    fn fraction(_: f64) -> Option<u64> {
        None
    }

    fn draw(from: u64, to: u64, rng: &mut impl Rng) -> u64 {
        rng.random_range(from..=to)
    }
}

impl Quantity for f64 {
    const EXPECTED: &str = "a number, zero or more";

    fn whole(number: u64) -> Option<f64> {
        Some(number as f64)
    }

    fn fraction(number: f64) -> Option<f64> {
        (number.is_finite() && number >= 0.0).then_some(number)
    }

    fn draw(from: f64, to: f64, rng: &mut impl Rng) -> f64 {
        rng.random_range(from..=to)
    }
}

impl<'de, T: Quantity> Deserialize<'de> for Draw<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Draw<T>, D::Error> {
        deserializer.deserialize_any(DrawVisitor(PhantomData))
    }
}

struct DrawVisitor<T>(PhantomData<T>);

impl<'de, T: Quantity> Visitor<'de> for DrawVisitor<T> {
    type Value = Draw<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, or a range {{ from = …, to = … }}", T::EXPECTED)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Draw<T>, E> {
        NumberVisitor(PhantomData).visit_u64(number).map(Draw::Fixed)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Draw<T>, E> {
        NumberVisitor(PhantomData).visit_i64(number).map(Draw::Fixed)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Draw<T>, E> {
        NumberVisitor(PhantomData).visit_f64(number).map(Draw::Fixed)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Draw<T>, A::Error> {
        let Ends { chance, from: Number(from), to: Number(to) } =
            Ends::<T>::deserialize(MapAccessDeserializer::new(map))?;
        if from > to {
            return Err(A::Error::custom(format_args!(
                "a range from {from} to {to} is empty, expected `from` to be at most `to`"
            )));
        }
        match chance {
            None => Ok(Draw::Range { from, to }),
            Some(chance) if (0.0..=1.0).contains(&chance) => {
                Ok(Draw::Sometimes { chance, from, to })
            }
            Some(chance) => {
                Err(A::Error::custom(format_args!("`chance` is {chance}, expected 0 to 1")))
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "T: Quantity")]
struct Ends<T> {
    chance: Option<f64>,
    from: Number<T>,
    to: Number<T>,
}

struct Number<T>(T);

impl<'de, T: Quantity> Deserialize<'de> for Number<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number<T>, D::Error> {
        deserializer.deserialize_any(NumberVisitor(PhantomData)).map(Number)
    }
}

struct NumberVisitor<T>(PhantomData<T>);

impl<T: Quantity> Visitor<'_> for NumberVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        T::whole(number).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        u64::try_from(number)
            .ok()
            .and_then(T::whole)
            .ok_or_else(|| E::invalid_value(Unexpected::Signed(number), &self))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        T::fraction(number).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }
}

impl<T: JsonSchema> JsonSchema for Draw<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Draw_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let number = generator.subschema_for::<T>();
        json_schema!({
            "description": "A number, or a range that the seed draws one from; with `chance`, zero or left out otherwise.",
            "anyOf": [
                number,
                {
                    "type": "object",
                    "properties": {
                        "chance": { "type": "number", "minimum": 0, "maximum": 1 },
                        "from": number,
                        "to": number,
                    },
                    "required": ["from", "to"],
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
        n: Draw<u32>,
    }

    fn read(text: &str) -> Result<Draw<u32>, String> {
        toml::from_str::<Document>(text)
            .map(|document| document.n)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_number_is_fixed_and_a_table_is_a_range() {
        assert_eq!(read("n = 3"), Ok(Draw::Fixed(3)));
        assert_eq!(read("n = { from = 3, to = 3 }"), Ok(Draw::Range { from: 3, to: 3 }));
    }

    #[test]
    fn what_is_no_number_of_the_kind_is_an_error_that_says_what_is() {
        for text in
            ["n = -1", "n = 1.5", "n = 4294967296", "n = \"3\"", "n = { from = -1, to = 1 }"]
        {
            let message = read(text).unwrap_err();
            assert!(message.contains("expected a whole number from 0"), "{text}: {message}");
        }
        assert!(read("n = { from = 2, to = 1 }").unwrap_err().contains("is empty"));
        assert!(read("n = { form = 2, to = 1 }").unwrap_err().contains("unknown field `form`"));
    }

    #[test]
    fn with_a_chance_it_is_mostly_zero() {
        let Ok(sometimes) = read("n = { chance = 0.1, from = 3, to = 5 }") else { panic!() };
        let mut rng = Substreams::new(1).stream("test");
        let drawn: Vec<u32> = (0..1000).map(|_| sometimes.sample(&mut rng)).collect();
        let zeros = drawn.iter().filter(|number| **number == 0).count();
        assert!((850..950).contains(&zeros), "{zeros}");
        assert!(drawn.iter().all(|number| [0, 3, 4, 5].contains(number)));
        let error = read("n = { chance = 1.5, from = 3, to = 5 }").unwrap_err();
        assert!(error.contains("`chance` is 1.5, expected 0 to 1"), "{error}");
    }

    #[test]
    fn both_ends_of_a_range_are_drawn() {
        let mut rng = Substreams::new(1).stream("test");
        let range = Draw::Range { from: 3u32, to: 5 };
        let drawn: std::collections::BTreeSet<u32> =
            (0..100).map(|_| range.sample(&mut rng)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
    }
}
