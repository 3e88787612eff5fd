use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;

/// The hashes of pieces that have one byte each: `A`, `B` and so on.
fn letters(pieces: u8) -> Vec<[u8; 20]> {
    (0..pieces).map(|piece| Sha1::digest([b'A' + piece]).into()).collect()
}

fn hex(text: &str) -> [u8; 20] {
    HEXLOWER.decode(text.as_bytes()).unwrap().try_into().unwrap()
}

fn nodes(tree: &HashTree) -> Vec<String> {
    tree.nodes.iter().map(|hash| HEXLOWER.encode(hash)).collect()
}

/// Reckoned with Python's `hashlib`.
#[test]
fn a_tree_over_five_pieces_is_filled_up_with_zeros_to_eight() {
    let expected = [
        "bfc04bf48d81cfbabda5a0b9699cee2f36c8c696",
        "83289d96e596e36996ae13d7f99720a53681c77e",
        "b7e2ebfa6c13686023e684ff1ea33dd0fa715580",
        "b3e76d777129bd79a970cb4ea882ecfcf7ef9c01",
        "9edc0ab7452b51835c94d00f5461098db1dddc7a",
        "4d9eb171f767ca53ebf6f28bfdead2cc243dac8f",
        "b80de5d138758541c5f05265ad144ab9fa86d1db",
        "6dcd4ce23d88e2ee9568ba546c007c63d9131c1b",
        "ae4f281df5a5d0ff3cad6371f76d5c29b6d953ec",
        "32096c2e0eff33d844ee6d675407ace18289357d",
        "50c9e8d5fc98727b4bbc93cf5d64a68db647f04f",
        "e0184adedf913b076626646d3f52c3b49c39ad6d",
        "0000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000",
    ];
    assert_eq!(nodes(&HashTree::from_pieces(&letters(5))), expected);
}

/// Reckoned with Python's `hashlib`.
#[test]
fn the_roots_of_small_trees() {
    for (pieces, root) in [
        (1, "6dcd4ce23d88e2ee9568ba546c007c63d9131c1b"),
        (2, "b3e76d777129bd79a970cb4ea882ecfcf7ef9c01"),
        (3, "d5d5f008b33693fb99da20f41ab73cc8038757f0"),
    ] {
        assert_eq!(HashTree::from_pieces(&letters(pieces)).root(), hex(root), "{pieces} pieces");
    }
}

#[test]
fn a_proof_names_the_piece_its_sibling_its_uncles_and_the_root() {
    let tree = HashTree::from_pieces(&letters(5));
    let nodes = |piece| -> Vec<u32> {
        tree.proof(piece).unwrap().into_iter().map(|(node, _)| node).collect()
    };
    assert_eq!(nodes(0), [7, 8, 4, 2, 0]);
    assert_eq!(nodes(4), [11, 12, 6, 1, 0]);
    let single = HashTree::from_pieces(&letters(1));
    assert_eq!(single.proof(0).unwrap(), [(0, single.root())]);
}

#[test]
fn what_follows_from_the_number_of_pieces_is_known_from_the_start() {
    let whole = HashTree::from_pieces(&letters(5));
    let tree = HashTree::from_root(whole.root(), 5);
    let known: Vec<u32> = (0..15).filter(|node| tree.known[*node as usize]).collect();
    assert_eq!(known, [0, 6, 12, 13, 14]);
    assert!(known.iter().all(|node| tree.get(*node) == whole.get(*node)));
    assert_eq!(tree.known_pieces(), Bitfield::empty(5));
}

#[test]
fn a_tree_of_one_piece_knows_its_hash_from_its_root() {
    let tree = HashTree::from_root([9; 20], 1);
    assert_eq!(tree.piece_hash(0), Some([9; 20]));
}

#[test]
fn what_is_known_already_need_not_be_told_again() {
    let whole = HashTree::from_pieces(&letters(8));
    let mut tree = HashTree::from_root(whole.root(), 8);
    tree.learn(0, &whole.proof(0).unwrap()).unwrap();
    // Piece 1 is beside piece 0; piece 2 needs one hash beside its own.
    assert_eq!(tree.piece_hash(1), whole.piece_hash(1));
    let (own, beside) = (whole.proof(2).unwrap()[0], whole.proof(2).unwrap()[1]);
    assert_eq!(tree.learn(2, &[own]), Err(HashTreeError::Missing { node: 10, piece: 2 }));
    assert_eq!(tree.learn(2, &[own, beside]), Ok(()));
}

