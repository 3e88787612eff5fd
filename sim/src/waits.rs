//! Who waits for whom: a graph that explains why nothing goes on.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use petgraph::{
    algo::{astar, tarjan_scc},
    graph::{DiGraph, NodeIndex},
};
use reseed_client::{Wait, Waiting};
use reseed_protocol::Time;

/// Waits that are told of a peer (count): the oldest are what matters.
const TOLD_MAX: usize = 12;

/// The task that a reader looks for first.
const MAIN: &str = "main";

/// All waits that go on, as told by [`Env::waiting`](reseed_client::Env::waiting).
#[derive(Debug, Default)]
pub(crate) struct Waits {
    going_on: RefCell<BTreeMap<u64, Waited>>,
    begun: Cell<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Waited {
    peer: usize,
    who: String,
    on: String,
    to: String,
    since: Time,
}

impl Waits {
    /// A wait of one of a peer's tasks begins; it goes on until the answer is dropped.
    pub(crate) fn begin(self: &Rc<Self>, peer: usize, wait: Wait<'_>, since: Time) -> Waiting {
        let number = self.begun.replace(self.begun.get() + 1);
        let Wait { who, on, to } = wait;
        let (who, on, to) = (who.to_owned(), on.to_owned(), to.to_owned());
        self.going_on.borrow_mut().insert(number, Waited { peer, who, on, to, since });
        Waiting::until_dropped(Over { waits: self.clone(), number })
    }

    /// In words, who of a peer's tasks waits for whom, since when and for what, a
    /// line each; above them the way into a cycle, if there is one. `None` if
    /// nobody waits.
    pub(crate) fn explain(&self, peer: usize) -> Option<String> {
        let waits = self.of(peer);
        if waits.is_empty() {
            return None;
        }
        let mut lines = Vec::from_iter(cycle(&waits));
        for Waited { who, on, to, since, .. } in waits.iter().take(TOLD_MAX) {
            lines.push(format!("  {who} waits for {on} to {to}, since {since} s"));
        }
        if waits.len() > TOLD_MAX {
            lines.push(format!("  … ({} waits in all)", waits.len()));
        }
        Some(lines.join("\n"))
    }

    /// The way into a cycle among a peer's tasks, and around it:
    /// `main → session → callback worker 1 → session`.
    pub(crate) fn cycle(&self, peer: usize) -> Option<String> {
        cycle(&self.of(peer))
    }

