//! I-FLAG: switching an option changes that option's frames and nothing else.
//!
//! A plan may name an option and peers. Then it is run again with the option
//! switched at those peers, and the two conversations are compared:
//!
//! - *Frame by frame*, connection by connection, for as long as the two runs must go
//!   the same way: until the option first speaks in either. That is the whole run if
//!   it never does. It needs links and clients without a limit in bytes a second, by
//!   which an entry more in a handshake moves all that follows.
//! - After that, what is left to chance may fall otherwise: who gets which block of
//!   whom, and when, and so whether two meet before both have all. Then what may not
//!   depend on chance is compared: how each peer opened to each other that it met in
//!   both, which kinds of messages brought blocks and proofs, who broke off with whom
//!   over what, and that the other run passes as well.
//!
//! A plan in which switching may rightly change more, as where somebody learns of a
//! peer by peer exchange alone, cannot be compared, and is `unknown` if it asks.

use std::collections::{BTreeMap, BTreeSet};

use reseed_protocol::{
    ConnectionId, Time,
    extension::Extension,
    torrent::{CloseReason, Frame},
    wire::Message,
};

use crate::{
    Failure, Report, Verdict,
    feature::{Feature, with_handshake},
    oracle::{Code, brought},
    plan::{FlipPlan, Plan},
    transcript,
};

/// All that was said in a run, and how it ended.
#[derive(Default)]
pub(crate) struct Conversation {
    said: Vec<Said>,
    /// Whom a peer's connection led to.
    remotes: BTreeMap<(usize, ConnectionId), usize>,
    ends: Vec<(usize, ConnectionId, CloseReason)>,
}

struct Said {
    at: Time,
    peer: usize,
    connection: ConnectionId,
    frame: Frame,
}

impl Conversation {
    /// `peer` said `frame`.
    pub(crate) fn say(&mut self, at: Time, peer: usize, connection: ConnectionId, frame: &Frame) {
        self.said.push(Said { at, peer, connection, frame: frame.clone() });
    }

    /// `peer`'s connection leads to `remote`.
    pub(crate) fn meet(&mut self, peer: usize, connection: ConnectionId, remote: usize) {
        self.remotes.insert((peer, connection), remote);
    }

    /// `peer`'s connection ended.
    pub(crate) fn end(&mut self, peer: usize, connection: ConnectionId, reason: &CloseReason) {
        self.ends.push((peer, connection, reason.clone()));
    }

    fn pair(&self, peer: usize, connection: ConnectionId) -> Option<(usize, usize)> {
        Some((peer, *self.remotes.get(&(peer, connection))?))
    }

    /// When `feature` first said something that is nothing without it.
    fn first_own(&self, feature: Feature) -> Option<Time> {
        let own = self.said.iter().find(|said| feature.strip(&said.frame).is_none());
        own.map(|said| said.at)
    }

    /// What was said on each connection before `end`, without what is `feature`'s.
    fn frames(
        &self,
        feature: Feature,
        end: Time,
    ) -> BTreeMap<(usize, ConnectionId), Vec<(Time, Frame)>> {
        let mut frames: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for said in self.said.iter().take_while(|said| said.at < end) {
            if let Some(frame) = feature.strip(&said.frame) {
                let connection = (said.peer, said.connection);
                frames.entry(connection).or_default().push((said.at, frame));
            }
        }
        frames
    }

    /// How each peer opened to each other: its handshakes, without what is `feature`'s.
    /// Two on one host may meet at either of their addresses, and neither is told which.
    fn openings(
        &self,
        plan: &Plan,
        feature: Feature,
    ) -> BTreeMap<(usize, usize), BTreeSet<String>> {
        let address = |peer: usize| plan.peers[peer].address;
        let mut openings: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
        for said in &self.said {
            let opens = matches!(
                said.frame,
                Frame::Handshake(_) | Frame::Message(Message::Extended { id: 0, .. })
            );
            if opens
                && let Some(pair) = self.pair(said.peer, said.connection)
                && let Some(mut frame) = feature.strip(&said.frame)
            {
                if address(pair.0) == address(pair.1) {
                    frame = with_handshake(&frame, |handshake| handshake.yourip = None);
                }
                openings.entry(pair).or_default().insert(transcript::frame(&frame));
            }
        }
        openings
    }

