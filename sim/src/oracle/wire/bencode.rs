//! Bencode, read from BEP 3 alone: all of a value at once, into a tree.

use std::collections::BTreeMap;

/// A value.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    Number(i128),
    Text(Vec<u8>),
    List(Vec<Value>),
    Dict(BTreeMap<Vec<u8>, Value>),
}

impl Value {
    pub(super) fn number(&self) -> Option<i128> {
        match self {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&[u8]> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn list(&self) -> Option<&[Value]> {
        match self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    pub(super) fn dict(&self) -> Option<&BTreeMap<Vec<u8>, Value>> {
        match self {
            Value::Dict(dict) => Some(dict),
            _ => None,
        }
    }

    /// A dictionary's item.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.dict()?.get(key.as_bytes())
    }
}

/// Reads the value that is all of `bytes`.
pub(super) fn read(bytes: &[u8]) -> Option<Value> {
    let (value, rest) = read_first(bytes)?;
    rest.is_empty().then_some(value)
}

/// Reads the value that `bytes` begin with; returns what is behind it too.
pub(super) fn read_first(bytes: &[u8]) -> Option<(Value, &[u8])> {
    value(bytes)
}

/// Reads one value; returns it and what is behind it.
fn value(bytes: &[u8]) -> Option<(Value, &[u8])> {
    match bytes.split_first()? {
        (b'i', rest) => {
            let (digits, rest) = until(rest, b'e')?;
            Some((Value::Number(digits.parse().ok()?), rest))
        }
        (b'l', mut rest) => {
            let mut list = Vec::new();
            while rest.first()? != &b'e' {
                let (item, behind) = value(rest)?;
                list.push(item);
                rest = behind;
            }
            Some((Value::List(list), &rest[1..]))
        }
        (b'd', mut rest) => {
            let mut dict = BTreeMap::new();
            while rest.first()? != &b'e' {
                let (key, behind) = text(rest)?;
                let (item, behind) = value(behind)?;
                // Keys come in their order, each once. BEP 3.
                if dict.last_key_value().is_some_and(|(last, _): (&Vec<u8>, _)| *last >= key) {
                    return None;
                }
                dict.insert(key, item);
                rest = behind;
            }
            Some((Value::Dict(dict), &rest[1..]))
        }
        _ => text(bytes).map(|(text, rest)| (Value::Text(text), rest)),
    }
}

fn text(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (length, rest) = until(bytes, b':')?;
    let (text, rest) = rest.split_at_checked(length.parse().ok()?)?;
    Some((text.to_vec(), rest))
}

/// The text before the first `end`, and what is behind that.
fn until(bytes: &[u8], end: u8) -> Option<(&str, &[u8])> {
    let at = bytes.iter().position(|byte| *byte == end)?;
    Some((str::from_utf8(&bytes[..at]).ok()?, &bytes[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_bep_3_read_as_it_says() {
        let text = |text: &str| Value::Text(text.into());
        let dict = |items: Vec<(&str, Value)>| {
            Value::Dict(items.into_iter().map(|(key, item)| (key.into(), item)).collect())
        };
        for (bytes, expected) in [
            ("4:spam", text("spam")),
            ("i3e", Value::Number(3)),
            ("i-3e", Value::Number(-3)),
            ("l4:spam4:eggse", Value::List(vec![text("spam"), text("eggs")])),
            ("d3:cow3:moo4:spam4:eggse", dict(vec![("cow", text("moo")), ("spam", text("eggs"))])),
            ("d4:spaml1:a1:bee", dict(vec![("spam", Value::List(vec![text("a"), text("b")]))])),
        ] {
            assert_eq!(read(bytes.as_bytes()), Some(expected), "{bytes}");
        }
    }

    #[test]
    fn what_is_no_single_value_is_none() {
        for bytes in ["", "i3", "ie", "4:spa", "l", "d1:a", "dee", "i3ei3e", "d1:bi0e1:ai0ee"] {
            assert_eq!(read(bytes.as_bytes()), None, "{bytes}");
        }
    }
}
