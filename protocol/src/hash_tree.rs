//! The tree of hashes over a torrent's pieces, of which the metainfo has the root
//! alone. BEP 30.
//!
//! Nodes are numbered level by level from the root, which is 0: those below node
//! `n` are `2n + 1` and `2n + 2`. The lowest level has the pieces' hashes, and
//! zeros up to the next power of two.

use std::collections::BTreeMap;

use sha1::{Digest, Sha1};

use crate::Bitfield;

/// A SHA-1.
type Hash = [u8; 20];

/// A tree of which the root is known, and more and more of the rest.
///
/// Nothing is in it that does not lead to the root. It takes some 80 bytes a piece
/// at most; [`HashTree::PIECES_MAX`] bounds the pieces, whose number is a stranger's
/// word that costs it nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashTree {
    pieces: u32,
    /// Levels below the root (count).
    height: u32,
    nodes: Vec<Hash>,
    known: Vec<bool>,
    known_count: usize,
}

/// Hashes that prove nothing; grounds to drop the connection that they came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashTreeError {
    /// A piece that the torrent does not have.
    #[error("hashes of piece {piece}, of {pieces}")]
    NoSuchPiece {
        /// Its index.
        piece: u32,
        /// Pieces of the torrent (count).
        pieces: u32,
    },
    /// A node that is not on the piece's way to the root, nor beside it, or is there
    /// twice.
    #[error("a hash of node {node}, which does not belong to piece {piece} or came twice")]
    Stray {
        /// The node.
        node: u32,
        /// The piece.
        piece: u32,
    },
    /// A node is needed, and not known.
    #[error("the hash of node {node} is missing for piece {piece}")]
    Missing {
        /// The node.
        node: u32,
        /// The piece.
        piece: u32,
    },
    /// The hashes do not make those that are known.
    #[error("the hashes of piece {piece} make another node {node}")]
    Mismatch {
        /// The node.
        node: u32,
        /// The piece.
        piece: u32,
    },
    /// Bytes that are no tree of this torrent.
    #[error("the kept tree has {got} bytes, which are no nodes of {node} bytes")]
    Length {
        /// Bytes.
        got: usize,
        /// Bytes a node.
        node: usize,
    },
}

impl HashTree {
    /// Pieces of a torrent that has a tree (count): a tree of 84 MB. Makers of
    /// torrents stay far below that, by making pieces longer.
    pub const PIECES_MAX: u32 = 1 << 20;

    /// A tree of which nothing is known but the root, and what follows from the
    /// number of pieces.
    ///
    /// # Panics
    /// If there are no pieces, or more than [`HashTree::PIECES_MAX`].
    pub fn from_root(root: [u8; 20], pieces: u32) -> HashTree {
        let mut tree = HashTree::blank(pieces);
        tree.put(0, root);
        // Above zeros alone nothing can be but what they make.
        let mut filler = [0; 20];
        for level in (1..=tree.height).rev() {
            let first = (1u32 << level) - 1;
            let below = 1u32 << (tree.height - level);
            for node in first + pieces.div_ceil(below)..first + (1 << level) {
                tree.put(node, filler);
            }
            filler = parent_of(&filler, &filler);
        }
        tree
    }

    /// The whole tree over these hashes of pieces.
    ///
    /// # Panics
    /// If there are none, or more than [`HashTree::PIECES_MAX`].
    pub fn from_pieces(hashes: &[[u8; 20]]) -> HashTree {
        let mut tree = HashTree::blank(hashes.len() as u32);
        let first = tree.leaf(0) as usize;
        tree.nodes[first..first + hashes.len()].copy_from_slice(hashes);
        for node in (0..first).rev() {
            tree.nodes[node] = parent_of(&tree.nodes[2 * node + 1], &tree.nodes[2 * node + 2]);
        }
        tree.known.fill(true);
        tree.known_count = tree.known.len();
        tree
    }