    /// The kinds of messages by which anybody was brought a block, and the extensions
    /// that were spoken; but for give-to-get, which has something to say only where by
    /// chance something was passed on.
    fn kinds(&self, feature: Feature) -> BTreeSet<&'static str> {
        let frames = self.said.iter().filter_map(|said| feature.strip(&said.frame));
        frames.filter_map(|frame| kind(&frame)).collect()
    }

    /// Who broke off with whom, over what.
    fn faults(&self) -> BTreeSet<(usize, usize, String)> {
        let is_fault = |reason: &CloseReason| {
            use CloseReason::{Corrupt, Exception, OtherTorrent, SelfConnection, Violation};
            matches!(reason, Corrupt | Exception(_) | OtherTorrent | SelfConnection | Violation(_))
        };
        let faults = self.ends.iter().filter(|(_, _, reason)| is_fault(reason));
        faults
            .filter_map(|(peer, connection, reason)| {
                let (peer, remote) = self.pair(*peer, *connection)?;
                Some((peer, remote, reason.to_string()))
            })
            .collect()
    }
}

fn kind(frame: &Frame) -> Option<&'static str> {
    match frame {
        Frame::Message(Message::Extended { id, .. }) => {
            let known = Extension::ALL.iter().find(|extension| extension.local_id() == *id);
            known
                .filter(|extension| **extension != Extension::GiveToGet)
                .map(|extension| extension.name())
        }
        Frame::Message(message) => brought(message).map(|_| "piece"),
        Frame::Handshake(_) => None,
    }
}

/// The same plan, with the option switched; it has no twin itself.
pub(crate) fn flipped(plan: &Plan, flip: &FlipPlan) -> Plan {
    let mut twin = Plan { flip: None, ..plan.clone() };
    for peer in twin.peers.iter_mut().filter(|peer| flip.peers.contains(&peer.name)) {
        flip.feature.flip(peer);
    }
    twin
}

/// Holds a run, which has not failed, and its conversation against those of its twin.
pub(crate) fn compare(
    plan: &Plan,
    flip: &FlipPlan,
    report: &mut Report,
    runs: [&Conversation; 2],
    twin: &Report,
) {
    let comparison = Comparison { plan, feature: flip.feature, runs };
    let mut checks = 0;
    let mut differences = comparison.faults(&mut checks);
    differences.extend(comparison.openings(&mut checks));
    differences.extend(comparison.kinds(&mut checks));
    if differences.is_empty() && twin.failure.is_none() {
        differences.extend(comparison.frames(&mut checks));
    }
    report.checks.push((Code::Flag, checks));
    report.checks.sort_unstable();
    if checks == 0 {
        report.doubts.push(format!("{} had nothing to check", Code::Flag));
    }
    if twin.failure.is_none() {
        let doubts = twin
            .doubts
            .iter()
            .map(|doubt| format!("with {} switched: {doubt}", flip.feature.name()));
        report.doubts.extend(doubts);
    }
    if !differences.is_empty() || twin.failure.is_some() {
        let evidence = comparison.evidence(flip, &differences, twin.failure.as_ref());
        report.failure = Some(Failure { oracle: Code::Flag, at: report.ended, evidence });
    }
    report.verdict = match (&report.failure, report.doubts.is_empty()) {
        (Some(_), _) => Verdict::Fail,
        (None, false) => Verdict::Unknown,
        (None, true) => Verdict::Pass,
    };
}

/// Differences that the evidence lists (count); what follows mostly follows from them.
const DIFFERENCES_MAX: usize = 4;

