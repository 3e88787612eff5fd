//! The rules of picking, one by one.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{BLOCK_LENGTH, Defects};

const A: ConnectionId = ConnectionId(1);
const B: ConnectionId = ConnectionId(2);
const C: ConnectionId = ConnectionId(3);
const D: ConnectionId = ConnectionId(4);

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(7)
}

/// `pieces` of `blocks` whole blocks each, picked by rarity from the start.
fn picker(pieces: u32, blocks: u32) -> Picker {
    let layout = Layout::new(blocks * BLOCK_LENGTH, u64::from(pieces * blocks * BLOCK_LENGTH));
    let options = PickerOptions { random_first: 0, ..PickerOptions::default() };
    Picker::new(layout, &Bitfield::empty(pieces), options)
}

fn bits(pieces: u32, of: &[u32]) -> Bitfield {
    let mut bitfield = Bitfield::empty(pieces);
    of.iter().for_each(|&piece| {
        bitfield.insert(piece);
    });
    bitfield
}

/// Picks from a peer with every piece.
fn pick(picker: &mut Picker, connection: ConnectionId, count: usize) -> Vec<Block> {
    let full = Bitfield::full(picker.layout().pieces());
    picker.pick(connection, &full, count, None, &mut rng())
}

fn deliver(picker: &mut Picker, connection: ConnectionId, blocks: &[Block]) {
    for &block in blocks {
        assert!(matches!(picker.received(connection, block), Receipt::Accepted { .. }));
    }
}

/// One piece of `blocks` blocks that failed once, with a block from B and the
/// others from A. A, B, C and D have it.
fn suspect(blocks: u32) -> Picker {
    let mut picker = picker(1, blocks);
    (0..4).for_each(|_| picker.peer_has_all_of(&Bitfield::full(1)));
    let from_a = pick(&mut picker, A, blocks as usize - 1);
    let from_b = pick(&mut picker, B, 1);
    deliver(&mut picker, A, &from_a);
    deliver(&mut picker, B, &from_b);
    let failure = picker.failed(0);
    assert_eq!(failure.certain, None);
    assert_eq!(failure.senders, BTreeSet::from([A, B]));
    picker
}

#[test]
fn a_rarer_piece_is_chosen_before_a_commoner_one() {
    let mut picker = picker(5, 1);
    picker.peer_has_all_of(&Bitfield::full(5));
    picker.peer_has_all_of(&bits(5, &[0, 1, 3, 4]));
    picker.peer_has_all_of(&bits(5, &[0, 1, 4]));
    picker.peer_has_all_of(&bits(5, &[0, 4]));
    picker.peer_has(4);
    let order: Vec<u32> = pick(&mut picker, A, 5).iter().map(|block| block.piece).collect();
    assert_eq!(order, [2, 3, 1, 0, 4]);
}

#[test]
fn who_was_late_is_asked_first_for_what_nobody_better_could_be_asked_for() {
    let mut picker = picker(4, 2);
    let (full, of_others) = (Bitfield::full(4), bits(4, &[0, 1, 2]));
    picker.peer_has_all_of(&full);
    picker.peer_has_all_of(&of_others);
    // Of anybody else the rest of what is begun would be asked first.
    let begun = picker.pick(B, &bits(4, &[0]), 1, None, &mut rng());
    assert_eq!(begun[0].piece, 0);
    let better = |piece| of_others.contains(piece);
    let late = Asker {
        connection: A,
        remote: &full,
        only: None,
        better: Some(&better),
        defects: Defects::NONE,
    };
    let picked = picker.pick_for(&late, 3, &mut rng()).unwrap();
    assert_eq!(picked.iter().map(|block| block.piece).collect::<Vec<_>>(), [3, 3, 0]);
}

#[test]
fn a_tie_between_equally_rare_pieces_is_broken_by_the_seed() {
    let first = |seed| {
        let mut picker = picker(100, 1);
        picker.peer_has_all_of(&Bitfield::full(100));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        picker.pick(A, &Bitfield::full(100), 1, None, &mut rng)[0].piece
    };
    let firsts: BTreeSet<u32> = (0..50).map(first).collect();
    assert!(firsts.len() > 25, "{firsts:?}");
}

