//! What somebody may have meant.

/// How much of a word, of 1, is as it should be where it is taken for a misspelling.
const RIGHT_MIN: f64 = 0.5;

/// The word of `known` that `word` is most likely a misspelling of, if any is
/// near enough.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let right = |it: &'a str| (strsim::normalized_damerau_levenshtein(word, it), it);
    let near = known.iter().copied().map(right).filter(|(right, _)| *right >= RIGHT_MIN);
    near.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, it)| it)
}

/// A question to put behind an error message: ` (did you mean …?)`, or nothing.
pub(crate) fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}
