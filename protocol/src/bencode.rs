//! Reading bencoded dictionaries field by field, with errors that name the field.
//!
//! `bendy` refuses what is not canonical (unsorted or repeated keys, leading zeros,
//! `-0`) and too deep a nesting; that one value fills the input is checked here.

use bendy::decoding::{Decoder, DictDecoder, ListDecoder, Object};

/// Why bytes are not the bencoded dictionary that they should be. BEP 3 §bencoding.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BencodeError {
    /// Not one canonical bencoded value.
    #[error("no canonical bencode: {reason}")]
    Syntax {
        /// What the decoder stumbled over.
        reason: String,
    },
    /// A field that has to be there is not.
    #[error("`{field}` is missing")]
    Missing {
        /// The field, with the dictionary that it belongs to.
        field: &'static str,
    },
    /// A field has the wrong type or a value out of bounds.
    #[error("`{field}` is {value}; expected {expected}")]
    Unexpected {
        /// The field, with the dictionary that it belongs to.
        field: &'static str,
        /// What is there, shortened.
        value: String,
        /// What may be there.
        expected: &'static str,
    },
}

impl BencodeError {
    pub(crate) fn unexpected(
        field: &'static str,
        value: impl ToString,
        expected: &'static str,
    ) -> BencodeError {
        BencodeError::Unexpected { field, value: value.to_string(), expected }
    }
}

impl From<bendy::decoding::Error> for BencodeError {
    fn from(error: bendy::decoding::Error) -> BencodeError {
        BencodeError::Syntax { reason: error.to_string() }
    }
}

/// Lists and dictionaries inside each other (count). A tracker answer needs 3, a
/// .torrent file 5; the rest is for keys that nobody knows yet.
const DEPTH_MAX: usize = 32;

/// Reads `bytes`, which must be exactly one dictionary, a pair at a time.
pub(crate) fn read_dict<'a, E: From<BencodeError>>(
    bytes: &'a [u8],
    field: &'static str,
    pair: impl FnMut(&'a [u8], Object<'_, 'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut decoder = Decoder::new(bytes).with_max_depth(DEPTH_MAX);
    let object = decoder.next_object().map_err(BencodeError::from)?;
    let object = object.ok_or(BencodeError::Missing { field })?;
    each_pair(dict(field, object)?, pair)?;
    match decoder.next_object().map_err(BencodeError::from)? {
        None => Ok(()),
        Some(object) => Err(BencodeError::unexpected(
            field,
            format!("followed by {}", show(&object)),
            "the end",
        )
        .into()),
    }
}

/// Calls `pair` for each key of `dict` and its value, in the order of the keys.
pub(crate) fn each_pair<'o, 'a: 'o, E: From<BencodeError>>(
    mut dict: DictDecoder<'o, 'a>,
    mut pair: impl FnMut(&'a [u8], Object<'_, 'a>) -> Result<(), E>,
) -> Result<(), E> {
    while let Some((key, value)) = dict.next_pair().map_err(BencodeError::from)? {
        pair(key, value)?;
    }
    Ok(())
}

/// Calls `item` for each value of `list`, in order.
pub(crate) fn each_item<'o, 'a: 'o, E: From<BencodeError>>(
    mut list: ListDecoder<'o, 'a>,
    mut item: impl FnMut(Object<'_, 'a>) -> Result<(), E>,
) -> Result<(), E> {
    while let Some(value) = list.next_object().map_err(BencodeError::from)? {
        item(value)?;
    }
    Ok(())
}

/// The dictionary that `field` has to be.
pub(crate) fn dict<'o, 'a>(
    field: &'static str,
    object: Object<'o, 'a>,
) -> Result<DictDecoder<'o, 'a>, BencodeError> {
    match object {
        Object::Dict(dict) => Ok(dict),
        other => Err(BencodeError::unexpected(field, show(&other), "a dictionary")),
    }
}

/// The list that `field` has to be.
pub(crate) fn list<'o, 'a>(
    field: &'static str,
    object: Object<'o, 'a>,
) -> Result<ListDecoder<'o, 'a>, BencodeError> {
    match object {
        Object::List(list) => Ok(list),
        other => Err(BencodeError::unexpected(field, show(&other), "a list")),
    }
}