#[test]
fn a_started_piece_is_finished_before_a_rarer_one_is_begun() {
    let mut picker = picker(2, 4);
    picker.peer_has_all_of(&bits(2, &[1]));
    assert_eq!(picker.pick(A, &bits(2, &[1]), 1, None, &mut rng()).len(), 1);
    picker.peer_has_all_of(&Bitfield::full(2));
    picker.peer_has_all_of(&bits(2, &[1]));
    let pieces: Vec<u32> = pick(&mut picker, B, 4).iter().map(|block| block.piece).collect();
    assert_eq!(pieces, [1, 1, 1, 0]);
}

#[test]
fn of_two_started_pieces_the_one_nearer_its_end_comes_first_then_the_rarer() {
    let mut picker = picker(3, 4);
    for piece in 0..3 {
        picker.peer_has_all_of(&bits(3, &[piece]));
    }
    for (piece, count) in [(0, 1), (1, 1), (2, 2)] {
        let _ = picker.pick(A, &bits(3, &[piece]), count, None, &mut rng());
    }
    picker.peer_has(0);
    let pieces: Vec<u32> = pick(&mut picker, B, 8).iter().map(|block| block.piece).collect();
    assert_eq!(pieces, [2, 2, 1, 1, 1, 0, 0, 0]);
}

#[test]
fn the_first_pieces_are_random_and_not_the_rarest() {
    let chosen = |have: &[u32], seed| {
        let layout = Layout::new(BLOCK_LENGTH, 50 * u64::from(BLOCK_LENGTH));
        let options = PickerOptions { random_first: 2, ..PickerOptions::default() };
        let mut picker = Picker::new(layout, &bits(50, have), options);
        picker.peer_has_all_of(&Bitfield::full(50));
        picker.peer_has_all_of(&bits(50, &(0..49).collect::<Vec<_>>()));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        picker.pick(A, &Bitfield::full(50), 1, None, &mut rng)[0].piece
    };
    let rarest = 49;
    assert!((0..10).any(|seed| chosen(&[0], seed) != rarest));
    assert!((0..10).all(|seed| chosen(&[0, 1], seed) == rarest));
}

#[test]
fn a_piece_that_the_peer_lacks_is_never_asked_of_it() {
    let mut picker = picker(3, 2);
    let remote = bits(3, &[1]);
    picker.peer_has_all_of(&remote);
    let picked = picker.pick(A, &remote, 10, None, &mut rng());
    assert_eq!(picked, picker.layout().blocks(1).collect::<Vec<_>>());
    assert_eq!(picker.pick(A, &remote, 10, None, &mut rng()), []);
}

#[test]
fn a_choking_peer_is_asked_for_its_allowed_fast_pieces_only() {
    let mut picker = picker(5, 1);
    let remote = bits(5, &[0, 1, 2]);
    picker.peer_has_all_of(&remote);
    let allowed = BTreeSet::from([2, 4]);
    let picked = picker.pick(A, &remote, 10, Some(&allowed), &mut rng());
    assert_eq!(picked, [picker.layout().block(2, 0)]);
}

#[test]
fn a_peer_with_none_of_the_rarest_thousands_is_still_given_its_own_rarest() {
    let mut picker = picker(5_000, 1);
    let sparse = bits(5_000, &[4_000, 4_500]);
    picker.peer_has_all_of(&Bitfield::full(5_000));
    picker.peer_has_all_of(&sparse);
    picker.peer_has_all_of(&bits(5_000, &[4_000]));
    let picked = picker.pick(A, &sparse, 9, None, &mut rng());
    let pieces: Vec<u32> = picked.iter().map(|block| block.piece).collect();
    assert_eq!(pieces, [4_500, 4_000]);
}

