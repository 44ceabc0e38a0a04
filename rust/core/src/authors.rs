//! What is known of the authors of nodes: their sections, doubled sequence numbers, and the room they take.

use crate::cid::Cid;
use crate::peer_id::PeerId;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Nodes of one author: 30 years of one a second. Above it the author is paused: its further nodes are not taken.
pub const AUTHOR_BLOCKS_MAX: u64 = 1_000_000_000;
/// Bytes of nodes of one author.
pub const AUTHOR_BYTES_MAX: u64 = 64 << 30;
/// Sections (starts of a store) of one author.
pub const AUTHOR_SECTIONS_MAX: usize = 1_000_000;

#[derive(Default)]
struct Author {
    blocks: u64,
    bytes: u64,
    sections: FxHashMap<[u8; 16], FxHashMap<u64, Cid>>,
    forked: u64,
}

/// The authors of all held nodes.
#[derive(Default)]
pub struct Authors {
    known: FxHashMap<PeerId, Author>,
}

impl Authors {
    /// Note a held node in our form. True where it is a second node with the same author, section and sequence.
    pub fn note(
        &mut self,
        author: &PeerId,
        section: [u8; 16],
        sequence: u64,
        cid: &Cid,
        bytes: usize,
    ) -> bool {
        let known = self.known.entry(author.clone()).or_default();
        known.blocks = known.blocks.saturating_add(1);
        known.bytes = known.bytes.saturating_add(bytes as u64);
        let first = known
            .sections
            .entry(section)
            .or_default()
            .entry(sequence)
            .or_insert_with(|| cid.clone());
        let forked = first != cid;
        known.forked += u64::from(forked);
        forked
    }

    /// Whether an author took more room than anybody may.
    #[must_use]
    pub fn is_paused(&self, author: &PeerId) -> bool {
        self.known.get(author).is_some_and(|a| {
            a.blocks >= AUTHOR_BLOCKS_MAX
                || a.bytes >= AUTHOR_BYTES_MAX
                || a.sections.len() >= AUTHOR_SECTIONS_MAX
        })
    }

    /// Whether a node of this section of this author is held.
    #[must_use]
    pub fn has_section(&self, author: &PeerId, section: &[u8; 16]) -> bool {
        self.known
            .get(author)
            .is_some_and(|a| a.sections.contains_key(section))
    }

    /// Author → number of second nodes with a sequence number of its own that was given before, where there are any.
    #[must_use]
    pub fn forked(&self) -> BTreeMap<String, u64> {
        self.known
            .iter()
            .filter(|(_, a)| a.forked > 0)
            .map(|(id, a)| (id.to_string(), a.forked))
            .collect()
    }

    /// The authors that are paused, sorted.
    #[must_use]
    pub fn paused(&self) -> Vec<String> {
        let mut out: Vec<_> = self
            .known
            .keys()
            .filter(|id| self.is_paused(id))
            .map(ToString::to_string)
            .collect();
        out.sort_unstable();
        out
    }
}