    fn blank(pieces: u32) -> HashTree {
        assert!((1..=Self::PIECES_MAX).contains(&pieces), "a tree over {pieces} pieces");
        let height = pieces.next_power_of_two().ilog2();
        let nodes = (2 << height) - 1;
        HashTree {
            pieces,
            height,
            nodes: vec![[0; 20]; nodes],
            known: vec![false; nodes],
            known_count: 0,
        }
    }

    /// What the metainfo says: `root hash`.
    pub fn root(&self) -> [u8; 20] {
        self.nodes[0]
    }

    /// SHA-1 that the bytes of `piece` must have, if that is known.
    ///
    /// # Panics
    /// If there is no such piece.
    pub fn piece_hash(&self, piece: u32) -> Option<[u8; 20]> {
        assert!(piece < self.pieces, "piece {piece} of {}", self.pieces);
        self.get(self.leaf(piece))
    }

    /// The pieces whose hashes are known.
    pub fn known_pieces(&self) -> Bitfield {
        let mut known = Bitfield::empty(self.pieces);
        for piece in 0..self.pieces {
            if self.known[self.leaf(piece) as usize] {
                known.insert(piece);
            }
        }
        known
    }

    /// Nodes that are known (count). It never falls.
    pub fn known_count(&self) -> usize {
        self.known_count
    }

    /// What proves the hash of `piece` to somebody who knows the root: the piece's
    /// own hash, that beside it, those beside the nodes on its way up, and the root.
    /// `None` if its hash is not known.
    pub fn proof(&self, piece: u32) -> Option<Vec<(u32, [u8; 20])>> {
        self.piece_hash(piece)?;
        let mut node = self.leaf(piece);
        let mut proof = vec![(node, self.nodes[node as usize])];
        while node > 0 {
            let beside = sibling(node);
            proof.push((beside, self.get(beside).expect("who knows a node knows that beside it")));
            node = parent(node);
        }
        if self.height > 0 {
            proof.push((0, self.root()));
        }
        Some(proof)
    }

    /// Takes in what somebody says proves the hash of `piece`. It may leave out what
    /// is known here already. Nothing of it is kept unless all of it leads to the
    /// root.
    pub fn learn(&mut self, piece: u32, proof: &[(u32, [u8; 20])]) -> Result<(), HashTreeError> {
        if piece >= self.pieces {
            return Err(HashTreeError::NoSuchPiece { piece, pieces: self.pieces });
        }
        let mut told = BTreeMap::new();
        for &(node, hash) in proof {
            if !self.belongs(node, piece) || told.insert(node, hash).is_some() {
                return Err(HashTreeError::Stray { node, piece });
            }
            if self.get(node).is_some_and(|known| known != hash) {
                return Err(HashTreeError::Mismatch { node, piece });
            }
        }
        let look_up = |node: u32| {
            let hash = told.get(&node).copied().or_else(|| self.get(node));
            hash.ok_or(HashTreeError::Missing { node, piece })
        };
        let mut node = self.leaf(piece);
        let mut hash = look_up(node)?;
        let mut proven = vec![(node, hash)];
        while node > 0 {
            let beside = sibling(node);
            let other = look_up(beside)?;
            proven.push((beside, other));
            hash = if is_left(node) { parent_of(&hash, &other) } else { parent_of(&other, &hash) };
            node = parent(node);
            let expected = self.get(node).or_else(|| told.get(&node).copied());
            if expected.is_some_and(|expected| expected != hash) {
                return Err(HashTreeError::Mismatch { node, piece });
            }
            proven.push((node, hash));
        }
        if hash != self.root() {
            return Err(HashTreeError::Mismatch { node, piece });
        }
        for (node, hash) in proven {
            self.put(node, hash);
        }
        Ok(())
    }