#[test]
fn the_last_block_may_be_a_single_byte() {
    let layout = Layout::new(BLOCK_LENGTH, u64::from(BLOCK_LENGTH) + 1);
    let mut picker = Picker::new(layout, &Bitfield::empty(2), PickerOptions::default());
    picker.peer_has_all_of(&Bitfield::full(2));
    assert_eq!(pick(&mut picker, A, 9).len(), 2);
    let last = Block { piece: 1, begin: 0, length: 1 };
    let too_long = Block { length: 2, ..last };
    assert_eq!(picker.received(A, too_long), Receipt::Invalid);
    assert_eq!(
        picker.received(A, last),
        Receipt::Accepted { also_requested: vec![], piece_complete: true }
    );
    picker.verified(1);
    assert_eq!(picker.left(), u64::from(BLOCK_LENGTH));
    assert_eq!(picker.check(), Ok(()));
}

#[test]
fn the_endgame_begins_when_no_block_is_free() {
    let mut picker = picker(1, 3);
    picker.peer_has_all_of(&Bitfield::full(1));
    assert!(!picker.is_endgame());
    let _ = pick(&mut picker, A, 2);
    assert!(!picker.is_endgame());
    assert_eq!(pick(&mut picker, B, 1).len(), 1);
    assert!(picker.is_endgame());
}

#[test]
fn in_the_endgame_a_block_is_asked_of_three_at_most_and_the_least_asked_first() {
    let mut picker = picker(1, 2);
    picker.peer_has_all_of(&Bitfield::full(1));
    let both = pick(&mut picker, A, 2);
    assert_eq!(pick(&mut picker, A, 2), [], "its own blocks are not asked twice");
    let once = pick(&mut picker, B, 1)[0];
    let other = *both.iter().find(|&&block| block != once).unwrap();
    assert_eq!(pick(&mut picker, C, 1), [other], "it was asked of A alone");
    assert_eq!(pick(&mut picker, B, 9), [other]);
    assert_eq!(pick(&mut picker, D, 9), [once], "three have the other one");
    assert_eq!(picker.block_state(other), BlockState::InFlight(&[A, C, B]));
    assert_eq!(picker.check(), Ok(()));
}

#[test]
fn the_block_that_comes_first_cancels_the_requests_to_the_others() {
    let mut picker = picker(1, 1);
    picker.peer_has_all_of(&Bitfield::full(1));
    let block = pick(&mut picker, A, 1)[0];
    let _ = (pick(&mut picker, B, 1), pick(&mut picker, C, 1));
    assert_eq!(
        picker.received(B, block),
        Receipt::Accepted { also_requested: vec![A, C], piece_complete: true }
    );
    assert_eq!(picker.received(A, block), Receipt::Redundant);
    assert_eq!(picker.in_flight_count(), 0);
}

#[test]
fn a_block_that_timed_out_is_offered_again_and_welcome_when_late() {
    let mut picker = picker(1, 1);
    picker.peer_has_all_of(&Bitfield::full(1));
    let block = pick(&mut picker, A, 1)[0];
    picker.release(A, block);
    assert_eq!(picker.block_state(block), BlockState::Free);
    assert_eq!(pick(&mut picker, B, 1), [block]);
    assert_eq!(
        picker.received(A, block),
        Receipt::Accepted { also_requested: vec![B], piece_complete: true }
    );
}

#[test]
fn what_one_peer_lets_go_stays_in_flight_from_the_others() {
    let mut picker = picker(1, 1);
    picker.peer_has_all_of(&Bitfield::full(1));
    let block = pick(&mut picker, A, 1)[0];
    let _ = pick(&mut picker, B, 1);
    picker.release_all(A);
    assert_eq!(picker.block_state(block), BlockState::InFlight(&[B]));
    picker.release(A, block);
    assert_eq!(picker.block_state(block), BlockState::InFlight(&[B]));
}

#[test]
fn a_failed_piece_is_offered_again_and_its_only_sender_is_to_blame() {
    let mut picker = picker(1, 2);
    picker.peer_has_all_of(&Bitfield::full(1));
    let blocks = pick(&mut picker, A, 2);
    deliver(&mut picker, A, &blocks);
    let failure = picker.failed(0);
    assert_eq!(failure.certain, Some(A));
    assert_eq!(pick(&mut picker, B, 1).len(), 1);
    assert_eq!(pick(&mut picker, C, 1).len(), 1, "it is not suspect");
}