/// The byte string that `field` has to be.
pub(crate) fn bytes<'a>(
    field: &'static str,
    object: Object<'_, 'a>,
) -> Result<&'a [u8], BencodeError> {
    match object {
        Object::Bytes(bytes) => Ok(bytes),
        other => Err(BencodeError::unexpected(field, show(&other), "a string")),
    }
}

/// The UTF-8 text that `field` has to be.
pub(crate) fn text<'a>(
    field: &'static str,
    object: Object<'_, 'a>,
) -> Result<&'a str, BencodeError> {
    let bytes = bytes(field, object)?;
    std::str::from_utf8(bytes)
        .map_err(|_| BencodeError::unexpected(field, show_bytes(bytes), "UTF-8 text"))
}

/// The length or count that `field` has to be.
pub(crate) fn unsigned(field: &'static str, object: Object<'_, '_>) -> Result<u64, BencodeError> {
    let expected = "a number from 0 to 2^64-1";
    match object {
        Object::Integer(digits) => {
            digits.parse().map_err(|_| BencodeError::unexpected(field, shorten(digits), expected))
        }
        other => Err(BencodeError::unexpected(field, show(&other), expected)),
    }
}

/// The number that `field` has to be, and the nearest `i64` if it is further out.
pub(crate) fn saturating(field: &'static str, object: Object<'_, '_>) -> Result<i64, BencodeError> {
    match object {
        Object::Integer(digits) => Ok(digits.parse().unwrap_or(match digits.as_bytes() {
            [b'-', ..] => i64::MIN,
            _ => i64::MAX,
        })),
        other => Err(BencodeError::unexpected(field, show(&other), "a number")),
    }
}

/// Bytes as an error message shows them: escaped and short.
pub(crate) fn show_bytes(bytes: &[u8]) -> String {
    format!("\"{}\"", shorten(&bytes[..bytes.len().min(SHOWN)].escape_ascii().to_string()))
}

/// What an error message shows of untrusted text (characters).
const SHOWN: usize = 60;

fn show(object: &Object<'_, '_>) -> String {
    match object {
        Object::List(_) => "a list".into(),
        Object::Dict(_) => "a dictionary".into(),
        Object::Integer(digits) => format!("the number {}", shorten(digits)),
        Object::Bytes(bytes) => format!("the string {}", show_bytes(bytes)),
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<(), BencodeError> {
        read_dict(bytes, "it", |_, _| Ok(()))
    }

    #[test]
    fn only_one_canonical_dictionary_is_read() {
        assert_eq!(read(b"d1:ai0e1:bli-1e0:ee"), Ok(()));
        for (bytes, why) in [
            (&b""[..], "nothing"),
            (b"i1e", "no dictionary"),
            (b"de3:abc", "a value behind it"),
            (b"dee", "an end behind it"),
            (b"de\n", "a line feed behind it"),
            (b"d1:bi0e1:ai0ee", "keys not sorted"),
            (b"d1:ai0e1:ai0ee", "a key twice"),
            (b"d1:ad1:bi0e1:ai0eee", "inner keys not sorted"),
            (b"di1ei1ee", "a key that is no string"),
            (b"d1:ae", "a key without a value"),
            (b"d1:ai01ee", "a leading zero"),
            (b"d1:ai-0ee", "minus zero"),
            (b"d1:aiee", "no digits"),
            (b"d01:ai0ee", "a leading zero of a length"),
            (b"d1:a9:bce", "a string that does not end"),
            (b"d1:a99999999999999999999:e", "a length beyond 64 bits"),
            (b"d1:ai0e", "no end"),
        ] {
            assert!(read(bytes).is_err(), "{why}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| {
            let lists = depth - 1;
            [&b"d1:a"[..], &b"l".repeat(lists), &b"e".repeat(lists), b"e"].concat()
        };
        assert_eq!(read(&nested(DEPTH_MAX)), Ok(()));
        assert!(read(&nested(DEPTH_MAX + 1)).is_err());
    }

    #[test]
    fn an_error_names_the_field_and_shows_a_short_value() {
        let long = [b"d1:a500:".as_slice(), &[0xff; 500], b"e"].concat();
        let error = read_dict(&long, "it", |_, value| text("it.a", value).map(|_| ()));
        let message = error.unwrap_err().to_string();
        assert!(message.starts_with("`it.a` is \"\\xff"), "{message}");
        assert!(message.ends_with("; expected UTF-8 text"), "{message}");
        assert!(message.len() < 120, "{message}");
    }
}
