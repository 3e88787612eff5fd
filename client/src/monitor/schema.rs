//! Which attributes a report has, in every state of a download.

use std::fmt::Display;

use serde_json::Value;

/// What an attribute holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A number, zero or more.
    Number,
    /// The same, or null where there is none yet.
    NumberOrNull,
    Text,
    TextOrNull,
    Flag,
    /// Two whole numbers: the first that belongs to it, and the first that does not.
    Range,
    Table(&'static [Field]),
    List(&'static [Field]),
}

type Field = (&'static str, Kind);

const REPORT: &[Field] = &[
    ("number", Kind::Number),
    ("at_ms", Kind::Number),
    ("info_hash", Kind::Text),
    ("peer_id", Kind::Text),
    ("state", Kind::Text),
    ("error", Kind::TextOrNull),
    ("video", Kind::Table(VIDEO)),
    ("pieces", Kind::Number),
    ("verified", Kind::Number),
    ("progress", Kind::Number),
    ("downloaded", Kind::Number),
    ("uploaded", Kind::Number),
    ("download_rate", Kind::Number),
    ("upload_rate", Kind::Number),
    ("peers", Kind::List(PEER)),
    ("playback", Kind::Table(PLAYBACK)),
];

const VIDEO: &[Field] = &[("valid_range", Kind::Range), ("live", Kind::Flag)];

const PEER: &[Field] = &[
    ("addr", Kind::Text),
    ("peer_id", Kind::Text),
    ("direction", Kind::Text),
    ("choking", Kind::Flag),
    ("interested", Kind::Flag),
    ("peer_choking", Kind::Flag),
    ("peer_interested", Kind::Flag),
    ("has", Kind::Number),
    ("downloaded", Kind::Number),
    ("uploaded", Kind::Number),
    ("download_rate", Kind::Number),
    ("upload_rate", Kind::Number),
];

const PLAYBACK: &[Field] = &[
    ("played", Kind::Number),
    ("late", Kind::Number),
    ("dropped", Kind::Number),
    ("stalled_ms", Kind::Number),
    ("position", Kind::Number),
    ("prebuffered_ms", Kind::NumberOrNull),
    ("picked", Kind::Table(PICKED)),
    ("timeline", Kind::List(TIMES)),
    ("first_piece", Kind::Number),
    ("pieces", Kind::Number),
    ("state", Kind::Text),
];

const PICKED: &[Field] = &[("high", Kind::Number), ("mid", Kind::Number), ("low", Kind::Number)];

const TIMES: &[Field] = &[
    ("piece", Kind::Number),
    ("known_ms", Kind::NumberOrNull),
    ("complete_ms", Kind::NumberOrNull),
    ("buffered_ms", Kind::NumberOrNull),
    ("played_ms", Kind::NumberOrNull),
];

/// Holds a report's document to the schema; the error says where it departs.
pub fn conforms(document: &Value) -> Result<(), String> {
    table(document, REPORT, &"the report")
}

fn table(value: &Value, fields: &[Field], place: &dyn Display) -> Result<(), String> {
    let Some(attributes) = value.as_object() else {
        return Err(format!("{place} is {value}, expected a table"));
    };
    for (name, kind) in fields {
        let value = attributes.get(*name).ok_or_else(|| format!("{place} has no `{name}`"))?;
        check(value, *kind, &format_args!("{place}'s `{name}`"))?;
    }
    let known = |name: &str| fields.iter().any(|(known, _)| *known == name);
    match attributes.keys().find(|name| !known(name)) {
        Some(unknown) => Err(format!("{place} has `{unknown}`, which is not in the schema")),
        None => Ok(()),
    }
}

fn check(value: &Value, kind: Kind, place: &dyn Display) -> Result<(), String> {
    let number = |value: &Value| value.as_f64().is_some_and(|number| number >= 0.0);
    let range = |value: &Value| match value.as_array().map(Vec::as_slice) {
        Some([first, end]) => first.as_u64().is_some_and(|first| Some(first) <= end.as_u64()),
        _ => false,
    };
    let fits = match kind {
        Kind::Number => number(value),
        Kind::NumberOrNull => value.is_null() || number(value),
        Kind::Text => value.is_string(),
        Kind::TextOrNull => value.is_null() || value.is_string(),
        Kind::Flag => value.is_boolean(),
        Kind::Range => range(value),
        Kind::Table(fields) => return table(value, fields, place),
        Kind::List(fields) => {
            let Some(items) = value.as_array() else {
                return Err(format!("{place} is {value}, expected a list"));
            };
            let each = |(at, item)| table(item, fields, &format_args!("{place} {at}"));
            return items.iter().enumerate().try_for_each(each);
        }
    };
    match fits {
        true => Ok(()),
        false => Err(format!("{place} is {value}, expected {kind:?}")),
    }
}
