//! Every reader of what others send holds, over its corpus and variations of it.

use reseed_fuzz::{Target, property::hold};

/// Variations of a small input (count): a second or so.
const MANY: u32 = 20_000;

#[test]
fn bencode_is_read_or_refused() {
    hold(&Target::named("bencode"), MANY);
}

#[test]
fn messages_of_extensions_are_read_or_refused() {
    hold(&Target::named("extension"), MANY);
}

#[test]
fn metadata_comes_whatever_else_is_said() {
    hold(&Target::named("metadata"), 3_000);
}

#[test]
fn metainfo_is_read_or_refused() {
    hold(&Target::named("metainfo"), MANY);
}

#[test]
fn resume_data_is_believed_only_if_it_is_true() {
    hold(&Target::named("resume"), MANY);
}

#[test]
fn a_trackers_answers_are_read_or_refused() {
    hold(&Target::named("tracker"), MANY);
}

#[test]
fn a_stream_is_read_the_same_however_it_is_cut() {
    hold(&Target::named("wire"), MANY);
}
