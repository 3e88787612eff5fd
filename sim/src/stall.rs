//! What is said of a run that did not come to its end.

use reseed_protocol::{Bitfield, Time};

use crate::{Content, lab::Peer};

/// Why downloads are not complete.
pub(crate) struct Stall {
    /// Who lacks what, and how its connections stand, a line each.
    pub(crate) words: String,
    /// Whether the live peers together have every piece, so that all of them could
    /// have been complete (I-DONE).
    pub(crate) could_finish: bool,
}

/// Looks at `peers` after they had until `until`, to share `content`.
pub(crate) fn explain(peers: &[Peer], content: &Content, until: Time) -> Stall {
    let pieces = content.layout().pieces();
    let together = together(peers.iter(), content);
    let mut lines = Vec::new();
    for peer in peers.iter().filter(|peer| !peer.is_done()) {
        if let Some((at, end)) = peer.live {
            lines.push(format!("{} is at piece {at} of {end} after {until} s", peer.name));
            lines.extend(peer.connections.iter().map(|connection| format!("  {connection}")));
            continue;
        }
        let missing: Vec<u32> = Bitfield::full(pieces).difference(&peer.verified).collect();
        if let Some(played) = peer.playing {
            lines.push(format!("{}'s player is at byte {played} after {until} s", peer.name));
        }
        let nowhere = missing.iter().filter(|piece| !together.contains(**piece)).count();
        if missing.is_empty() {
            lines.extend(peer.connections.iter().map(|connection| format!("  {connection}")));
            continue;
        }
        let mut line = format!(
            "{} has {} of {pieces} pieces after {until} s; it lacks {}",
            peer.name,
            peer.verified.count(),
            first_few(&missing),
        );
        if nowhere > 0 {
            line += &format!(", {nowhere} of which nobody has");
        }
        lines.push(line);
        if peer.connections.is_empty() {
            lines.push("  it is connected to nobody".to_owned());
        }
        lines.extend(peer.connections.iter().map(|connection| format!("  {connection}")));
    }
    for peer in peers.iter().filter(|peer| peer.up) {
        let exceptions =
            peer.exceptions.iter().map(|words| format!("{}: exception {words}", peer.name));
        lines.extend(exceptions);
        lines.extend(peer.uploads.iter().map(|words| format!("{}: {words}", peer.name)));
    }
    // It is made while somebody makes it.
    let is_live = peers.iter().any(|peer| peer.up && peer.live.is_some());
    Stall { words: lines.join("\n"), could_finish: together.is_full() || is_live }
}

/// The pieces that those of `peers` that are up have together, and give truly to who
/// may have them. What has flipped on a disk nobody gives.
pub(crate) fn together<'a>(peers: impl Iterator<Item = &'a Peer>, content: &Content) -> Bitfield {
    let mut together = Bitfield::empty(content.layout().pieces());
    for peer in peers.filter(|peer| peer.up && peer.gives) {
        let disk = peer.disk.as_ref().filter(|disk| disk.has_any_flipped());
        let is_true = |piece| disk.is_none_or(|disk| !content.has_flipped(disk, piece));
        let given = peer.verified.iter().filter(|piece| is_true(*piece));
        given.for_each(|piece| _ = together.insert(piece));
    }
    together
}

fn first_few(pieces: &[u32]) -> String {
    let first: Vec<String> = pieces.iter().take(5).map(u32::to_string).collect();
    match pieces.len() {
        0..=5 => first.join(", "),
        more => format!("{}, … ({more} in all)", first.join(", ")),
    }
}