#[test]
fn whoever_was_asked_is_not_blamed_but_whoever_sent() {
    let mut picker = picker(1, 1);
    picker.peer_has_all_of(&Bitfield::full(1));
    let blocks = pick(&mut picker, A, 1);
    let _ = pick(&mut picker, B, 1);
    deliver(&mut picker, B, &blocks);
    assert_eq!(picker.failed(0).certain, Some(B));
}

#[test]
fn a_suspect_piece_is_fetched_from_one_connection_and_then_the_verdict_is_certain() {
    let mut picker = suspect(3);
    let first = pick(&mut picker, B, 1);
    assert_eq!(pick(&mut picker, A, 3), [], "not while B is its source");
    let foreign = picker.layout().block(0, 2);
    assert_eq!(picker.received(A, foreign), Receipt::Redundant);
    let rest = pick(&mut picker, B, 3);
    deliver(&mut picker, B, &first);
    deliver(&mut picker, B, &rest);
    assert_eq!(picker.failed(0).certain, Some(B));
    assert_eq!(picker.check(), Ok(()));
}

#[test]
fn when_the_source_leaves_another_starts_the_suspect_piece_from_nothing() {
    let mut picker = suspect(2);
    let sent = pick(&mut picker, A, 1);
    let _ = pick(&mut picker, A, 1);
    deliver(&mut picker, A, &sent);
    picker.release_all(A);
    let all = pick(&mut picker, C, 2);
    assert_eq!(all.len(), 2);
    deliver(&mut picker, C, &all);
    assert_eq!(picker.failed(0).certain, Some(C));
}

#[test]
fn a_source_that_comes_back_before_anyone_took_over_goes_on_where_it_was() {
    let mut picker = suspect(2);
    let sent = pick(&mut picker, A, 1);
    deliver(&mut picker, A, &sent);
    picker.pause(A);
    let rest = pick(&mut picker, A, 2);
    assert_eq!(rest.len(), 1);
    assert_eq!(pick(&mut picker, B, 2), [], "A has it again");
}

#[test]
fn a_source_that_chokes_keeps_the_piece_only_while_blocks_of_it_may_come() {
    let mut picker = suspect(3);
    let asked = pick(&mut picker, A, 2);
    picker.pause(A);
    assert_eq!(pick(&mut picker, B, 3), []);
    deliver(&mut picker, A, &asked);
    assert_eq!(pick(&mut picker, B, 3).len(), 3);
    assert_eq!(picker.check(), Ok(()));
}

#[test]
fn a_suspect_piece_is_taken_over_only_for_want_of_other_work() {
    let mut picker = picker(2, 2);
    picker.peer_has_all_of(&Bitfield::full(2));
    let zero = bits(2, &[0]);
    let from_a = picker.pick(A, &zero, 1, None, &mut rng());
    let from_b = picker.pick(B, &zero, 1, None, &mut rng());
    deliver(&mut picker, A, &from_a);
    deliver(&mut picker, B, &from_b);
    let _ = picker.failed(0);
    let again = picker.pick(A, &zero, 1, None, &mut rng());
    deliver(&mut picker, A, &again);
    picker.pause(A);
    let pieces: Vec<u32> = pick(&mut picker, B, 9).iter().map(|block| block.piece).collect();
    assert_eq!(pieces, [1, 1, 0, 0]);
}

#[test]
fn sources_that_never_finish_do_not_keep_a_suspect_piece_from_completion() {
    let mut picker = suspect(2);
    for peer in [A, B, C, D, A] {
        let sent = pick(&mut picker, peer, 1);
        if picker.received(peer, sent[0])
            == (Receipt::Accepted { also_requested: vec![], piece_complete: true })
        {
            assert_eq!(peer, A, "three takeovers were in vain, the fourth peer goes on");
            picker.verified(0);
            return;
        }
        picker.release_all(peer);
    }
    panic!("the piece never completes");
}

