//! The hashes of the log: RFC 6962 §2.1, SHA-256.
//!
//! A leaf is hashed behind the byte 0x00 and a node behind 0x01, so that no node can be passed off
//! as an entry. Every entry carries its leaf hash from the day it is written; the tree above them
//! needs nothing rewritten.

use crate::digest::sha256;

/// A leaf or node hash.
pub type Hash = [u8; 32];

/// The hash of one entry's bytes: SHA-256(0x00 || bytes).
#[must_use]
pub fn leaf_hash(bytes: &[u8]) -> Hash {
    let mut input = Vec::with_capacity(bytes.len() + 1);
    input.push(0x00);
    input.extend_from_slice(bytes);
    sha256(&input)
}

/// The hash of two neighbours: SHA-256(0x01 || left || right).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut input = Vec::with_capacity(65);
    input.push(0x01);
    input.extend_from_slice(left);
    input.extend_from_slice(right);
    sha256(&input)
}

/// The root of the tree over `leaves`, in log order; of no leaves, the SHA-256 of nothing.
#[must_use]
pub fn root(leaves: impl IntoIterator<Item = Hash>) -> Hash {
    let mut tree = Tree::default();
    for leaf in leaves {
        tree.push(leaf);
    }
    tree.root()
}

/// A tree that grows leaf by leaf and holds one hash per level, so that a whole log can be streamed
/// through it.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    size: u64,
    /// The roots of complete subtrees, largest first; their sizes are the bits of `size`.
    subtrees: Vec<Hash>,
}

impl Tree {
    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// How many leaves it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over its leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.subtrees
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or_else(|| sha256(b""))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::digest::hex;

    /// The inputs and roots of Certificate Transparency's reference tests
    /// (`merkle_tree_test.cc`): the root over the first 1, 2, … 8 inputs.
    const REFERENCE: [(&[u8], &str); 8] = [
        (
            b"",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        ),
        (
            b"\x00",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        ),
        (
            b"\x10",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        ),
        (
            b"\x20\x21",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
        (
            b"\x30\x31",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        ),
        (
            b"\x40\x41\x42\x43",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        ),
        (
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        ),
        (
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ),
    ];

    #[test]
    fn roots_agree_with_certificate_transparencys_reference_tests() {
        for (size, (_, expected)) in (1..).zip(REFERENCE) {
            let leaves = REFERENCE
                .iter()
                .take(size)
                .map(|(input, _)| leaf_hash(input));
            assert_eq!(hex(&root(leaves)), expected, "{size} leaves");
        }
    }

    #[test]
    fn the_root_of_nothing_is_the_hash_of_nothing() {
        assert_eq!(
            hex(&root([])),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    /// The definition of RFC 6962 §2.1, word for word.
    fn by_definition(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(b""),
            [leaf] => *leaf,
            _ => {
                let half = leaves.len().next_power_of_two() / 2;
                let (left, right) = leaves.split_at(half);
                node_hash(&by_definition(left), &by_definition(right))
            }
        }
    }

    proptest! {
        #[test]
        fn the_streamed_root_is_the_defined_one(inputs in prop::collection::vec(any::<u8>(), 0..70)) {
            let leaves: Vec<Hash> = inputs.iter().map(|byte| leaf_hash(&[*byte])).collect();
            prop_assert_eq!(root(leaves.iter().copied()), by_definition(&leaves));
        }
    }
}