    /// What is to be kept over a restart: each known node, as its number (4 bytes,
    /// big-endian) and its hash.
    pub fn to_bytes(&self) -> Vec<u8> {
        let known = (0..).zip(&self.nodes).zip(&self.known).filter(|(_, known)| **known);
        known.flat_map(|((node, hash), _)| to_node(node, hash)).collect()
    }

    /// Reads what [`HashTree::to_bytes`] wrote of the tree below `root`. What does
    /// not lead to the root is left out: whatever became of the bytes, the tree is
    /// true.
    pub fn from_bytes(
        root: [u8; 20],
        pieces: u32,
        bytes: &[u8],
    ) -> Result<HashTree, HashTreeError> {
        let (nodes, rest) = bytes.as_chunks::<NODE_LENGTH>();
        if !rest.is_empty() {
            return Err(HashTreeError::Length { got: bytes.len(), node: NODE_LENGTH });
        }
        let mut tree = HashTree::from_root(root, pieces);
        let kept: BTreeMap<u32, Hash> = nodes.iter().map(read_node).collect();
        for piece in 0..pieces {
            let way = tree.way(tree.leaf(piece));
            let proof = way.filter_map(|node| Some((node, *kept.get(&node)?)));
            let _ = tree.learn(piece, &proof.collect::<Vec<_>>());
        }
        Ok(tree)
    }

    /// The longest that [`HashTree::to_bytes`] of a torrent of `pieces` can be
    /// (bytes).
    pub fn bytes_max(pieces: u32) -> u64 {
        2 * u64::from(pieces.next_power_of_two()) * NODE_LENGTH as u64
    }

    /// Bytes that it takes.
    pub fn memory(&self) -> usize {
        self.nodes.len() * (size_of::<Hash>() + size_of::<bool>())
    }

    fn leaf(&self, piece: u32) -> u32 {
        (1 << self.height) - 1 + piece
    }

    /// A node, that beside it, and so on up to the root.
    fn way(&self, leaf: u32) -> impl Iterator<Item = u32> + use<> {
        let nodes = std::iter::successors(Some(leaf), |node| (*node > 0).then(|| parent(*node)));
        nodes.flat_map(|node| [Some(node), (node > 0).then(|| sibling(node))].into_iter().flatten())
    }

    /// Whether `node` is on the way of `piece` to the root, or beside it.
    fn belongs(&self, node: u32, piece: u32) -> bool {
        self.way(self.leaf(piece)).any(|on_it| on_it == node)
    }

    fn get(&self, node: u32) -> Option<Hash> {
        self.known[node as usize].then(|| self.nodes[node as usize])
    }

    fn put(&mut self, node: u32, hash: Hash) {
        self.nodes[node as usize] = hash;
        let known = std::mem::replace(&mut self.known[node as usize], true);
        self.known_count += usize::from(!known);
    }
}

/// Bytes of a kept node.
const NODE_LENGTH: usize = 4 + 20;

fn to_node(node: u32, hash: &Hash) -> [u8; NODE_LENGTH] {
    let mut bytes = [0; NODE_LENGTH];
    bytes[..4].copy_from_slice(&node.to_be_bytes());
    bytes[4..].copy_from_slice(hash);
    bytes
}

fn read_node(bytes: &[u8; NODE_LENGTH]) -> (u32, Hash) {
    let (number, hash) = bytes.split_first_chunk().expect("a node begins with its number");
    (u32::from_be_bytes(*number), hash.try_into().expect("the rest is its hash"))
}

fn parent(node: u32) -> u32 {
    (node - 1) / 2
}

/// The other node below the same one.
fn sibling(node: u32) -> u32 {
    if is_left(node) { node + 1 } else { node - 1 }
}

fn is_left(node: u32) -> bool {
    node % 2 == 1
}

fn parent_of(left: &Hash, right: &Hash) -> Hash {
    Sha1::new().chain_update(left).chain_update(right).finalize().into()
}

#[cfg(test)]
mod tests;