struct Comparison<'a> {
    plan: &'a Plan,
    feature: Feature,
    /// As the plan is, and with the option switched.
    runs: [&'a Conversation; 2],
}

impl Comparison<'_> {
    fn name(&self, peer: usize) -> &str {
        &self.plan.peers[peer].name
    }

    fn faults(&self, checks: &mut u64) -> Vec<String> {
        let [here, there] = self.runs.map(Conversation::faults);
        *checks += self.runs.iter().map(|run| run.ends.len() as u64).sum::<u64>();
        let tell = |faults: &BTreeSet<_>, others: &BTreeSet<_>, when: &str| -> Vec<String> {
            let only = faults.difference(others);
            only.map(|(peer, remote, reason): &(usize, usize, String)| {
                let [peer, remote] = [*peer, *remote].map(|peer| self.name(peer));
                format!("only {when} {peer} parts from {remote}: {reason}")
            })
            .collect()
        };
        [tell(&here, &there, AS_IT_IS), tell(&there, &here, SWITCHED)].concat()
    }

    fn openings(&self, checks: &mut u64) -> Vec<String> {
        let [here, there] = self.runs.map(|run| run.openings(self.plan, self.feature));
        let mut differences = Vec::new();
        for (pair, here) in &here {
            let Some(there) = there.get(pair) else { continue };
            *checks += 1;
            let [from, to] = [pair.0, pair.1].map(|peer| self.name(peer));
            for (said, other, when) in [(here, there, AS_IT_IS), (there, here, SWITCHED)] {
                let only = said.difference(other);
                differences.extend(only.map(|words| format!("only {when} {from} → {to}  {words}")));
            }
        }
        differences
    }

    fn kinds(&self, checks: &mut u64) -> Option<String> {
        let [here, there] = self.runs.map(|run| run.kinds(self.feature));
        *checks += 1;
        (here != there).then(|| {
            let [here, there] = [here, there].map(|kinds| match kinds.is_empty() {
                true => "nothing".to_owned(),
                false => Vec::from_iter(kinds).join(", "),
            });
            format!("{AS_IT_IS} there is: {here}; {SWITCHED} there is: {there}")
        })
    }

    /// Frame by frame, as far as the two runs must go the same way.
    fn frames(&self, checks: &mut u64) -> Option<String> {
        let end = self.same_way_until()?;
        let [here, there] = self.runs.map(|run| run.frames(self.feature, end));
        let connections: BTreeSet<_> = here.keys().chain(there.keys()).copied().collect();
        for connection in connections {
            let none = Vec::new();
            let said = [&here, &there].map(|frames| frames.get(&connection).unwrap_or(&none));
            *checks += said[0].len() as u64;
            let differ = (0..said[0].len().max(said[1].len()))
                .find(|at| said[0].get(*at) != said[1].get(*at));
            let Some(at) = differ else { continue };
            let tell = |said: &Vec<(Time, Frame)>| match said.get(at) {
                Some((at, frame)) => format!("`{}` at {at} s", transcript::frame(frame)),
                None => "nothing".to_owned(),
            };
            let (peer, connection) = connection;
            return Some(format!(
                "what {} says as number {} on {connection} is {} {AS_IT_IS}, and {} {SWITCHED}",
                self.name(peer),
                at + 1,
                tell(said[0]),
                tell(said[1]),
            ));
        }
        None
    }

    fn same_way_until(&self) -> Option<Time> {
        let limited = self
            .plan
            .peers
            .iter()
            .any(|peer| peer.upload_limit.is_some() || peer.download_limit.is_some());
        let span = self.feature.same_way_for()?;
        let first = self.runs.iter().filter_map(|run| Some(run.said.first()?.at)).min()?;
        let owns = self.runs.iter().filter_map(|run| run.first_own(self.feature));
        let end = owns.chain([first + span]).min();
        end.filter(|_| !limited && !self.plan.shapes_links())
    }

    fn evidence(
        &self,
        flip: &FlipPlan,
        differences: &[String],
        failure: Option<&Failure>,
    ) -> String {
        let option = flip.feature.name();
        let ways = flip.peers.iter().filter_map(|name| {
            let peer = &self.plan.peers[self.plan.peer(name)?];
            let word = if flip.feature.is_on(peer) { "on" } else { "off" };
            Some(format!("{word} at {name}"))
        });
        let ways: Vec<String> = ways.collect();
        let mut words = format!(
            "switching {option}, which is {}, changes more than its own frames:",
            ways.join(", ")
        );
        for difference in differences.iter().take(DIFFERENCES_MAX) {
            words += &format!("\n{difference}");
        }
        if differences.len() > DIFFERENCES_MAX {
            words += &format!("\n… {} differences in all", differences.len());
        }
        if let Some(Failure { oracle, at, evidence }) = failure {
            words += &format!("\n{SWITCHED} {oracle} fails at {at} s: {evidence}");
        }
        words
    }
}