#[test]
fn a_free_block_kept_for_a_source_does_not_put_the_endgame_off() {
    let mut picker = picker(2, 2);
    picker.peer_has_all_of(&Bitfield::full(2));
    let zero = bits(2, &[0]);
    let from_a = picker.pick(A, &zero, 1, None, &mut rng());
    let from_b = picker.pick(B, &zero, 1, None, &mut rng());
    deliver(&mut picker, A, &from_a);
    deliver(&mut picker, B, &from_b);
    let _ = picker.failed(0);
    let _ = picker.pick(A, &zero, 1, None, &mut rng());
    let slow = pick(&mut picker, B, 2);
    assert!(picker.is_endgame());
    let duplicated: BTreeSet<Block> = pick(&mut picker, C, 9).into_iter().collect();
    assert_eq!(duplicated, slow.into_iter().collect());
}

#[test]
fn an_unwanted_piece_is_dropped_and_its_requests_are_handed_back() {
    let mut picker = picker(2, 2);
    picker.peer_has_all_of(&Bitfield::full(2));
    let blocks = picker.pick(A, &bits(2, &[0]), 2, None, &mut rng());
    deliver(&mut picker, A, &blocks[..1]);
    assert_eq!(picker.set_wanted(0, false), [(blocks[1], vec![A])]);
    assert_eq!(picker.block_state(blocks[0]), BlockState::Unwanted);
    assert_eq!(picker.received(A, blocks[1]), Receipt::Redundant);
    assert!(!picker.wants(&bits(2, &[0])));
    assert_eq!(picker.set_wanted(0, true), []);
    assert!(picker.wants(&bits(2, &[0])));
    assert_eq!(picker.check(), Ok(()));
}

#[test]
fn a_complete_piece_gets_its_verdict_even_if_unwanted_meanwhile() {
    let mut picker = picker(1, 1);
    picker.peer_has_all_of(&Bitfield::full(1));
    let blocks = pick(&mut picker, A, 1);
    deliver(&mut picker, A, &blocks);
    assert_eq!(picker.set_wanted(0, false), []);
    assert_eq!(picker.block_state(blocks[0]), BlockState::Received);
    picker.verified(0);
    assert_eq!(picker.block_state(blocks[0]), BlockState::Verified);
    assert!(picker.is_complete());
}

#[test]
fn finished_is_all_that_is_wanted_and_complete_is_all() {
    let mut picker = picker(2, 1);
    picker.peer_has_all_of(&Bitfield::full(2));
    picker.set_wanted(0, false);
    let blocks = pick(&mut picker, A, 9);
    deliver(&mut picker, A, &blocks);
    assert!(!picker.is_finished());
    picker.verified(1);
    assert!(picker.is_finished() && !picker.is_complete());
    assert_eq!(picker.left(), u64::from(BLOCK_LENGTH));
}

#[test]
fn the_same_seed_picks_the_same_blocks() {
    let run = || {
        let mut picker = Picker::new(
            Layout::new(4 * BLOCK_LENGTH, 300 * u64::from(BLOCK_LENGTH)),
            &Bitfield::empty(75),
            PickerOptions::default(),
        );
        (0..4).for_each(|_| picker.peer_has_all_of(&Bitfield::full(75)));
        let mut rng = rng();
        let mut picks = Vec::new();
        for turn in 0..60 {
            let connection = ConnectionId(turn % 4);
            let blocks = picker.pick(connection, &Bitfield::full(75), 7, None, &mut rng);
            deliver(&mut picker, connection, &blocks[..blocks.len() / 2]);
            picks.extend(blocks);
        }
        picks
    };
    assert_eq!(run(), run());
}

#[test]
fn a_piece_that_could_not_be_kept_is_free_again_and_no_suspect() {
    let mut picker = picker(1, 2);
    (0..2).for_each(|_| picker.peer_has_all_of(&Bitfield::full(1)));
    let from_a = pick(&mut picker, A, 1);
    let from_b = pick(&mut picker, B, 1);
    deliver(&mut picker, A, &from_a);
    deliver(&mut picker, B, &from_b);
    picker.unwritten(0);
    assert!(!picker.is_suspect(0) && !picker.have().contains(0));
    assert_eq!((picker.free_count(), picker.in_flight_count()), (2, 0));
    let again = pick(&mut picker, A, 2);
    deliver(&mut picker, A, &again);
    picker.verified(0);
    assert!(picker.is_complete());
}
