//! What is said of a run that did not come to its end.

use reseed_protocol::{Bitfield, Time};

use crate::{Content, Plan, lab::Peer};

/// Why downloads are not complete.
pub(crate) struct Stall {
    /// Who lacks what, and how its connections stand, a line each.
    pub(crate) words: String,
    /// Whether the live peers together have every piece, so that all of them could
    /// have been complete (I-DONE).
    pub(crate) could_finish: bool,
}

/// Looks at the `peers` of `plan` after they had until `until`, to share `content`.
pub(crate) fn explain(plan: &Plan, peers: &[Peer], content: &Content, until: Time) -> Stall {
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
    let could_meet =
        !plan.peers.iter().any(|peer| peer.nat) || all_could_meet(plan, peers, content);
    let could_finish = together.is_full() && could_meet || is_live;
    Stall { words: lines.join("\n"), could_finish }
}

/// Where some are behind a NAT: whether everybody who is not done is connected, by way of
/// others, to whoever has what it lacks. Of two one must know of the other and be able to
/// dial it.
fn all_could_meet(plan: &Plan, peers: &[Peer], content: &Content) -> bool {
    let takes_part = |index: usize| peers[index].up && peers[index].gives;
    let tells = plan.tracker.as_ref().is_some_and(|tracker| !tracker.silent);
    let dials = |a: usize, b: usize| {
        let (from, to) = (&plan.peers[a], &plan.peers[b]);
        let knows = from.knows.contains(&to.name) || tells && from.announce && to.announce;
        knows && (!to.nat || from.address == to.address)
    };
    (0..peers.len()).filter(|index| !peers[*index].is_done()).all(|index| {
        let mut reached = vec![index];
        let mut next = 0;
        while let Some(&at) = reached.get(next) {
            let new =
                (0..peers.len()).filter(|other| takes_part(*other) && !reached.contains(other));
            let new: Vec<usize> = new.filter(|it| dials(at, *it) || dials(*it, at)).collect();
            reached.extend(new);
            next += 1;
        }
        let mut have = together(reached.iter().map(|at| &peers[*at]), content);
        peers[index].verified.iter().for_each(|piece| _ = have.insert(piece));
        have.is_full()
    })
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
