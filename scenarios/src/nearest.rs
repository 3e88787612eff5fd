//! What somebody may have meant.

/// The word of `known` that `word` is most likely a misspelling of, if any is
/// near enough.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    similar::get_close_matches(word, known, 1, 0.6).pop()
}

/// A question to put behind an error message: ` (did you mean …?)`, or nothing.
pub(crate) fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}