#[test]
fn a_proof_that_is_wrong_changes_nothing_and_says_where() {
    let whole = HashTree::from_pieces(&letters(5));
    let blank = HashTree::from_root(whole.root(), 5);
    let learn = |piece, proof: &[(u32, Hash)]| {
        let mut tree = blank.clone();
        let learnt = tree.learn(piece, proof);
        assert!(learnt.is_ok() || tree == blank);
        learnt
    };
    let proof = whole.proof(0).unwrap();
    for at in 0..proof.len() {
        let mut wrong = proof.clone();
        wrong[at].1[19] ^= 1;
        assert_eq!(learn(0, &wrong), Err(HashTreeError::Mismatch { node: 0, piece: 0 }));
    }
    assert_eq!(learn(0, &proof[1..]), Err(HashTreeError::Missing { node: 7, piece: 0 }));
    assert_eq!(learn(0, &[]), Err(HashTreeError::Missing { node: 7, piece: 0 }));
    assert_eq!(learn(1, &proof[..4]), Ok(()), "they are brothers");
    assert_eq!(learn(2, &proof), Err(HashTreeError::Stray { node: 7, piece: 2 }));
    assert_eq!(learn(5, &proof), Err(HashTreeError::NoSuchPiece { piece: 5, pieces: 5 }));
    let twice = [proof.clone(), vec![proof[0]]].concat();
    assert_eq!(learn(0, &twice), Err(HashTreeError::Stray { node: 7, piece: 0 }));
    let far = [proof, vec![(u32::MAX, [0; 20])]].concat();
    assert_eq!(learn(0, &far), Err(HashTreeError::Stray { node: u32::MAX, piece: 0 }));
}

/// A tree of some pieces, and which of them somebody learnt.
fn learnt() -> impl Strategy<Value = (HashTree, Vec<bool>)> {
    prop::collection::vec(any::<([u8; 20], bool)>(), 1..40).prop_map(|pieces| {
        let (hashes, learnt): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
        (HashTree::from_pieces(&hashes), learnt)
    })
}

fn learns(whole: &HashTree, which: &[bool]) -> HashTree {
    let mut tree = HashTree::from_root(whole.root(), whole.pieces);
    for (piece, _) in (0..).zip(which).filter(|(_, which)| **which) {
        tree.learn(piece, &whole.proof(piece).unwrap()).unwrap();
    }
    tree
}

proptest! {
    #[test]
    fn proofs_teach_the_tree_that_they_are_from((whole, which) in learnt()) {
        let tree = learns(&whole, &which);
        for (piece, learnt) in (0..).zip(&which) {
            prop_assert!(!learnt || tree.piece_hash(piece) == whole.piece_hash(piece));
            if tree.piece_hash(piece).is_some() {
                prop_assert_eq!(tree.proof(piece), whole.proof(piece));
            }
        }
        let all = vec![true; which.len()];
        prop_assert_eq!(learns(&whole, &all), whole);
    }

    #[test]
    fn a_tree_that_is_kept_is_read_back((whole, which) in learnt()) {
        let tree = learns(&whole, &which);
        let bytes = tree.to_bytes();
        prop_assert!(bytes.len() as u64 <= HashTree::bytes_max(whole.pieces));
        prop_assert_eq!(HashTree::from_bytes(whole.root(), whole.pieces, &bytes), Ok(tree));
    }

    #[test]
    fn of_a_kept_tree_that_was_changed_only_the_truth_is_believed(
        (whole, which) in learnt(),
        at: prop::sample::Index,
        bit in 0u32..8,
    ) {
        let mut bytes = learns(&whole, &which).to_bytes();
        *at.get_mut(&mut bytes) ^= 1u8 << bit;
        let tree = HashTree::from_bytes(whole.root(), whole.pieces, &bytes).unwrap();
        for node in 0..tree.nodes.len() as u32 {
            prop_assert!(tree.get(node).is_none_or(|hash| Some(hash) == whole.get(node)));
        }
    }

    #[test]
    fn whatever_is_told_nothing_false_is_believed(
        (whole, which) in learnt(),
        piece in 0u32..45,
        told in prop::collection::vec((0u32..90, any::<bool>(), any::<[u8; 20]>()), 0..14),
    ) {
        let mut tree = learns(&whole, &which);
        let told: Vec<_> = told
            .into_iter()
            .map(|(node, truth, hash)| match truth && (node as usize) < whole.nodes.len() {
                true => (node, whole.nodes[node as usize]),
                false => (node, hash),
            })
            .collect();
        let _ = tree.learn(piece, &told);
        for node in 0..tree.nodes.len() as u32 {
            prop_assert!(tree.get(node).is_none_or(|hash| Some(hash) == whole.get(node)));
        }
    }
}
