//! The bytes of a block, hashed once for both that stand over them: the signature, over the BLAKE3 hash of all before
//! it, and the CID, over all. Where the CID's hash is BLAKE3 too, one pass gives the one on its way to the other.

use crate::hash::HashKind;
use crate::signature::FIELD_BYTES;
use std::cell::OnceCell;

/// BLAKE3 over the bytes of a block so far.
pub(crate) struct Pass(blake3::Hasher);

impl Pass {
    pub(crate) fn over(bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(bytes);
        Pass(hasher)
    }

    /// Of the bytes so far.
    pub(crate) fn digest(&self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// The digest of a whole block: `rest` is what of it this pass has not seen.
    pub(crate) fn finish(mut self, kind: HashKind, block: &[u8], rest: &[u8]) -> Vec<u8> {
        match kind {
            HashKind::Blake3 => {
                self.0.update(rest);
                self.digest().to_vec()
            }
            other => other.digest(block),
        }
    }
}

/// A block that is looked at: what was hashed of it is not hashed again.
pub struct Hashed<'a> {
    bytes: &'a [u8],
    unsigned: OnceCell<[u8; 32]>,
}

impl<'a> Hashed<'a> {
    /// Nothing is hashed yet.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Hashed {
            bytes,
            unsigned: OnceCell::new(),
        }
    }

    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The digest of the whole block.
    #[must_use]
    pub fn digest(&self, kind: HashKind) -> Vec<u8> {
        match self.split() {
            Some((unsigned, field)) if kind == HashKind::Blake3 => {
                let pass = Pass::over(unsigned);
                let _ = self.unsigned.set(pass.digest());
                pass.finish(kind, self.bytes, field)
            }
            _ => kind.digest(self.bytes),
        }
    }

    /// The BLAKE3 hash of all before the place of the signature, and what lies in that place. `None`: the block is too
    /// short to have one.
    pub(crate) fn unsigned(&self) -> Option<([u8; 32], &'a [u8])> {
        let (unsigned, field) = self.split()?;
        let digest = self.unsigned.get_or_init(|| blake3::hash(unsigned).into());
        Some((*digest, field))
    }

    fn split(&self) -> Option<(&'a [u8], &'a [u8])> {
        let at = self.bytes.len().checked_sub(FIELD_BYTES)?;
        self.bytes.split_at_checked(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [HashKind; 3] = [HashKind::Blake3, HashKind::Sha2_256, HashKind::Identity];

    #[test]
    fn one_pass_gives_what_two_give_at_every_edge() {
        // Around the place of the signature, around BLAKE3's chunks of 1 KiB, and a large one.
        let edges = [0, FIELD_BYTES, 1024, 1024 + FIELD_BYTES, 2048, 1 << 19];
        for len in edges
            .iter()
            .flat_map(|&edge: &usize| edge.saturating_sub(2)..edge + 3)
        {
            let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            for kind in KINDS {
                let block = Hashed::new(&bytes);
                assert_eq!(block.digest(kind), kind.digest(&bytes), "{kind:?} of {len}");
                let unsigned = len.checked_sub(FIELD_BYTES).map(|at| bytes.split_at(at));
                let apart = unsigned.map(|(before, field)| (blake3::hash(before).into(), field));
                assert_eq!(block.unsigned(), apart, "after {kind:?} of {len}");
                assert_eq!(Hashed::new(&bytes).unsigned(), apart, "alone, of {len}");
                let Some((before, field)) = unsigned else {
                    continue;
                };
                let pass = Pass::over(before);
                assert_eq!(pass.finish(kind, &bytes, field), kind.digest(&bytes));
            }
        }
    }
}