const AS_IT_IS: &str = "as it is";
const SWITCHED: &str = "switched";

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use reseed_protocol::{
        Block, InfoHash, PeerId, extension::ExtensionHandshake, wire::Handshake,
    };

    use super::*;
    use crate::plan::{Has, Limits, PeerPlan, TorrentPlan};

    const CONNECTION: ConnectionId = ConnectionId(1);

    fn plan(upload_limit: Option<u64>) -> Plan {
        let peer = |name| PeerPlan { upload_limit, has: Has::Everything, ..PeerPlan::new(name) };
        Plan {
            scenario: "test".to_owned(),
            seed: 1,
            perturbation: 0.0,
            buggify: 0.0,
            defects: Vec::new(),
            flip: None,
            limits: Limits { done_ms: 1, steps: 1 },
            torrent: TorrentPlan {
                name: "content".to_owned(),
                piece_length: 1,
                private: false,
                merkle: false,
                live: None,
                closed: false,
                bitrate: None,
                files: Vec::new(),
            },
            tracker: None,
            peers: vec![peer("a"), peer("b")],
            events: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// What `a` says to `b`, a frame a second from second 1 on.
    fn says(frames: &[Frame]) -> Conversation {
        let mut conversation = Conversation::default();
        conversation.meet(0, CONNECTION, 1);
        for (second, frame) in (1..).zip(frames) {
            conversation.say(Time::from_secs(second), 0, CONNECTION, frame);
        }
        conversation
    }

    fn message(message: Message) -> Frame {
        Frame::Message(message)
    }

    fn hello(m: &[(&str, u8)]) -> Frame {
        let m = m.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect();
        let payload = ExtensionHandshake { m, ..ExtensionHandshake::default() }.encode();
        message(Message::Extended { id: 0, payload })
    }

    fn request(piece: u32) -> Frame {
        message(Message::Request(Block { piece, begin: 0, length: 1 }))
    }

    fn pex() -> Frame {
        message(Message::Extended { id: 1, payload: Bytes::from_static(b"de") })
    }

    fn differences(here: &[Frame], there: &[Frame], limit: Option<u64>) -> Vec<String> {
        differences_in(|_| {}, here, there, limit)
    }

    fn differences_in(
        change: impl Fn(&mut Plan),
        here: &[Frame],
        there: &[Frame],
        limit: Option<u64>,
    ) -> Vec<String> {
        let (here, there, mut plan) = (says(here), says(there), plan(limit));
        change(&mut plan);
        let runs = [&here, &there];
        let comparison = Comparison { plan: &plan, feature: Feature::Pex, runs };
        let mut checks = 0;
        let mut differences = comparison.faults(&mut checks);
        differences.extend(comparison.openings(&mut checks));
        differences.extend(comparison.kinds(&mut checks));
        differences.extend(comparison.frames(&mut checks));
        assert!(checks > 0);
        differences
    }

    #[test]
    fn the_entry_in_the_handshake_and_the_messages_are_the_options_own() {
        let here = [hello(&[("ut_pex", 1), ("xy", 2)]), pex(), request(1)];
        let there = [hello(&[("xy", 2)]), request(1)];
        assert_eq!(differences(&here, &there, None), Vec::<String>::new());
    }

    #[test]
    fn another_entry_in_the_handshake_is_a_difference() {
        let found = differences(&[hello(&[("ut_pex", 1), ("xy", 2)])], &[hello(&[])], Some(1));
        assert_eq!(found.len(), 2, "one has what the other lacks, and the other way round");
        assert!(found[0].starts_with("only as it is a → b  extended 0 handshake m={xy=2}"));
    }

    #[test]
    fn whom_one_meets_is_left_to_chance_and_how_one_opens_is_not() {
        assert_eq!(differences(&[hello(&[])], &[], Some(1)), Vec::<String>::new());
        let handshake = Frame::Handshake(Handshake::new(InfoHash([1; 20]), PeerId([1; 20])));
        let found = differences(&[handshake.clone(), hello(&[])], &[handshake], Some(1));
        assert_eq!(found, ["only as it is a → b  extended 0 handshake m={}"]);
    }

    #[test]
    fn at_which_address_two_on_one_host_see_each_other_is_no_difference() {
        let hello = |yourip: [u8; 4]| {
            let yourip = Some(yourip.into());
            let payload = ExtensionHandshake { yourip, ..ExtensionHandshake::default() }.encode();
            [message(Message::Extended { id: 0, payload })]
        };
        let [here, there] = [hello([10, 0, 0, 1]), hello([10, 0, 0, 2])];
        assert_eq!(differences(&here, &there, Some(1)), Vec::<String>::new());
        let address = |host| [10, 0, 0, host].into();
        let apart = |plan: &mut Plan| plan.peers[0].address = address(9);
        assert_eq!(differences_in(apart, &here, &there, Some(1)).len(), 2);
    }

    #[test]
    fn frames_are_compared_until_the_option_speaks() {
        let until = |there: &[Frame]| differences(&[request(1), pex(), request(2)], there, None);
        assert!(until(&[request(1), request(3), request(2)]).is_empty(), "it is left to chance");
        let found = until(&[request(3), request(2)]);
        assert!(found[0].contains("a says as number 1 on #1 is `request 1"), "{found:?}");
    }

    #[test]
    fn frames_are_not_compared_where_bytes_take_time() {
        assert_eq!(differences(&[request(1)], &[request(2)], None).len(), 1);
        assert!(differences(&[request(1)], &[request(2)], Some(1)).is_empty());
    }

    #[test]
    fn another_way_to_bring_blocks_is_a_difference() {
        let brings = |data| message(Message::Piece { piece: 0, begin: 0, data });
        let found = differences(&[pex(), brings(Bytes::from_static(b"x"))], &[pex()], None);
        assert_eq!(found, ["as it is there is: piece; switched there is: nothing"]);
    }

    #[test]
    fn who_breaks_off_over_what_is_a_difference() {
        let (mut here, there, plan) = (says(&[pex()]), says(&[pex()]), plan(None));
        here.end(0, CONNECTION, &CloseReason::BothComplete);
        here.end(0, CONNECTION, &CloseReason::Violation("no manners".to_owned()));
        let runs = [&here, &there];
        let comparison = Comparison { plan: &plan, feature: Feature::Pex, runs };
        let found = comparison.faults(&mut 0);
        assert_eq!(found, ["only as it is a parts from b: protocol violation: no manners"]);
    }

    #[test]
    fn flipping_switches_the_named_peers_and_asks_for_no_further_run() {
        let flip = FlipPlan { feature: Feature::Pex, peers: vec!["b".to_owned()] };
        let twin = flipped(&Plan { flip: Some(flip.clone()), ..plan(None) }, &flip);
        assert_eq!((twin.peers[0].pex, twin.peers[1].pex, twin.flip), (true, false, None));
    }
}