    /// A peer's waits, the oldest first.
    fn of(&self, peer: usize) -> Vec<Waited> {
        let going_on = self.going_on.borrow();
        let mut waits: Vec<Waited> = Vec::new();
        for wait in going_on.values().filter(|wait| wait.peer == peer) {
            let told = |other: &Waited| Waited { since: wait.since, ..other.clone() } == *wait;
            if !waits.iter().any(told) {
                waits.push(wait.clone());
            }
        }
        waits
    }
}

/// Ends a wait when it is dropped.
struct Over {
    waits: Rc<Waits>,
    number: u64,
}

impl Drop for Over {
    fn drop(&mut self) {
        self.waits.going_on.borrow_mut().remove(&self.number);
    }
}

fn cycle(waits: &[Waited]) -> Option<String> {
    let mut graph = DiGraph::<&str, ()>::new();
    let mut nodes = BTreeMap::new();
    for Waited { who, on, .. } in waits {
        let [who, on] = [who, on]
            .map(|name| *nodes.entry(name.as_str()).or_insert_with(|| graph.add_node(name)));
        graph.update_edge(who, on, ());
    }
    let turns: Vec<NodeIndex> = tarjan_scc(&graph)
        .into_iter()
        .filter(|group| group.len() > 1 || graph.contains_edge(group[0], group[0]))
        .flatten()
        .collect();
    // The longest of the shortest ways in begins with who waits for all the others.
    let rank = |way: &Vec<NodeIndex>| (graph[way[0]] == MAIN, way.len());
    let ways = graph.node_indices().filter_map(|from| {
        let (_, way) = astar(&graph, from, |at| turns.contains(&at), |_| 1, |_| 0)?;
        Some(way)
    });
    let mut way = ways.max_by_key(rank)?;
    let entry = *way.last().expect("a way has an end");
    let rounds = graph.neighbors(entry).filter_map(|next| {
        let (_, round) = astar(&graph, next, |at| at == entry, |_| 1, |_| 0)?;
        Some(round)
    });
    way.extend(rounds.min_by_key(Vec::len).expect("it is on a cycle"));
    let names: Vec<&str> = way.into_iter().map(|node| graph[node]).collect();
    Some(names.join(" → "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn begin(waits: &Rc<Waits>, who: &str, on: &str) -> Waiting {
        waits.begin(0, Wait { who, on, to: "end" }, Time::from_secs(3))
    }

    #[test]
    fn the_cycle_of_a_shutdown_from_a_callback_is_named_from_the_main_task_on() {
        let waits = Rc::new(Waits::default());
        let _held = [
            begin(&waits, "callback worker 1", "session"),
            begin(&waits, "uptime handler", "callback worker 1"),
            begin(&waits, "session", "callback worker 1"),
            begin(&waits, "main", "session"),
        ];
        let words = waits.explain(0).unwrap();
        let first = words.lines().next().unwrap();
        assert_eq!(first, "main → session → callback worker 1 → session", "{words}");
        assert!(words.contains("  main waits for session to end, since 3.000000 s"), "{words}");
    }

    #[test]
    fn a_chain_that_ends_is_no_cycle() {
        let waits = Rc::new(Waits::default());
        let _held = [begin(&waits, "main", "session"), begin(&waits, "session", "tracker")];
        assert_eq!(waits.cycle(0), None);
        assert_eq!(waits.explain(0).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_wait_for_oneself_is_a_cycle() {
        let waits = Rc::new(Waits::default());
        let _held = begin(&waits, "session", "session");
        assert_eq!(waits.cycle(0).unwrap(), "session → session");
    }

    #[test]
    fn a_wait_that_is_over_is_told_no_more_and_peers_do_not_mix() {
        let waits = Rc::new(Waits::default());
        let first = begin(&waits, "main", "session");
        let other = waits.begin(1, Wait { who: "session", on: "main", to: "end" }, Time::ZERO);
        assert_eq!(waits.cycle(0), None);
        assert_eq!(waits.cycle(1), None);
        drop(first);
        assert_eq!(waits.explain(0), None);
        drop(other);
        assert_eq!(waits.explain(1), None);
    }

    proptest! {
        #[test]
        fn a_cycle_is_found_if_and_only_if_somebody_can_be_reached_from_himself(
            edges in prop::collection::vec((0usize..6, 0usize..6), 0..12),
        ) {
            let waits = Rc::new(Waits::default());
            let held: Vec<Waiting> = (edges.iter())
                .map(|(who, on)| begin(&waits, &format!("n{who}"), &format!("n{on}")))
                .collect();
            let mut reach = [[false; 6]; 6];
            for (who, on) in &edges {
                reach[*who][*on] = true;
            }
            for via in 0..6 {
                for from in 0..6 {
                    for to in 0..6 {
                        reach[from][to] |= reach[from][via] && reach[via][to];
                    }
                }
            }
            let circular = (0..6).any(|node| reach[node][node]);
            let cycle = waits.cycle(0);
            prop_assert_eq!(cycle.is_some(), circular);
            if let Some(cycle) = cycle {
                let names: Vec<&str> = cycle.split(" → ").collect();
                prop_assert!(names[..names.len() - 1].contains(&names[names.len() - 1]));
                for pair in names.windows(2) {
                    let number = |name: &str| name[1..].parse::<usize>().unwrap();
                    prop_assert!(edges.contains(&(number(pair[0]), number(pair[1]))));
                }
            }
            drop(held);
        }
    }
}
